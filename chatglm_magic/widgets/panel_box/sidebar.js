// The page's part of sidebar.py: the panel's header, and a column of settings. Text becomes text nodes.

const MENU = [["conversation", "Copy the conversation"], ["defaults", "Reset all settings"]];
const STEPS = 1000; // of a slider with a logarithmic scale

function make(tag, className = "", text = "") {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}

function button(className, text, act, title = "") {
  const node = make("button", className, text);
  node.type = "button";
  if (title) node.title = title;
  node.addEventListener("click", act);
  return node;
}

function written(value) {
  return value === null || value === undefined ? "" : String(Number.isInteger(value) ? value : +value.toFixed(4));
}

class View {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.fields = new Map();
    // Notebooks that handle keys in the capture phase check this attribute of the focused element.
    el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    el.addEventListener("keydown", (event) => event.stopPropagation());
    this.build();
    this.redraw = () => this.draw();
    for (const name of ["values", "errors", "ranges", "options", "key", "head", "context", "viewing"])
      model.on(`change:${name}`, this.redraw);
    this.draw();
  }

  close() {
    this.model.off(null, this.redraw);
  }

  send(action, id = "", values = {}) {
    this.model.send({ action, id, values });
  }

  build() {
    const head = make("div", "chatglm-head");
    this.dot = make("span", "chatglm-dot");
    this.dot.setAttribute("aria-hidden", "true");
    this.name = make("span", "chatglm-name");
    this.place = make("span", "chatglm-place");
    this.server = button("chatglm-server", "", () => this.open("Server"), "Server, model and key");
    this.server.append(this.dot, this.name, this.place, make("span", "chatglm-pale", "▾"));
    this.state = make("span", "chatglm-state");
    this.state.setAttribute("role", "status");
    this.fresh = button("", "+ New chat", () => this.send("new"), "Start a conversation; this one stays in the history");
    this.past = button("chatglm-past-button", "", () => this.send("history"));
    this.drawer = button("chatglm-drawer-button", "Settings", () => this.toggle());
    this.drawer.setAttribute("aria-expanded", "false");
    head.append(this.server, this.state, this.fresh, this.past, this.drawer, this.menu());
    this.side = make("div", "chatglm-side");
    this.side.setAttribute("role", "group");
    this.side.setAttribute("aria-label", "Settings");
    this.side.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.panel()?.classList.contains("chatglm-drawn")) {
        this.toggle();
        this.drawer.focus();
      }
    });
    this.side.append(button("chatglm-close", "Close", () => this.toggle()));
    this.sections = new Map();
    for (const section of this.model.get("sections")) {
      const box = section.title ? make("details") : make("div", "chatglm-first");
      if (section.title) {
        const summary = make("summary", "", section.title);
        const told = make("span", "chatglm-told");
        summary.append(told);
        box.append(summary);
        this.sections.set(section.title, { box, told, fields: section.fields });
      }
      for (const field of section.fields) box.append(this.field(field));
      if (section.title === "Server") {
        const bar = make("div", "chatglm-checking");
        this.words = make("span", "chatglm-pale");
        bar.append(button("", "Check", () => this.send("check"), "Check the connection again"), this.words);
        box.append(bar);
      }
      this.side.append(box);
    }
    this.el.append(head, this.side);
  }

  // Scroll to the history, which appears below the panel, often outside the window.
  reveal(tries = 40) {
    const viewer = this.panel()?.querySelector(".chatglm-viewer");
    if (viewer) viewer.scrollIntoView({ block: "nearest", behavior: "smooth" });
    else if (tries) setTimeout(() => this.reveal(tries - 1), 50);
  }

  menu() {
    const menu = make("details", "chatglm-more");
    const summary = make("summary", "", "⋯");
    summary.title = "More";
    summary.setAttribute("aria-label", "More");
    const fold = () => {
      menu.open = false;
      summary.focus();
    };
    const entries = make("div", "chatglm-menu");
    for (const [action, label] of MENU)
      entries.append(button("", label, () => { fold(); this.send(action); }));
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") fold();
    });
    menu.addEventListener("focusout", (event) => {
      if (!menu.contains(event.relatedTarget)) menu.open = false;
    });
    menu.append(summary, entries);
    return menu;
  }

  panel() {
    return this.el.closest(".chatglm-panel");
  }

  toggle(open) {
    const drawn = this.panel()?.classList.toggle("chatglm-drawn", open);
    this.drawer.setAttribute("aria-expanded", String(Boolean(drawn)));
  }

  open(title) {
    this.toggle(true);
    const { box } = this.sections.get(title);
    box.open = true;
    box.querySelector("input").focus();
  }

  field(field) {
    const node = make("div", `chatglm-field chatglm-kind-${field.kind}`);
    const label = make("label", "chatglm-label", field.label);
    const input = make({ lines: "textarea", choice: "select" }[field.kind] ?? "input");
    const id = `chatglm-${field.name}-${Math.random().toString(36).slice(2)}`;
    const error = make("div", "chatglm-error");
    const parts = { node, input, error, field };
    input.id = label.htmlFor = id;
    error.id = `${id}-error`;
    error.setAttribute("role", "alert");
    label.title = field.hint;
    const set = (value) => this.send("set", field.name, { value });
    if (field.kind === "check") {
      input.type = "checkbox";
      input.addEventListener("change", () => set(input.checked));
      parts.label = label;
      node.append(input, label, error);
    } else if (field.kind === "number") {
      input.inputMode = "decimal";
      input.autocomplete = "off";
      input.placeholder = "server default";
      input.addEventListener("change", () => this.typed(field, input));
      input.addEventListener("keydown", (event) => this.steps(event, field, input));
      const range = make("input");
      range.type = "range";
      range.setAttribute("aria-label", field.label);
      range.addEventListener("input", () => this.slide(parts));
      range.addEventListener("change", () => set(this.slide(parts)));
      range.addEventListener("pointerdown", () => (parts.dragged = true));
      range.addEventListener("pointerup", () => (parts.dragged = false));
      range.addEventListener("keydown", (event) => this.begin(event, parts));
      const reset = button("chatglm-reset", "↺", () => this.send("reset", field.name), `Reset ${field.label}`);
      reset.setAttribute("aria-label", `Reset ${field.label}`);
      const line = make("div", "chatglm-numberline");
      line.append(label, reset, input);
      Object.assign(parts, { range, reset });
      node.append(line, range, error);
    } else {
      if (field.kind === "secret") {
        input.type = "password";
        input.autocomplete = "off";
      }
      if (field.kind === "lines") input.rows = 3;
      if (field.kind === "suggest") {
        parts.list = make("datalist");
        parts.list.id = `${id}-list`;
        input.setAttribute("list", parts.list.id);
        node.append(parts.list);
      }
      if (field.kind !== "choice") input.placeholder = field.hint;
      input.addEventListener("change", () => {
        set(input.value);
        if (field.kind === "secret") input.value = "";
      });
      node.append(label, input, error);
    }
    input.setAttribute("aria-describedby", error.id);
    this.fields.set(field.name, parts);
    return node;
  }

  typed(field, input) {
    const text = input.value.trim();
    this.send("set", field.name, { value: text === "" ? null : text.replace(",", ".") });
  }

  steps(event, field, input) {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Enter") this.typed(field, input);
    if (by) this.step(event, this.fields.get(field.name), by);
  }

  step(event, parts, by) {
    event.preventDefault();
    const { field, input } = parts;
    const present = input.value === "" ? field.start : Number(input.value);
    const [low, high] = this.model.get("ranges")[field.name];
    const next = field.log ? this.nice(present * (by > 0 ? 1.25 : 0.8)) : present + by * field.step;
    input.value = written(Math.min(high, Math.max(low, next)));
    this.send("set", field.name, { value: Number(input.value) });
  }

  // By keyboard, an unset slider starts at its parameter's initial value; on a logarithmic scale, a key is a step.
  begin(event, parts) {
    const by = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
    if (!parts.unset && parts.field.log && by) return this.step(event, parts, by);
    if (!parts.unset || !/^(Arrow|Page|Home|End)/.test(event.key)) return;
    parts.range.value = this.position(parts, parts.field.start);
    if (event.key !== "Home" && event.key !== "End") {
      event.preventDefault();
      this.slide(parts);
      this.send("set", parts.field.name, { value: parts.field.start });
    }
  }

  nice(value) {
    if (value < 32) return Math.round(value);
    const unit = 2 ** Math.max(0, Math.floor(Math.log2(value)) - 4);
    return Math.round(value / unit) * unit;
  }

  position(parts, value) {
    const [low, high] = this.model.get("ranges")[parts.field.name];
    if (!parts.field.log) return value;
    return Math.round((STEPS * Math.log(value / low)) / Math.log(high / low));
  }

  value(parts) {
    const [low, high] = this.model.get("ranges")[parts.field.name];
    const at = Number(parts.range.value);
    if (!parts.field.log) return +at.toFixed(4);
    return Math.min(high, Math.max(low, this.nice(low * (high / low) ** (at / STEPS))));
  }

  // Update the number while the handle is dragged.
  slide(parts) {
    const value = this.value(parts);
    parts.input.value = written(value);
    this.mark(parts, value);
    return value;
  }

  mark(parts, value) {
    const { node, range, reset } = parts;
    parts.unset = value === null || value === undefined;
    node.classList.toggle("chatglm-unset", parts.unset);
    reset.disabled = parts.unset;
    const [low, high] = [Number(range.min), Number(range.max)];
    const share = parts.unset ? 0 : (100 * (Number(range.value) - low)) / (high - low || 1);
    range.style.setProperty("--share", `${share}%`);
    range.setAttribute("aria-valuetext", parts.unset ? "server default" : written(value));
  }

  draw() {
    const get = (name) => this.model.get(name);
    const [values, errors, options] = [get("values"), get("errors"), get("options")];
    for (const [name, parts] of this.fields) {
      const refused = errors[name];
      const value = refused ? refused.typed : values[name];
      parts.error.textContent = refused ? refused.text : "";
      parts.input.setAttribute("aria-invalid", String(Boolean(refused)));
      this.put(parts, value, values[name], options[name]);
    }
    for (const { told, fields } of this.sections.values()) told.textContent = this.told(fields, values);
    const head = get("head");
    this.dot.className = `chatglm-dot chatglm-${head.tone ?? "unsure"}`;
    this.name.textContent = head.name ?? "";
    this.place.textContent = head.place ? `· ${head.place}` : "";
    this.server.title = head.text ?? "";
    this.state.textContent = head.tone === "good" ? "" : (head.text ?? "");
    this.words.textContent = head.text ?? "";
    const viewing = get("viewing");
    this.past.textContent = viewing ? "Hide history" : "History";
    this.past.setAttribute("aria-expanded", String(viewing));
    if (viewing && this.viewed === false) this.reveal();
    this.viewed = viewing;
    const context = get("context");
    this.fields.get("with_history").label.textContent = `Send earlier turns (${context} in context)`;
  }

  put(parts, value, present, choices) {
    const { input, field, range } = parts;
    if (field.kind === "check") input.checked = Boolean(value);
    else if (field.kind === "number") {
      if (parts.dragged) return;
      const text = typeof value === "string" ? value : written(value);
      if (input.value !== text) input.value = text;
      const [low, high] = this.model.get("ranges")[field.name];
      range.min = field.log ? 0 : low;
      range.max = field.log ? STEPS : high;
      range.step = field.log ? 1 : field.step;
      range.value = this.position(parts, present ?? low);
      this.mark(parts, present);
    } else if (field.kind === "secret") {
      input.placeholder = this.model.get("key") ? "set; type another one to replace it" : "none";
    } else {
      const listed = JSON.stringify(choices ?? []);
      if (field.kind === "choice" && parts.listed !== listed) {
        input.replaceChildren(...choices.map(([key, label]) => new Option(label, key)));
        parts.listed = listed;
      } else if (field.kind === "suggest" && parts.listed !== listed) {
        parts.list.replaceChildren(...(choices ?? []).map((name) => new Option(name)));
        parts.listed = listed;
      }
      if (document.activeElement !== input || parts.shown !== value) input.value = value ?? "";
      parts.shown = value;
    }
  }

  told(fields, values) {
    const set = fields.filter(({ name, kind }) => name !== "endpoint_url" && kind !== "check" && values[name]);
    return set.map(({ label, name, kind }) => (kind === "number" ? `${label} ${written(values[name])}` : label)).join(", ");
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    return () => view.close();
  },
};
