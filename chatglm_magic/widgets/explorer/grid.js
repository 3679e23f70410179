// The page's part of a sweep's grid. The kernel makes the HTML and escapes every text in it. This module inserts it,
// tells the kernel which cell was opened, and handles the keyboard.

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function initialize({ model }) {
  // Only changes are sent; the model keeps all tiles for views that are created later.
  model.on("msg:custom", ({ tiles }) => {
    if (tiles) model.set("tiles", { ...model.get("tiles"), ...tiles });
  });
}

function render({ model, el }) {
  let drawn = {};
  el.classList.add("chatglm-live");

  const tile = (number) => el.querySelector(`[data-n="${number}"]`);
  const tiles = () => [...el.querySelectorAll("[data-n]")];

  function paint() {
    const now = model.get("tiles");
    for (const button of tiles()) {
      const state = now[button.dataset.n];
      if (!state || state === drawn[button.dataset.n]) continue;
      drawn[button.dataset.n] = state;
      button.className = state.classes;
      button.style.background = state.ground;
      button.innerHTML = state.html;
      button.setAttribute("aria-pressed", String(state.open));
    }
  }

  function draw() {
    const focused = el.contains(document.activeElement) ? document.activeElement.dataset.n : undefined;
    drawn = {};
    el.innerHTML = model.get("html");
    paint();
    const first = tile(focused) ?? tiles()[0];
    if (first) first.tabIndex = 0;
    if (focused !== undefined) first?.focus();
  }

  function focus(button) {
    for (const other of tiles()) other.tabIndex = other === button ? 0 : -1;
    button.focus();
  }

  function nearest(from, [right, down]) {
    const origin = from.getBoundingClientRect();
    const cost = (button) => {
      const to = button.getBoundingClientRect();
      const [x, y] = [to.left - origin.left, to.top - origin.top];
      const [along, across] = right ? [x * right, Math.abs(y)] : [y * down, Math.abs(x)];
      return along > 1 ? along + 3 * across : Infinity;
    };
    const best = tiles().reduce((a, b) => (cost(b) < cost(a) ? b : a), from);
    return cost(best) < Infinity ? best : from;
  }

  // Registered on the window in the capture phase, to run before the notebook's own shortcuts: there, arrow keys
  // select another cell, and single letters cut and delete.
  function onKey(event) {
    const from = event.target.closest?.("[data-n]");
    if (!from || !el.contains(from) || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = [...from.closest("[role=row]").querySelectorAll("[data-n]")];
    if (event.key in STEPS) focus(nearest(from, STEPS[event.key]));
    else if (event.key === "Home") focus(row[0]);
    else if (event.key === "End") focus(row[row.length - 1]);
    else if (event.key === "Enter" || event.key === " ") from.click();
    else if (event.key.length > 1) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  function onClick(event) {
    const button = event.target.closest("[data-n]");
    if (button) {
      focus(button);
      model.send({ open: Number(button.dataset.n) });
    }
  }

  function onMessage({ focus: number }) {
    if (number !== undefined && tile(number)) focus(tile(number));
  }

  model.on("change:html", draw);
  model.on("change:tiles", paint);
  model.on("msg:custom", onMessage);
  window.addEventListener("keydown", onKey, true);
  el.addEventListener("click", onClick);
  draw();
  model.send({ ready: true });
  return () => {
    model.off("change:html", draw);
    model.off("change:tiles", paint);
    model.off("msg:custom", onMessage);
    window.removeEventListener("keydown", onKey, true);
  };
}

export default { initialize, render };
