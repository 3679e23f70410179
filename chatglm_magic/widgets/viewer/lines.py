"""The viewer's list: lines, created once and refilled for each page, and the buttons that change the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ipywidgets as w

from .. import look
from .calls import CallbackGuard

LINES_PER_PAGE = 20


class ListItem(NamedTuple):
    """What a line shows."""

    key: str
    """The id of the turn or the conversation."""
    label: str
    """The name of the check box."""
    text: str
    summary: str
    """Safe HTML below the text."""
    selected: bool | None = None
    """None for an item without a check box."""


class ListLine(w.Box):  # type: ignore[misc]
    """One line: a check box, a button that opens the item, and its summary. An unused line has an empty key.

    :param sibling: another line, whose layouts and styles are shared: each would be one more model in the page.
    """

    def __init__(
        self,
        guard: CallbackGuard,
        on_open: Callable[[str], object],
        on_select: Callable[[str, bool], object],
        sibling: ListLine | None = None,
    ) -> None:
        def look_of(part: str) -> dict[str, Any]:
            widget = getattr(sibling, part, None)
            return {"layout": widget.layout, "style": widget.style} if widget else {}

        self.key, self._guard, self._on_select = "", guard, on_select
        self.checkbox: Any = guard.make_atomic(w.Checkbox(indent=False, **look_of("checkbox")))
        self.button: Any = w.Button(**look_of("button"))
        self.summary: Any = look.Html(**look_of("summary"))
        super().__init__(
            [self.checkbox, self.button, self.summary], **({"layout": sibling.layout} if sibling else {})
        )
        self.add_class("chatglm-item")
        self.checkbox.add_class("chatglm-tick")
        self.button.on_click(guard.handler(lambda: on_open(self.key) if self.key else None))
        self.checkbox.observe(guard.value_handler(self._select), names="value")

    def _select(self, selected: bool) -> None:
        if self.key:
            self._on_select(self.key, selected)
        with self._guard.suspend_handlers():
            self.checkbox.value = selected

    def fill(self, item: ListItem, *, is_open: bool) -> None:
        """Show an item; what hasn't changed isn't sent to the page."""
        self.key = item.key
        self.checkbox.description, self.checkbox.value = item.label, bool(item.selected)
        self.button.description, self.summary.value = item.text, item.summary
        (self.add_class if is_open else self.remove_class)("chatglm-open")


class LineList(w.Box):  # type: ignore[misc]
    """A page of lines; it has as many widgets for 100 000 turns as for 20."""

    def __init__(
        self, guard: CallbackGuard, on_open: Callable[[str], object], on_select: Callable[[str, bool], object]
    ) -> None:
        first = ListLine(guard, on_open, on_select)
        others = (ListLine(guard, on_open, on_select, sibling=first) for _ in range(LINES_PER_PAGE - 1))
        self._lines = [first, *others]
        self._used_count = 0
        super().__init__([])
        self.add_class("chatglm-items")

    def fill(self, items: Sequence[ListItem], open_key: str | None) -> None:
        """Show at most 20 items, the open one highlighted."""
        used = tuple(self._lines[: len(items)])
        for line, item in zip(used, items, strict=True):
            line.fill(item, is_open=item.key == open_key)
        for line in self._lines[len(items) :]:
            line.key = ""  # a click that arrives late must not open a turn that is no longer listed
        (self.remove_class if items and items[0].selected is not None else self.add_class)("chatglm-no-ticks")
        if len(used) != self._used_count:
            self._used_count, self.children = len(used), used


class PageButtons(w.Box):  # type: ignore[misc]
    """First, Previous, the page number, Next, Last; ``on_page`` is called with the page to show, from 0."""

    def __init__(self, guard: CallbackGuard, on_page: Callable[[int], object]) -> None:
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
        self.first.on_click(guard.handler(lambda: on_page(0)))
        self.previous.on_click(guard.handler(lambda: on_page(max(self.page - 1, 0))))
        self.next.on_click(guard.handler(lambda: on_page(min(self.page + 1, self._last))))
        self.last.on_click(guard.handler(lambda: on_page(self._last)))
        self.number.observe(guard.handler(lambda: on_page(self.number.value - 1)), names="value")

    def fill(self, page: int, count: int | None, *, has_more: bool = False) -> None:
        """Show the current page.

        :param count: the number of items; None if it isn't known.
        :param has_more: whether there is a next page, if the number isn't known.
        """
        self.page = page
        self._last = page + has_more if count is None else max((count - 1) // LINES_PER_PAGE, 0)
        with self._guard.suspend_handlers():
            # A value that is clamped would be reported as a change.
            self.number.max = max(self._last + 1, self.number.value)
            self.number.value = page + 1
            self.number.max = self._last + 1
        self.of.value = "" if count is None else f"of {self._last + 1:,}"
        self.first.disabled = self.previous.disabled = page == 0
        self.next.disabled = page >= self._last
        self.last.disabled = page >= self._last or count is None
        self.layout.display = None if self._last else "none"
