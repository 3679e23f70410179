"""The viewer's list: 20 lines, made once and filled again, and the buttons that turn its pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ipywidgets as w

from .. import look
from .calls import CallbackGuard

PAGE = 20


class Item(NamedTuple):
    """What a line shows: a text, and a snippet with facts as safe HTML. ``key`` is an id; ``label`` names its box,
    and ``ticked`` None has none."""

    key: str
    label: str
    text: str
    facts: str
    ticked: bool | None = None


class Line(w.Box):  # type: ignore[misc]
    """One line: a check box named by the number, a button that opens it, and the facts. Unused, it has no key."""

    def __init__(
        self,
        guard: CallbackGuard,
        opened: Callable[[str], object],
        ticked: Callable[[str, bool], object],
        like: Line | None = None,
    ) -> None:
        self.key, self._guard, self._ticked = "", guard, ticked
        self.tick: Any = guard.make_atomic(w.Checkbox(indent=False, **_look_of(like and like.tick)))
        self.button: Any = w.Button(**_look_of(like and like.button))
        self.facts: Any = look.Html(**_look_of(like and like.facts))
        super().__init__([self.tick, self.button, self.facts], **({"layout": like.layout} if like else {}))
        self.add_class("chatglm-item")
        self.tick.add_class("chatglm-tick")
        self.button.on_click(guard.handler(lambda: opened(self.key) if self.key else None))
        self.tick.observe(guard.value_handler(self._tick), names="value")

    def _tick(self, ticked: bool) -> None:
        if self.key:
            self._ticked(self.key, ticked)
        with self._guard.suspend_handlers():
            self.tick.value = ticked

    def fill(self, item: Item, *, is_open: bool) -> None:
        """Show an item; nothing is sent to the page for what is the same as before."""
        self.key = item.key
        self.tick.description, self.tick.value = item.label, bool(item.ticked)
        self.button.description, self.facts.value = item.text, item.facts
        (self.add_class if is_open else self.remove_class)("chatglm-open")


def _look_of(other: Any) -> dict[str, Any]:
    """Return another line's layout and style, to share: each would be one more model in the page."""
    return {"layout": other.layout, "style": other.style} if other else {}


class Lines(w.Box):  # type: ignore[misc]
    """A page of lines; there are no more widgets for 100 000 turns than for 20."""

    def __init__(
        self, guard: CallbackGuard, opened: Callable[[str], object], ticked: Callable[[str, bool], object]
    ) -> None:
        first = Line(guard, opened, ticked)
        self._lines = [first, *(Line(guard, opened, ticked, like=first) for _ in range(PAGE - 1))]
        self._shown = 0
        super().__init__([])
        self.add_class("chatglm-items")

    def fill(self, items: Sequence[Item], opened: str | None) -> None:
        """Show at most 20 items."""
        shown = tuple(self._lines[: len(items)])
        for line, item in zip(shown, items, strict=True):
            line.fill(item, is_open=item.key == opened)
        for line in self._lines[len(items) :]:
            line.key = ""  # a click on it that comes late is for nothing that is listed
        (self.remove_class if items and items[0].ticked is not None else self.add_class)("chatglm-no-ticks")
        if len(shown) != self._shown:
            self._shown, self.children = len(shown), shown

    def focus_on(self, key: str) -> None:
        """Put the keyboard's focus on the button of an item, if it is on the page."""
        for line in self._lines[: self._shown]:
            if line.key == key:
                line.button.focus()


class Pages(w.Box):  # type: ignore[misc]
    """First, Previous, a page's number, Next, Last; ``turned`` is called with the page to show, from 0 on."""

    def __init__(self, guard: CallbackGuard, turned: Callable[[int], object]) -> None:
        self.page, self._last = 0, 0
        self._guard = guard
        self.first, self.previous = look.button("First"), look.button("Previous")
        self.next, self.last = look.button("Next"), look.button("Last")
        self.number = guard.make_atomic(
            w.BoundedIntText(
                1,
                min=1,
                max=1,
                description="Page",
                layout=w.Layout(width="8.5em"),
                style={"description_width": "auto"},
            )
        )
        self.of = w.Label()
        super().__init__([self.first, self.previous, self.number, self.of, self.next, self.last])
        self.add_class("chatglm-row")
        self.add_class("chatglm-pages")
        self.first.on_click(guard.handler(lambda: turned(0)))
        self.previous.on_click(guard.handler(lambda: turned(max(self.page - 1, 0))))
        self.next.on_click(guard.handler(lambda: turned(min(self.page + 1, self._last))))
        self.last.on_click(guard.handler(lambda: turned(self._last)))
        self.number.observe(guard.handler(lambda: turned(self.number.value - 1)), names="value")

    def fill(self, page: int, count: int | None, *, more: bool = False) -> None:
        """Show which page this is; ``count`` is None where the end is not known, and ``more`` tells of one."""
        self.page = page
        self._last = page + more if count is None else max((count - 1) // PAGE, 0)
        with self._guard.suspend_handlers():
            self.number.max = max(self._last + 1, self.number.value)  # a box clamps, and would say so as a change
            self.number.value = page + 1
            self.number.max = self._last + 1
        self.of.value = "" if count is None else f"of {self._last + 1:,}"
        self.first.disabled = self.previous.disabled = page == 0
        self.next.disabled = page >= self._last
        self.last.disabled = page >= self._last or count is None
        self.layout.display = None if self._last else "none"
