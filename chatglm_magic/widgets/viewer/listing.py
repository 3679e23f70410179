"""The viewer's list of turns or of conversations: searched, filtered, a page at a time."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...session import Session
from ...store import Query, Row
from .. import look
from .calls import Calls
from .confirm import turns
from .facts import facts, label, summary_facts, title
from .filters import Filters
from .lines import PAGE, Item, Lines, Pages
from .news import News

ALL, PRESENT, CONVERSATIONS = "all turns", "this conversation", "conversations"

SETTLED = 0.25
"""Seconds between two looks into the store, while turns come in or a search is typed."""


class Listing(w.VBox):  # type: ignore[misc]
    """What is listed; ``opened`` is called with a turn that a person opens, ``filled`` after each look."""

    def __init__(
        self,
        session: Session,
        calls: Calls,
        *,
        opened: Callable[[Row], object],
        ticked: Callable[[str, bool], object],
        is_ticked: Callable[[str], bool],
    ) -> None:
        self._session, self._calls = session, calls
        self._opened, self._is_ticked = opened, is_ticked
        self.rows: list[Row] = []
        self.query = Query()
        self.current: str | None = None
        """The id of the opened turn."""
        self.show = calls.whole(look.above(w.Dropdown(description="Show", options=[ALL, PRESENT, CONVERSATIONS])))
        self.filters = Filters(calls, self.search, calls.soon(self.search, pause=SETTLED))
        self.refresh, self.go_on = look.button("Refresh"), look.button("Continue this conversation")
        self.lines = Lines(calls, self._open, ticked)
        self.pages = Pages(calls, self.turn_to)
        self.count, self.news = look.Html(), News()
        self.show.observe(calls.handler(self.search), names="value")
        self.refresh.on_click(calls.handler(self.fill))
        self.go_on.on_click(calls.handler(self._continue))
        self.bar = look.row(self.filters.text, self.show, self.filters.order, self.filters.more, self.refresh)
        self.bar.add_class("chatglm-bar")
        super().__init__([look.row(self.count, self.go_on), self.lines, self.pages])

    @property
    def conversation(self) -> str | None:
        """The conversation that is listed; None for all of them."""
        shown: str = self.show.value
        return self._session.conversation if shown == PRESENT else None if shown in (ALL, CONVERSATIONS) else shown

    def search(self) -> None:
        """List what is asked for, from the first page on."""
        if self.show.value == CONVERSATIONS and (self.filters.text.value.strip() or self.filters.active):
            with self._calls.filling():  # turns are found, not conversations
                self.show.value = ALL
        self._calls.say("")
        self.turn_to(0)

    def turn_to(self, page: int) -> None:
        """Show a page, from 0 on."""
        self.pages.page = page
        self.fill()

    def fill(self) -> None:
        """Read the store and fill the list again."""
        with self._calls.filling():
            if self.show.value == CONVERSATIONS:
                self._fill_conversations()
            else:
                self._fill_turns()
            self.filters.show_models(self._session.store.models())
            self.news.ask(self._session.store)

    def mark(self) -> None:
        """Fill the lines again: which turn is open, and which ones are selected."""
        if self.show.value != CONVERSATIONS:
            with self._calls.filling():
                self._show_rows()

    def step(self, by: int) -> Row | None:
        """Return the turn before or after the opened one, on whichever page; None at either end.

        Where the opened one is not on this page, it is the page's first.
        """
        ids = [row.turn.id for row in self.rows]
        if self.current not in ids:
            return next(iter(self.rows), None)
        at = self.pages.page * PAGE + ids.index(self.current) + by
        if at < 0:
            return None
        if at // PAGE != self.pages.page:
            self.turn_to(at // PAGE)
        at -= self.pages.page * PAGE
        return self.rows[at] if 0 <= at < len(self.rows) else None

    def _fill_turns(self) -> None:
        store, self.query = self._session.store, self.filters.query(self.conversation)
        count = store.count(self.query)
        self.pages.fill(min(self.pages.page, max(count - 1, 0) // PAGE), count)
        self.rows = store.find(self.query, offset=self.pages.page * PAGE, limit=PAGE)
        self._show_rows()
        narrowed = " found" if self.query.text or self.filters.active else ""
        first = self.pages.page * PAGE + 1
        place = f"{first:,}–{first + len(self.rows) - 1:,} of " if count > PAGE else ""
        self.count.value = look.status_html(f"{place}{turns(count)}{narrowed}")
        other = self.conversation not in (None, self._session.conversation)
        self.go_on.layout.display = None if other else "none"

    def _show_rows(self) -> None:
        items = [
            Item(row.turn.id, label(row), title(row.turn.prompt), facts(row.turn), self._is_ticked(row.turn.id))
            for row in self.rows
        ]
        self.lines.fill(items, self.current)

    def _fill_conversations(self) -> None:
        found = self._session.store.conversations(offset=self.pages.page * PAGE, limit=PAGE + 1)
        while not found and self.pages.page:
            self.pages.page -= 1
            found = self._session.store.conversations(offset=self.pages.page * PAGE, limit=PAGE + 1)
        self.pages.fill(self.pages.page, None, more=len(found) > PAGE)
        self.rows = []
        present = self._session.conversation
        items = [Item(s.id, "", s.title or "(empty prompt)", summary_facts(s, present)) for s in found[:PAGE]]
        self.lines.fill(items, None)
        self.count.value = look.status_html("Conversations, the newest first" if found else "No conversations yet")
        self.go_on.layout.display = "none"

    def _open(self, key: str) -> None:
        for row in self.rows:
            if row.turn.id == key:
                self._opened(row)
                return
        if self.show.value == CONVERSATIONS:
            self._enter(key)

    def _enter(self, conversation: str) -> None:
        """List one conversation, which becomes a choice of the list."""
        name = next(line.button.description for line in self.lines.children if line.key == conversation)
        with self._calls.filling():
            self.show.options = [
                *((choice, choice) for choice in (ALL, PRESENT, CONVERSATIONS)),
                (name, conversation),
            ]
            self.show.value = conversation
        self.search()

    def _continue(self) -> None:
        if self.conversation not in (None, self._session.conversation):
            count = self._session.resume(self.conversation)
            self.fill()
            self._calls.say(f"Switched to this conversation ({turns(count)}).")
