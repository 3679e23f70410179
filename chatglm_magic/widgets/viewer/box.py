"""The history viewer: every stored conversation and turn, to find, read, compare, branch from and take away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ...render.outer import output
from ...session import Session
from ...store import Query, Row
from .. import look
from ..answer import CSS as ANSWER_CSS
from ..debounce import Sleep
from .asking import Asking
from .calls import Calls
from .compare import Compared
from .confirm import turns
from .listing import SETTLED, Listing
from .opened import Opened
from .style import CSS
from .ticked import Ticked

TEXT = "chatglm history: run %chatglm_history --view in a notebook to search it, or %chatglm_history to list it."


class HistoryViewer(w.VBox):  # type: ignore[misc]
    """A viewer over a session's store; several may show the same one.

    It has as many widgets for 100 000 turns as for 20: its lines are filled again for each page. Turns that are
    asked elsewhere in this kernel appear by themselves, those of other kernels with the next look.

    :param sleep: waits until the next look into the store; it is for tests, which decide when that is.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep) -> None:
        self._session = session
        self._calls = calls = Calls(session, sleep=sleep)
        near, below = Calls(session, calls), Calls(session, calls)  # beside the opened turn, and below the list
        self._compared = Compared(near, lambda: self._opened.mark())
        self._asking = Asking(session, near, self._answered)
        self._opened = Opened(
            session,
            near,
            self._compared,
            close=self._close_turn,
            step=self._step,
            delete=self._delete,
            ask=self._asking.ask,
        )
        self._ticked = Ticked(
            session,
            below,
            page=lambda: [row.turn.id for row in self._list.rows],
            found=lambda: self._list.query,
            delete=self._delete,
            changed=lambda: self._list.mark(),
        )
        self._list = Listing(
            session,
            calls,
            opened=self._open,
            ticked=self._ticked.set,
            is_ticked=self._ticked.ids.__contains__,
        )
        self._forget = session.on_change(calls.soon(self._look, pause=SETTLED))
        self._panes = w.Box([self._list, look.column(near.status, self._asking, self._opened)])
        self._panes.add_class("chatglm-panes")
        style = look.style_sheet(ANSWER_CSS + CSS)
        top = (self._list.bar, self._list.filters, calls.status, self._list.news)
        super().__init__([style, *top, self._panes, self._ticked, below.status, self._compared])
        self.add_class("chatglm-box")
        self.add_class("chatglm-viewer")
        calls.handler(self._list.fill)()

    def close(self) -> None:
        """Stop the answer under way and stop following the session."""
        self._asking.cancel()
        self._forget()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the viewer where widgets can't be shown.

        The text never varies and holds no turn: a notebook that is given away would carry them along.
        """
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **output(TEXT, f"<p>{TEXT}</p>")}

    def _look(self) -> None:
        """Take in what has changed in the store."""
        self._list.fill()
        row = self._opened.row
        if row is not None:
            self._opened.show(self._stored(row.turn.id))
            self._list.current = row.turn.id if self._opened.row is not None else None

    def _stored(self, turn: str) -> Row | None:
        listed = [row for row in self._list.rows if row.turn.id == turn]
        return next(iter(listed or self._session.store.find(Query(ids=(turn,)))), None)

    def _open(self, row: Row) -> None:
        """Open a turn, or close it if it is the opened one."""
        if self._opened.row is not None and self._opened.row.turn.id == row.turn.id:
            self._close_turn()
            return
        self._present(row)
        self._list.lines.focus_on(row.turn.id)  # scrolls the list to the line that is open now
        self._opened.buttons.close.focus()

    def _present(self, row: Row | None) -> None:
        self._opened.show(row)
        self._list.current = None if row is None else row.turn.id
        (self._panes.remove_class if row is None else self._panes.add_class)("chatglm-two")
        self._list.mark()

    def _close_turn(self) -> None:
        row = self._opened.row
        self._present(None)
        if row is not None:
            self._list.lines.focus_on(row.turn.id)

    def _step(self, by: int) -> None:
        row = self._list.step(by)
        if row is None:
            self._calls.say("There is no further turn in the list.")
        else:
            self._present(row)

    def _answered(self, turn: str) -> None:
        """Open the answer to a question that was asked here."""
        self._list.fill()
        self._present(self._stored(turn))

    def _delete(self, ids: Sequence[str]) -> None:
        count = self._session.delete(ids)
        self._ticked.drop(ids)
        self._compared.drop(ids)
        if self._opened.row is not None and self._opened.row.turn.id in ids:
            self._present(None)
        self._list.fill()
        self._calls.say(f"{turns(count)} deleted for good.")
