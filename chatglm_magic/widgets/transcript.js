// The page's part of transcript.py: messages, and the composer. Text becomes text nodes. The only HTML that is
// inserted is that of a message's blocks, which the kernel has sanitized. Nothing is evaluated.

const ICONS = {
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  again: "M20 11a8 8 0 1 0-2.3 6.3M20 4v7h-7",
  branch: "M6 4v10a4 4 0 0 0 4 4h8M14 14l4 4-4 4M6 9h7",
  delete: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  send: "M4 12l16-8-5 17-3-7z",
  stop: "M7 7h10v10H7z",
  code: "M9 7l-5 5 5 5M15 7l5 5-5 5",
  down: "M12 5v14M6 13l6 6 6-6",
};
const NAMES = { copy: "Copy", edit: "Edit", again: "Again", branch: "Branch from here", delete: "Delete" };
const PLACEHOLDER = "Message…   (Enter sends · Shift+Enter new line)";
const LONG = 60; // in answers with more blocks, those out of sight are not laid out
const NEAR = 48; // distance from the end, in pixels, within which the view follows it
const SVG = "http://www.w3.org/2000/svg";

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(className, name, act, { text = "", sign = "" } = {}) {
  const node = make("button", className);
  node.type = "button";
  node.title = name;
  if (sign) node.append(icon(sign));
  node.append(text ? make("span", "", text) : "");
  if (text !== name) node.setAttribute("aria-label", name);
  node.addEventListener("click", act);
  return node;
}

// Make one element's children equal to another's. Equal ones aren't touched, so selections and open details stay.
function morph(old, fresh) {
  const [ours, theirs] = [[...old.childNodes], [...fresh.childNodes]];
  theirs.forEach((node, index) => {
    const mine = ours[index];
    if (!mine) old.append(node);
    else if (mine.nodeType === 3 && node.nodeType === 3) {
      const text = node.data;
      if (text.startsWith(mine.data)) mine.appendData(text.slice(mine.data.length));
      else mine.data = text;
    } else if (mine.nodeType === 1 && mine.cloneNode(false).isEqualNode(node.cloneNode(false))) morph(mine, node);
    else mine.replaceWith(node);
  });
  ours.slice(theirs.length).forEach((node) => node.remove());
}

function typeset(model, node) {
  const typesetter = (model.widget_manager?._rendermime ?? model.widget_manager?.rendermime)?.latexTypesetter;
  if (typesetter) typesetter.typeset(node);
  else window.MathJax?.typesetPromise?.([node]) ?? window.MathJax?.Hub?.Queue(["Typeset", window.MathJax.Hub, node]);
}

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.messages = [];
    this.nodes = new Map();
    this.number = model.get("revision");
    // Notebooks that handle keys in the capture phase check this attribute of the focused element.
    el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    el.addEventListener("keydown", (event) => this.keep(event));
    this.build();
    this.replace(model.get("messages"));
    this.listeners = [["msg:custom", (content) => this.take(content)]];
    for (const name of ["busy", "live", "notice", "announced", "room", "menu", "composer", "empty"])
      this.listeners.push([`change:${name}`, () => this.refresh()]);
    this.listeners.push(["change:draft", () => this.follow_draft()]);
    for (const [name, act] of this.listeners) model.on(name, act);
    this.refresh();
    if (model.get("composer")) requestAnimationFrame(() => this.toEnd());
    this.send("sync", "", { number: this.number });
  }

  close() {
    for (const [name, act] of this.listeners) this.model.off(name, act);
    clearTimeout(this.saving);
    clearInterval(this.clock);
  }

  send(action, id = "", values = {}) {
    this.model.send({ action, id, values });
  }

  // Keep keys from the notebook, except the one that saves it.
  keep(event) {
    event.stopPropagation();
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s" && this.el.parentElement) {
      event.preventDefault();
      const { key, code, keyCode, ctrlKey, metaKey } = event;
      const again = { key, code, keyCode, ctrlKey, metaKey, bubbles: true, cancelable: true };
      this.el.parentElement.dispatchEvent(new KeyboardEvent("keydown", again));
    }
  }

  // --- the parts ------------------------------------------------------------------------------------------------

  build() {
    this.form = make("div", "chatglm-composer");
    this.box = make("textarea");
    this.box.rows = 2;
    this.box.setAttribute("aria-label", "Prompt");
    this.box.value = this.model.get("draft");
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("input", () => this.typed());
    this.box.addEventListener("blur", () => this.save());
    this.go = button("chatglm-go", "Send", () => this.press(), { text: "Send", sign: "send" });
    this.tick = make("input");
    this.tick.type = "checkbox";
    this.tick.addEventListener("change", () => this.send("live", "", { on: this.tick.checked, text: this.box.value }));
    this.liveLabel = make("label", "chatglm-live");
    this.liveLabel.title = "Ask again, for comparison, whenever a slider has moved";
    this.liveLabel.append(this.tick, make("span", "", "Live"));
    this.code = make("details", "chatglm-code");
    const summary = make("summary", "", "Code ▾");
    summary.prepend(icon("code"));
    this.entries = make("div", "chatglm-menu");
    this.code.append(summary, this.entries);
    this.code.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.fold();
    });
    this.code.addEventListener("focusout", (event) => {
      if (!this.code.contains(event.relatedTarget)) this.code.open = false;
    });
    this.count = make("span", "chatglm-count");
    this.bar = make("div", "chatglm-bar");
    this.bar.append(this.go, this.liveLabel, this.code, this.count);
    this.under = make("div", "chatglm-under");
    this.form.append(this.box, this.bar);
    this.log = make("div", "chatglm-log");
    this.log.tabIndex = 0;
    this.log.setAttribute("role", "group");
    this.log.setAttribute("aria-label", "Conversation");
    this.log.addEventListener("scroll", () => this.scrolled());
    this.nothing = make("div", "chatglm-nothing");
    this.latest = button("chatglm-latest", "Go to the end", () => this.toEnd(), { sign: "down" });
    this.status = make("div", "chatglm-announced");
    this.status.setAttribute("role", "status");
    this.toasts = make("div", "chatglm-toast");
    this.toasts.setAttribute("role", "status");
    const above = make("div", "chatglm-above-log");
    above.append(this.log, this.latest, this.toasts);
    // The composer is first in the tab order, and displayed last.
    this.el.append(this.form, this.under, above, this.status);
  }

  refresh() {
    const get = (name) => this.model.get(name);
    const shown = get("composer");
    this.form.hidden = !shown;
    this.el.classList.toggle("chatglm-reading", !shown);
    const busy = get("busy");
    if (busy !== this.busy) {
      this.busy = busy;
      const name = busy ? "Stop" : "Send";
      this.go.replaceChildren(icon(busy ? "stop" : "send"), make("span", "", name));
      this.go.title = busy ? "Stop (Esc); the partial answer is kept" : "Send (Enter)";
      this.go.classList.toggle("chatglm-stop", busy);
      this.box.placeholder = busy ? "Esc stops the answer; the partial answer is kept" : PLACEHOLDER;
    }
    this.tick.checked = get("live");
    this.counts();
    this.nothing.textContent = get("empty");
    if (this.status.textContent !== get("announced")) this.status.textContent = get("announced");
    const menu = get("menu");
    this.code.hidden = !menu.length;
    this.entries.replaceChildren(
      ...menu.map(([action, label]) =>
        button("", label, () => { this.fold(); this.send(action, "", { text: this.box.value }); }, { text: label })),
    );
    const notice = get("notice");
    const said = JSON.stringify(notice);
    if (said !== this.said) {
      this.said = said;
      this.under.replaceChildren(...(notice.text ? [this.noticeNode(notice, "")] : []));
    }
  }

  noticeNode(notice, id) {
    const node = make("div", `chatglm-notice chatglm-${notice.tone || "plain"}`);
    if (notice.tone === "failed") node.setAttribute("role", "alert");
    node.append(make("span", "", notice.text));
    if (notice.action)
      node.append(button("chatglm-link", notice.label, () => this.send(notice.action, id), { text: notice.label }));
    if (notice.details) {
      const more = make("details");
      more.append(make("summary", "", "Details"), make("pre", "", notice.details));
      node.append(more);
    }
    return node;
  }

  // --- the box --------------------------------------------------------------------------------------------------

  key(event) {
    if (event.isComposing || event.keyCode === 229) return; // the input method handles this key
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      if (this.busy) this.toast("An answer is under way. Esc stops it.");
      else this.ask();
    } else if (event.key === "Escape" && this.busy) {
      event.preventDefault();
      this.send("stop");
    } else if (event.key === "ArrowUp" && (this.box.value === "" || this.box.value === this.recalled)) this.recall(event);
  }

  recall(event) {
    const prompts = this.messages.filter((message) => message.role === "user" && message.source);
    const before = this.box.value === "" ? prompts.length : this.recalledAt;
    const prompt = prompts[before - 1];
    if (!prompt) return;
    event.preventDefault();
    this.recalledAt = before - 1;
    this.box.value = this.recalled = prompt.source;
    this.box.setSelectionRange(prompt.source.length, prompt.source.length);
    this.typed();
  }

  press() {
    if (this.busy) this.send("stop");
    else this.ask();
  }

  ask() {
    if (this.pending) return;
    const text = this.box.value;
    if (text.trim()) {
      this.pending = true;
      this.go.classList.add("chatglm-pending");
      this.slow = setTimeout(() => this.toast("The kernel is busy. The prompt is sent when it is free."), 1500);
    }
    this.following = true;
    this.send("send", "", { text });
    this.box.focus();
  }

  settled() {
    this.pending = false;
    clearTimeout(this.slow);
    this.go.classList.remove("chatglm-pending");
  }

  // Display the approximate number of tokens of the text, and the size of the model's context.
  counts() {
    const room = this.model.get("room");
    const text = this.box.value;
    const wide = (text.match(/[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]/g) ?? []).length;
    const tokens = Math.ceil(wide * 0.8 + (text.length - wide) / 4);
    this.count.textContent = room && text ? `≈ ${tokens} of ${room} tokens` : "";
    this.count.title = `About ${tokens} tokens; the model's context holds ${room}`;
  }

  typed() {
    this.grow();
    this.counts();
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.save(), 150);
  }

  save() {
    clearTimeout(this.saving);
    if (this.model.get("draft") !== this.box.value) {
      this.model.set("draft", this.box.value);
      this.model.save_changes();
    }
  }

  follow_draft() {
    const draft = this.model.get("draft");
    if (draft === this.box.value || document.activeElement === this.box) return;
    this.box.value = draft;
    this.grow();
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 240)}px`;
  }

  fold() {
    this.code.open = false;
    this.code.querySelector("summary").focus();
  }

  // --- the messages ---------------------------------------------------------------------------------------------

  take(content) {
    if (content.do === "change") {
      if (content.number <= this.number) return;
      if (content.number !== this.number + 1) return this.send("sync", "", { number: this.number });
      this.number = content.number;
      this.keepPlace(() => content.changes.forEach((change) => this.change(change)));
    } else if (content.do === "all") {
      if (content.number < this.number) return;
      this.number = content.number;
      this.keepPlace(() => this.replace(content.messages));
    } else if (content.do === "accept") {
      this.settled();
      if (!content.keep && this.box.value === content.text) this.box.value = "";
      this.grow();
      this.counts();
    } else if (content.do === "refuse") {
      this.settled();
    } else if (content.do === "restore") {
      this.box.value ||= content.text;
      this.grow();
    } else if (content.do === "copy") this.clip(content.text);
    else if (content.do === "toast") this.toast(content.text);
  }

  change([kind, ...values]) {
    if (kind === "all") this.replace(values[0]);
    else if (kind === "put") this.add(values[0]);
    else if (kind === "cut") this.cut(values[0]);
    else if (kind === "reveal") this.reveal(values[0]);
    else {
      const message = this.messages.find((each) => each.id === values[0]);
      if (!message) return;
      if (kind === "set") Object.assign(message, values[1]);
      else {
        const [, same, begun, rest] = values;
        const [first, ...further] = rest;
        const old = message.blocks[same] ?? "";
        const more = first === undefined ? [] : [old.slice(0, begun) + first, ...further];
        message.blocks = [...message.blocks.slice(0, same), ...more];
      }
      this.draw(message);
    }
  }

  replace(messages) {
    const ids = new Set(messages.map((message) => message.id));
    for (const id of [...this.nodes.keys()]) if (!ids.has(id)) this.cut(id);
    this.messages = [];
    this.log.replaceChildren(this.nothing);
    for (const message of messages) this.add(structuredClone(message));
  }

  add(message) {
    for (const parts of this.nodes.values()) parts.body.style.minHeight = "";
    this.messages.push(message);
    if (!this.nodes.has(message.id)) this.nodes.set(message.id, this.frame(message));
    const { node } = this.nodes.get(message.id);
    let place = this.log;
    if (message.lane) {
      const last = this.log.lastElementChild;
      place = last?.lane === message.lane ? last : make("div", "chatglm-lanes");
      place.lane = message.lane;
      if (place !== last) this.log.append(place);
    }
    place.append(node);
    this.draw(message);
  }

  cut(id) {
    const parts = this.nodes.get(id);
    this.messages = this.messages.filter((message) => message.id !== id);
    this.nodes.delete(id);
    const lane = parts?.node.parentElement;
    parts?.node.remove();
    if (lane?.lane && !lane.childElementCount) lane.remove();
  }

  frame(message) {
    const node = make("article", `chatglm-message chatglm-${message.role}`);
    const head = make("div", "chatglm-who");
    const body = make("div", "chatglm-body mathjax_ignore tex2jax_ignore");
    const text = make("div", "chatglm-text");
    const foot = make("div", "chatglm-foot");
    body.append(text);
    node.append(head, body, foot);
    return { node, head, body, text, foot, blocks: [] };
  }

  draw(message) {
    const parts = this.nodes.get(message.id);
    const { node, head, body, text } = parts;
    node.setAttribute("aria-label", message.label || message.role);
    node.setAttribute("aria-busy", String(message.busy));
    node.classList.toggle("chatglm-busy", message.busy);
    const heading = JSON.stringify([message.label, message.badge, message.selected]);
    if (heading !== parts.heading) {
      parts.heading = heading;
      head.replaceChildren(...this.heading(message));
    }
    if (message.busy && message.blocks.length < parts.blocks.length && !body.style.minHeight)
      body.style.minHeight = `${body.offsetHeight}px`; // until the new answer is taller
    message.blocks.forEach((html, index) => {
      parts.blocks[index] ??= text.appendChild(make("div", "chatglm-block mathjax_ignore tex2jax_ignore"));
      this.block(parts.blocks[index], html, !message.busy || index < message.blocks.length - 1);
    });
    node.classList.toggle("chatglm-long", message.blocks.length > LONG);
    parts.blocks.splice(message.blocks.length).forEach((block) => block.remove());
    if (body.style.minHeight && text.offsetHeight >= parseFloat(body.style.minHeight)) body.style.minHeight = "";
    this.feet(message, parts);
    this.wait(message, parts);
  }

  // Display the waiting time of an answer until it begins.
  wait(message, parts) {
    const waits = message.busy && !message.blocks.length;
    if (!waits) parts.since = undefined;
    parts.waiting?.remove();
    if (!waits) return;
    parts.since ??= performance.now();
    parts.waiting = make("span", "chatglm-meta chatglm-waiting");
    parts.foot.prepend(parts.waiting);
    this.waited();
    this.clock ??= setInterval(() => this.waited(), 1000);
  }

  waited() {
    let any = false;
    for (const { since, waiting } of this.nodes.values()) {
      if (since === undefined) continue;
      any = true;
      const seconds = Math.floor((performance.now() - since) / 1000);
      waiting.textContent = `Waiting for the first token…${seconds ? ` ${seconds} s` : ""}`;
    }
    if (!any) this.clock = clearInterval(this.clock);
  }

  block(node, html, done) {
    if (node.html !== html) {
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      if (node.html !== undefined && !node.done) morph(node, fresh.content);
      else node.replaceChildren(fresh.content);
      node.html = html;
      node.done = false;
    }
    if (!done || node.done) return;
    node.done = true;
    for (const code of node.querySelectorAll(".highlight")) {
      const copy = () => this.clip(code.querySelector("pre")?.textContent ?? "");
      code.append(button("chatglm-copy-code", "Copy code", copy, { sign: "copy" }));
      code.querySelector("pre")?.setAttribute("tabindex", "0");
    }
    if (node.querySelector(".mathjax_process")) typeset(this.model, node);
  }

  heading(message) {
    const found = [];
    if (message.selected !== null && message.selected !== undefined) {
      const tick = make("input");
      tick.type = "checkbox";
      tick.checked = message.selected;
      tick.setAttribute("aria-label", "Select");
      tick.addEventListener("change", () => this.send("select", message.id, { selected: tick.checked }));
      found.push(tick);
    }
    found.push(make("span", "", message.label));
    if (message.badge) found.push(make("span", "chatglm-badge", message.badge));
    return found;
  }

  feet(message, parts) {
    const { meta, facts, notice, versions, actions, busy } = message;
    const feet = JSON.stringify([meta, facts, notice, versions, actions, busy]);
    if (feet === parts.feet) return;
    parts.feet = feet;
    const found = [];
    if (notice?.text) found.push(this.noticeNode(notice, message.id));
    const line = make("div", "chatglm-line");
    if (meta) line.append(make("span", "chatglm-meta", meta));
    for (const name of actions) {
      const act = { copy: () => this.copySource(message), edit: () => this.edit(message) };
      line.append(button(`chatglm-act chatglm-do-${name}`, NAMES[name] ?? name,
        act[name] ?? (() => this.send(name, message.id)), { sign: ICONS[name] && name, text: NAMES[name] ?? name }));
    }
    const [at, of] = versions;
    if (of > 1) {
      const step = (name, sign, to) => {
        const node = button("chatglm-act", name, () => this.send("version", message.id, { number: to }), { sign });
        node.disabled = to < 1 || to > of || busy;
        return node;
      };
      const group = make("span", "chatglm-versions");
      group.append(step("Earlier version", "left", at - 1), make("span", "chatglm-meta", `${at}/${of}`),
        step("Later version", "right", at + 1));
      line.append(group);
    }
    if (facts.length) {
      const more = make("details", "chatglm-facts");
      const list = make("dl");
      for (const [name, value] of facts) list.append(make("dt", "", name), make("dd", "", value));
      more.append(make("summary", "", "Details"), list);
      line.append(more);
    }
    if (line.childNodes.length) found.push(line);
    parts.foot.replaceChildren(...found);
  }

  edit(message) {
    const parts = this.nodes.get(message.id);
    if (parts.editor) return;
    const editor = (parts.editor = make("div", "chatglm-editor"));
    const box = make("textarea");
    box.value = message.source;
    box.rows = Math.min(8, message.source.split("\n").length + 1);
    box.setAttribute("aria-label", "Edit the prompt");
    const done = () => { editor.remove(); parts.editor = null; parts.body.hidden = parts.foot.hidden = false; };
    const save = () => {
      if (!box.value.trim()) return;
      done();
      this.following = true;
      this.send("edit", message.id, { text: box.value });
    };
    box.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") done();
      else if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); save(); }
    });
    const bar = make("div", "chatglm-bar");
    bar.append(button("chatglm-go", "Send edit", save, { text: "Send edit" }), button("", "Cancel", done, { text: "Cancel" }));
    editor.append(box, bar);
    parts.body.hidden = parts.foot.hidden = true;
    parts.body.after(editor);
    box.focus();
  }

  // --- the view -------------------------------------------------------------------------------------------------

  keepPlace(act) {
    const follows = this.following ?? this.isAtEnd();
    this.revealed = false;
    act();
    if (follows && !this.revealed) this.log.scrollTop = this.log.scrollHeight;
    this.following = this.revealed ? false : this.busy || follows ? follows : undefined;
    this.latest.hidden = this.isAtEnd();
  }

  isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR;
  }

  scrolled() {
    this.following = this.isAtEnd();
    this.latest.hidden = this.following;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.scrolled();
  }

  reveal(id) {
    const parts = this.nodes.get(id);
    if (!parts) return;
    this.revealed = true;
    this.log.scrollTop = parts.node.offsetTop - 8;
  }

  // --- the clipboard --------------------------------------------------------------------------------------------

  copySource(message) {
    if (message.source !== undefined) return this.clip(message.source);
    this.waiting = setTimeout(() => this.clip(this.nodes.get(message.id)?.text.innerText ?? ""), 2000);
    this.send("copy", message.id);
  }

  async clip(text) {
    clearTimeout(this.waiting);
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (!this.clipOldWay(text)) return this.offer(text);
    }
    this.toast("Copied");
  }

  clipOldWay(text) {
    const focused = document.activeElement;
    const box = make("textarea", "chatglm-announced");
    box.value = text;
    this.el.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    focused?.focus?.();
    return done;
  }

  offer(text) {
    const box = make("textarea");
    box.value = text;
    box.rows = 6;
    box.readOnly = true;
    box.setAttribute("aria-label", "Text to copy");
    const node = make("div", "chatglm-offer");
    node.append(make("div", "chatglm-meta", "The page may not copy by itself. Press Ctrl+C:"), box,
      button("", "Close", () => node.remove(), { text: "Close" }));
    this.el.querySelector(".chatglm-offer")?.remove();
    this.el.append(node);
    box.focus();
    box.select();
  }

  toast(text) {
    clearTimeout(this.toasting);
    this.toasts.textContent = text;
    this.toasts.classList.add("chatglm-shown");
    this.toasting = setTimeout(() => {
      this.toasts.classList.remove("chatglm-shown");
      this.toasts.textContent = "";
    }, 2500);
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
