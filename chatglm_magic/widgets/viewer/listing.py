"""The left pane of the viewer: conversations, or the turns that match a search, a page at a time."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...render.text import plural
from ...session import Session
from ...store import Query, Row, Store
from .. import look
from ..words import reword_for_widgets
from .calls import CallbackGuard
from .facts import conversation_summary, prompt_line, turn_label, turn_summary
from .filters import Filters
from .lines import LINES_PER_PAGE, LineList, ListItem, PageButtons
from .selection import Selection

ALL_CONVERSATIONS, ALL_TURNS, THIS_CONVERSATION = "all conversations", "all turns", "this conversation"
SCOPES = (ALL_CONVERSATIONS, ALL_TURNS, THIS_CONVERSATION)

STORE_READ_INTERVAL_SECONDS = 0.25
"""Between two reads of the store, while turns arrive or a search is typed."""

MAX_NOTICES = 3


class StoreNotices(look.Html):
    """The latest notices of the store: where turns are saved, or why they can't be."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []

    def update(self, store: Store) -> None:
        """Add the store's new notices; it returns each of them once."""
        if news := store.take_notices():
            self._texts = [*self._texts, *map(reword_for_widgets, news)][-MAX_NOTICES:]
            self.value = "".join(map(look.small_html, self._texts))


class Listing(w.VBox):  # type: ignore[misc]
    """The list of conversations, or of turns; with a search or a filter it always lists turns.

    :param on_open: is called with the conversation that the user opens, and the row of a turn or None.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        selection: Selection,
        on_open: Callable[[str, Row | None], object],
    ) -> None:
        self._session, self._guard, self._selection, self._on_open = session, guard, selection, on_open
        self._items: list[ListItem] = []
        self._turns_of: dict[str, list[str]] = {}  # the ids of the turns that a line represents, by its key
        self._current: tuple[str | None, str | None] = (None, None)
        self.rows: list[Row] = []
        self.query = Query()
        self.show = guard.make_atomic(look.label_above(w.Dropdown(description="Show", options=SCOPES)))
        self.filters = Filters(guard, self.search, guard.debounce(self.search, pause=STORE_READ_INTERVAL_SECONDS))
        self.refresh = look.button("Refresh", tooltip="Look for turns of other kernels")
        self.select_page = look.button("Select page", tooltip="Select the turns of this page")
        self.export = look.button("Export all…", tooltip="Write all that are listed to a file")
        self.lines = LineList(guard, self._open, self._select)
        self.pages = PageButtons(guard, self.show_page)
        self.count, self.notices = look.Html(), StoreNotices()
        self.show.observe(guard.handler(self.search), names="value")
        self.refresh.on_click(guard.handler(self.fill))
        self.select_page.on_click(guard.handler(lambda: selection.add([row.turn.id for row in self.rows])))
        self.export.on_click(guard.handler(selection.export_listed))
        self.bar = look.row(self.filters.text, self.show, self.filters.order, self.filters.more, self.refresh)
        self.bar.add_class("chatglm-bar")
        head = look.with_class(look.row(self.count, self.select_page, self.export), "chatglm-quiet")
        super().__init__([head, self.lines, self.pages])
        self.add_class("chatglm-listing")

    @property
    def lists_turns(self) -> bool:
        """Whether turns are listed rather than conversations."""
        narrows = self.filters.text.value.strip() or self.filters.active_count
        return bool(self.show.value != ALL_CONVERSATIONS or narrows)

    def search(self) -> None:
        """List what the search and the filters select, starting with the first page."""
        self._guard.show_status("")
        self.show_page(0)

    def show_page(self, page: int) -> None:
        """Show a page, counted from 0."""
        self.pages.page = page
        self.fill()

    def fill(self) -> None:
        """Read the store and fill the list again."""
        with self._guard.suspend_handlers():
            only_current = self.show.value == THIS_CONVERSATION
            self.query = self.filters.query(self._session.conversation if only_current else None)
            heading = self._read_turns() if self.lists_turns else self._read_conversations()
            self._show()
            self.count.value = look.status_html(heading)  # last, so that it announces a finished list
            self.select_page.layout.display = None if self.rows else "none"
            self.export.layout.display = None if self._items else "none"
            self.filters.update_models(self._session.store.models())
            self.notices.update(self._session.store)

    def mark(self, conversation: str | None, turn: str | None) -> None:
        """Show which conversation or turn is open, and which turns are selected."""
        self._current = conversation, turn
        with self._guard.suspend_handlers():
            self._show()

    def _show(self) -> None:
        conversation, turn = self._current
        if self.rows:
            selected = self._selection.ids
            self._items = [
                item._replace(selected=all(turn in selected for turn in self._turns_of[item.key]))
                for item in self._items
            ]
        self.lines.fill(self._items, turn if self.lists_turns else conversation)

    def _read_turns(self) -> str:
        store = self._session.store
        count = store.count(self.query)
        self.pages.fill(min(self.pages.page, max(count - 1, 0) // LINES_PER_PAGE), count)
        self.rows = store.find(self.query, offset=self.pages.page * LINES_PER_PAGE, limit=LINES_PER_PAGE)
        groups = _group_live_answers(self.rows)
        self._turns_of = {group[0].turn.id: [row.turn.id for row in group] for group in groups}
        originals = {_content_key(row): row.number for row in sorted(self.rows, key=lambda row: -row.number)}
        self._items = []
        for row, *others in groups:
            is_copy = originals[_content_key(row)] != row.number
            summary = turn_summary(row, self.query.text, 1 + len(others), is_copy=is_copy)
            self._items.append(
                ListItem(row.turn.id, turn_label(row), prompt_line(row.turn.prompt), summary, False)
            )
        narrowed = " found" if self.query.text or self.filters.active_count else ""
        first = self.pages.page * LINES_PER_PAGE + 1
        place = f"{first:,}–{first + len(self.rows) - 1:,} of " if count > LINES_PER_PAGE else ""
        return f"{place}{plural(count, 'turn')}{narrowed}"

    def _read_conversations(self) -> str:
        store = self._session.store
        summaries = store.conversations(offset=self.pages.page * LINES_PER_PAGE, limit=LINES_PER_PAGE + 1)
        while not summaries and self.pages.page:
            self.pages.page -= 1
            summaries = store.conversations(offset=self.pages.page * LINES_PER_PAGE, limit=LINES_PER_PAGE + 1)
        self.pages.fill(self.pages.page, None, has_more=len(summaries) > LINES_PER_PAGE)
        self.rows, self._items = [], []
        for summary in summaries[:LINES_PER_PAGE]:
            last = store.find(Query(conversation=summary.id, order="position", reverse=True), limit=1)
            html = conversation_summary(summary, last[0].turn if last else None, self._session.conversation)
            self._items.append(ListItem(summary.id, "", prompt_line(summary.title), html))
        return "Conversations, the newest first" if summaries else "No conversations yet"

    def _select(self, key: str, selected: bool) -> None:
        self._selection.set_selected(self._turns_of.get(key, [key]), selected=selected)

    def _open(self, key: str) -> None:
        if not self.lists_turns:
            self._on_open(key, None)
        for row in self.rows:
            if row.turn.id == key:
                self._on_open(row.turn.conversation, row)


def _content_key(row: Row) -> tuple[str, str, str]:
    """Return what identifies a turn and its copies in branches."""
    return row.turn.created, row.turn.prompt, row.turn.answer


def _group_live_answers(rows: list[Row]) -> list[list[Row]]:
    """Group turns into lines: consecutive live-mode answers to one prompt share a line."""
    groups: list[list[Row]] = []
    for row in rows:
        last = groups[-1][-1].turn if groups else None
        if last and row.turn.kind == last.kind == "live" and row.turn.prompt == last.prompt:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
