// The page's part of a lens: the answer as text, and the sliders. The kernel makes the HTML and escapes every text
// in it. This module inserts it, and sends the selected token and the sliders' values to the kernel.

const render = ({ model, el }) => {
  el.classList.add("chatglm-live");
  const make = (tag, className, parent) => {
    const node = document.createElement(tag);
    node.className = className;
    parent.append(node);
    return node;
  };
  const save = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const undo = [];
  const listen = (names, act) => {
    for (const name of names) {
      model.on(`change:${name}`, act);
      undo.push(() => model.off(`change:${name}`, act));
    }
    act();
  };

  // --- sliders: a range, a number and a button that resets them to the request's value ---

  const bank = make("div", "chatglm-sliders", el);
  for (const { name, usual, most, asked, step } of model.get("sliders")) {
    const row = make("div", "chatglm-slider", bank);
    make("span", "chatglm-name", row).textContent = name;
    const range = make("input", "chatglm-range", row);
    const number = make("input", "chatglm-number", row);
    const reset = make("button", "chatglm-reset", row);
    const error = make("div", "chatglm-error", row);
    Object.assign(range, { type: "range", min: 0, step });
    Object.assign(number, { type: "number", min: 0, max: most, step });
    Object.assign(reset, { type: "button", textContent: "↺", title: `Back to ${asked}, what was asked` });
    range.setAttribute("aria-label", name);
    number.setAttribute("aria-label", name);
    reset.setAttribute("aria-label", `Reset ${name}`);
    error.setAttribute("role", "alert");
    const tell = (text) => {
      error.textContent = text;
      number.setAttribute("aria-invalid", String(Boolean(text)));
    };
    range.addEventListener("input", () => save(name, Number(range.value)));
    const take = () => {
      const value = number.valueAsNumber;
      tell(value >= 0 && value <= most ? "" : `${name} goes from 0 to ${most}.`);
      if (!error.textContent) save(name, value);
    };
    number.addEventListener("change", take);
    number.addEventListener("keydown", (event) => event.key === "Enter" && take()); // a notebook may suppress the change event
    reset.addEventListener("click", () => {
      save(name, asked);
      show();
    });
    const show = () => {
      const value = model.get(name);
      range.max = Math.max(usual, value);
      range.value = value;
      if (document.activeElement !== number || number.valueAsNumber !== value) number.value = value;
      for (const part of [range, number]) part.disabled = model.get("fixed");
      reset.disabled = model.get("fixed") || value === asked;
      tell("");
    };
    listen([name], show);
  }

  // --- the answer ---

  const frame = make("div", "chatglm-frame", el);
  const prose = make("div", "chatglm-prose", frame);
  const tip = make("div", "chatglm-tip", frame);
  tip.setAttribute("role", "tooltip");
  tip.id = `chatglm-tip-${model.model_id ?? Math.random().toString(36).slice(2)}`;
  prose.innerHTML = model.get("html");
  const tokens = [...prose.querySelectorAll("[data-n]")];
  const numberOf = (token) => Number(token.dataset.n);

  listen(["marks"], () => {
    model.get("marks").forEach((mark, n) => (tokens[n].dataset.open = mark));
  });

  let pointed = null;
  function point(token) {
    pointed = token;
    tip.hidden = !token;
    if (!token) return;
    tip.innerHTML = model.get("tips")[numberOf(token)];
    const [at, around] = [token.getClientRects()[0] ?? token.getBoundingClientRect(), frame.getBoundingClientRect()];
    const left = Math.min(at.left - around.left, around.width - tip.offsetWidth - 4);
    Object.assign(tip.style, { left: `${Math.max(0, left)}px`, top: `${at.bottom - around.top + 4}px` });
  }
  listen(["tips"], () => point(pointed));

  function reveal(token) {
    token.closest("details")?.setAttribute("open", "");
    const [at, around] = [token.getBoundingClientRect(), prose.getBoundingClientRect()];
    if (at.top < around.top) prose.scrollTop -= around.top - at.top + 8;
    if (at.bottom > around.bottom) prose.scrollTop += at.bottom - around.bottom + 8;
  }

  listen(["index"], () => {
    const chosen = tokens[model.get("index")];
    const moves = prose.contains(document.activeElement) && document.activeElement !== chosen;
    for (const token of tokens) {
      token.tabIndex = token === chosen ? 0 : -1;
      token.setAttribute("aria-selected", String(token === chosen));
    }
    if (!chosen) return;
    reveal(chosen);
    if (moves) chosen.focus({ preventScroll: true });
  });

  function choose(token) {
    save("index", numberOf(token));
    token.focus({ preventScroll: true });
  }

  // Return the nearest token in the line below or above.
  function beside(from, down) {
    const at = from.getClientRects()[0];
    const cost = (token) => {
      const to = token.getClientRects()[0];
      if (!to) return Infinity;
      const lines = (to.top - at.top) * down;
      return lines > at.height / 2 ? lines * 1000 + Math.abs(to.left - at.left) : Infinity;
    };
    const best = tokens.reduce((a, b) => (cost(b) < cost(a) ? b : a), from);
    return best;
  }

  // Registered on the window in the capture phase, to run before the notebook's own shortcuts: there, arrow keys
  // select another cell, and single letters cut and delete.
  function onKey(event) {
    const token = event.target.closest?.("[data-n]");
    if (!token || !prose.contains(token) || event.ctrlKey || event.metaKey || event.altKey) return;
    const n = numberOf(token);
    const to = {
      ArrowLeft: () => tokens[n - 1],
      ArrowRight: () => tokens[n + 1],
      ArrowUp: () => beside(token, -1),
      ArrowDown: () => beside(token, 1),
      Home: () => tokens[0],
      End: () => tokens[tokens.length - 1],
    }[event.key];
    if (to) choose(to() ?? token);
    else if (event.key.length > 1 && event.key !== "Enter") return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  prose.addEventListener("pointerover", (event) => {
    const token = event.target.closest("[data-n]");
    if (!token || token === pointed) return;
    point(token);
    save("pointed", numberOf(token));
  });
  prose.addEventListener("pointerleave", () => {
    point(null);
    save("pointed", -1);
  });
  prose.addEventListener("scroll", () => point(null));
  prose.addEventListener("click", (event) => {
    const token = event.target.closest("[data-n]");
    if (token) choose(token);
  });
  window.addEventListener("keydown", onKey, true);
  model.send({ ready: true });
  return () => {
    window.removeEventListener("keydown", onKey, true);
    undo.forEach((act) => act());
  };
};

export default { render };
