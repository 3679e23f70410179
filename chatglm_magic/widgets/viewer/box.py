"""The history viewer: every stored conversation, to find, read, compare, branch from and take away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ...render.outer import html_output
from ...session import Session
from ...store import Query, Row
from .. import look
from ..debounce import Sleep
from .calls import CallbackGuard
from .compare import Comparison
from .confirm import turns
from .listing import SETTLED, Listing
from .reader import Reader
from .selection import Selection
from .style import CSS

TEXT = "chatglm history: run %chatglm_history --view in a notebook to search it, or %chatglm_history to list it."


class HistoryViewer(w.VBox):  # type: ignore[misc]
    """A viewer over a session's store; several may show the same one.

    It has as many widgets for 100 000 turns as for 20: its lines are filled again for each page. Turns that are
    asked elsewhere in this kernel appear by themselves, those of other kernels with the next look.

    ``listing``, ``reader``, ``selection`` and ``comparison`` are its parts.

    :param sleep: waits until the next look into the store; it is for tests, which decide when that is.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep) -> None:
        self._session = session
        self._guard = guard = CallbackGuard(session, sleep=sleep)
        near, above = CallbackGuard(session, guard), CallbackGuard(session, guard)  # in the reader, and in the bar
        self.selection = Selection(
            session,
            above,
            listed=lambda: self.listing.query,
            delete=self._delete,
            compare=self._compare_turns,
            changed=self._select,
        )
        self.reader = Reader(session, near, self.selection, delete=self._delete, moved=self._moved)
        self.comparison = Comparison(near, self._end_comparison)
        self.listing = Listing(
            session,
            guard,
            self.selection,
            opened=self._open,
            entered=self._enter,
        )
        self._forget = session.on_change(guard.debounce(self._look, pause=SETTLED))
        panes = look.with_class(w.Box([self.listing, self.reader, self.comparison]), "chatglm-panes")
        style = look.style_sheet(CSS, "chatglm-viewer")
        top = (self.listing.bar, self.listing.filters, guard.status, self.listing.news, self.selection)
        super().__init__([style, *top, panes])
        self.add_class("chatglm-box")
        self.add_class("chatglm-viewer")
        guard.handler(self._begin)()

    def close(self) -> None:
        """Stop the answer under way and stop following the session."""
        self.reader.asking.cancel()
        self._forget()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the viewer where widgets can't be shown.

        The text never varies and holds no turn: a notebook that is given away would carry them along.
        """
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **html_output(TEXT, f"<p>{TEXT}</p>")}

    def _begin(self) -> None:
        """List the conversations, and open the present one, or the one that was used last."""
        self.listing.fill()
        self._enter_last()

    def _enter_last(self) -> None:
        store, present = self._session.store, self._session.conversation
        last = store.conversations(limit=1)
        if last:
            self._enter(present if store.count(Query(conversation=present)) else last[0].id)

    def _look(self) -> None:
        """Take in what has changed in the store."""
        self.listing.fill()
        self.reader.refresh()
        if self.reader.conversation is None and not self.comparison.ids:
            self._enter_last()
        if self.comparison.ids and len(self._rows(self.comparison.ids)) < 2:
            self._end_comparison()
        self._moved()

    def _rows(self, ids: Sequence[str]) -> list[Row]:
        found = {row.turn.id: row for row in self._session.store.find(Query(ids=tuple(ids)))}
        return [found[turn] for turn in ids if turn in found]

    def _open(self, row: Row) -> None:
        """Open a turn in its conversation."""
        self._end_comparison()
        self._guard.show_status("")
        self.reader.show(row.turn.conversation, row)
        self._moved()

    def _enter(self, conversation: str) -> None:
        """Open a conversation."""
        self._end_comparison()
        self._guard.show_status("")
        self.reader.show(conversation)
        self._moved()

    def _moved(self) -> None:
        self.listing.mark(self.reader.conversation, self.reader.turn)

    def _select(self) -> None:
        """Take in that other turns are selected; a comparison is of those that are."""
        if self.comparison.ids and set(self.comparison.ids) != set(self.selection.ids):
            self._end_comparison()
        self.listing.mark(self.reader.conversation, self.reader.turn)
        self.reader.mark()

    def _compare_turns(self, one: str, other: str) -> None:
        self._guard.show_status("")
        self.comparison.show(self._rows((one, other)))
        self.reader.layout.display = "none" if self.comparison.ids else None

    def _end_comparison(self) -> None:
        self.comparison.show([])
        self.reader.layout.display = None

    def _delete(self, ids: Sequence[str]) -> None:
        count = self._session.delete(ids)
        self.selection.drop(ids)
        self._look()
        self._guard.show_status(f"{turns(count)} deleted for good.")
