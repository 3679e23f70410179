"""The left of the viewer: conversations, or the turns that are searched for, a page at a time."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...session import Session
from ...store import Query, Row
from .. import look
from .calls import CallbackGuard
from .confirm import turns
from .facts import label, line_of_conversation, line_of_turn, title
from .filters import Filters
from .lines import PAGE, Item, Lines, Pages
from .news import News
from .selection import Selection

CONVERSATIONS, ALL, PRESENT = "all conversations", "all turns", "this conversation"

SETTLED = 0.25
"""Seconds between two looks into the store, while turns come in or a search is typed."""


class Listing(w.VBox):  # type: ignore[misc]
    """What is listed: conversations, or turns, which a search and the filters always find.

    :param opened: is called with a turn that a reader opens, and ``entered`` with a conversation's id.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        selection: Selection,
        *,
        opened: Callable[[Row], object],
        entered: Callable[[str], object],
    ) -> None:
        self._session, self._guard, self._selection = session, guard, selection
        self._opened, self._entered = opened, entered
        self._items: list[Item] = []
        self._folded: dict[str, list[str]] = {}  # the turns that a line stands for, by its key
        self._current: tuple[str | None, str | None] = (None, None)
        self.rows: list[Row] = []
        self.query = Query()
        self.show = guard.make_atomic(
            look.label_above(w.Dropdown(description="Show", options=[CONVERSATIONS, ALL, PRESENT]))
        )
        self.filters = Filters(guard, self.search, guard.debounce(self.search, pause=SETTLED))
        self.refresh = look.button("Refresh", tooltip="Look for turns of other kernels")
        self.all = look.button("Select page", tooltip="Select the turns of this page")
        self.export = look.button("Export all…", tooltip="Write all that are listed to a file")
        self.lines = Lines(guard, self._open, self._select)
        self.pages = Pages(guard, self.turn_to)
        self.count, self.news = look.Html(), News()
        self.show.observe(guard.handler(self.search), names="value")
        self.refresh.on_click(guard.handler(self.fill))
        self.all.on_click(guard.handler(lambda: selection.add([row.turn.id for row in self.rows])))
        self.export.on_click(guard.handler(selection.export_listed))
        self.bar = look.row(self.filters.text, self.show, self.filters.order, self.filters.more, self.refresh)
        self.bar.add_class("chatglm-bar")
        head = look.with_class(look.row(self.count, self.all, self.export), "chatglm-quiet")
        super().__init__([head, self.lines, self.pages])
        self.add_class("chatglm-listing")

    @property
    def lists_turns(self) -> bool:
        """Whether turns are listed, and not conversations."""
        return bool(self.show.value != CONVERSATIONS or self.filters.text.value.strip() or self.filters.active)

    def search(self) -> None:
        """List what is asked for, from the first page on."""
        self._guard.show_status("")
        self.turn_to(0)

    def turn_to(self, page: int) -> None:
        """Show a page, from 0 on."""
        self.pages.page = page
        self.fill()

    def fill(self) -> None:
        """Read the store and fill the list again."""
        with self._guard.suspend_handlers():
            self.query = self.filters.query(self._session.conversation if self.show.value == PRESENT else None)
            told = self._read_turns() if self.lists_turns else self._read_conversations()
            self._show()
            self.count.value = look.status_html(told)  # after what it is about
            self.all.layout.display = None if self.rows else "none"
            self.export.layout.display = None if self._items else "none"
            self.filters.show_models(self._session.store.models())
            self.news.ask(self._session.store)

    def mark(self, conversation: str | None, turn: str | None) -> None:
        """Show which conversation, or turn, is open, and which turns are selected."""
        self._current = conversation, turn
        with self._guard.suspend_handlers():
            self._show()

    def _show(self) -> None:
        conversation, turn = self._current
        if self.rows:
            selected = self._selection.ids
            self._items = [
                item._replace(ticked=all(turn in selected for turn in self._folded[item.key]))
                for item in self._items
            ]
        self.lines.fill(self._items, turn if self.lists_turns else conversation)

    def _read_turns(self) -> str:
        store = self._session.store
        count = store.count(self.query)
        self.pages.fill(min(self.pages.page, max(count - 1, 0) // PAGE), count)
        self.rows = store.find(self.query, offset=self.pages.page * PAGE, limit=PAGE)
        groups = _folded(self.rows)
        self._folded = {group[0].turn.id: [row.turn.id for row in group] for group in groups}
        originals = {_said(row): row.number for row in sorted(self.rows, key=lambda row: -row.number)}
        self._items = [
            Item(
                group[0].turn.id,
                label(group[0]),
                title(group[0].turn.prompt),
                line_of_turn(
                    group[0], self.query.text, len(group), is_copy=originals[_said(group[0])] != group[0].number
                ),
                False,
            )
            for group in groups
        ]
        narrowed = " found" if self.query.text or self.filters.active else ""
        first = self.pages.page * PAGE + 1
        place = f"{first:,}–{first + len(self.rows) - 1:,} of " if count > PAGE else ""
        return f"{place}{turns(count)}{narrowed}"

    def _read_conversations(self) -> str:
        store = self._session.store
        found = store.conversations(offset=self.pages.page * PAGE, limit=PAGE + 1)
        while not found and self.pages.page:
            self.pages.page -= 1
            found = store.conversations(offset=self.pages.page * PAGE, limit=PAGE + 1)
        self.pages.fill(self.pages.page, None, more=len(found) > PAGE)
        self.rows = []
        present = self._session.conversation
        self._items = []
        for summary in found[:PAGE]:
            last = store.find(Query(conversation=summary.id, order="position", reverse=True), limit=1)
            line = line_of_conversation(summary, last[0].turn if last else None, present)
            self._items.append(Item(summary.id, "", title(summary.title), line))
        return "Conversations, the newest first" if found else "No conversations yet"

    def _select(self, key: str, selected: bool) -> None:
        self._selection.set(self._folded.get(key, [key]), selected=selected)

    def _open(self, key: str) -> None:
        if not self.lists_turns:
            self._entered(key)
        for row in self.rows:
            if row.turn.id == key:
                self._opened(row)


def _said(row: Row) -> tuple[str, str, str]:
    """Return what a turn has in common with its copies in branches."""
    return row.turn.created, row.turn.prompt, row.turn.answer


def _folded(rows: list[Row]) -> list[list[Row]]:
    """Return turns as lines: the answers that live mode got to one prompt are one."""
    groups: list[list[Row]] = []
    for row in rows:
        last = groups[-1][-1].turn if groups else None
        if last and row.turn.kind == last.kind == "live" and row.turn.prompt == last.prompt:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
