"""The history viewer: every stored conversation, to search, read, compare, branch from and export."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ...render.outer import html_output
from ...render.text import plural
from ...session import Session
from ...store import Query, Row
from .. import look
from ..debounce import Sleep
from ..look import BORDER, ERROR, FOCUS, GAP, MUTED, SURFACE, TEXT, UNSURE
from .calls import CallbackGuard
from .compare import Comparison
from .listing import STORE_READ_INTERVAL_SECONDS, Listing
from .reader import Reader
from .selection import Selection

FALLBACK_TEXT = (
    "chatglm history: run %chatglm_history --view in a notebook to search it, or %chatglm_history to list it."
)


class HistoryViewer(w.VBox):  # type: ignore[misc]
    """A viewer of a session's store; several may show the same one.

    It has as many widgets for 100 000 turns as for 20, since its lines are refilled for each page. Turns sent from
    elsewhere in this kernel appear by themselves, those of other kernels when the store is read next.

    Its parts are ``listing``, ``reader``, ``selection`` and ``comparison``.

    :param sleep: waits before the next read of the store; tests replace it to control when that happens.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep) -> None:
        self._session = session
        self._guard = guard = CallbackGuard(session, sleep=sleep)
        reader_guard, bar_guard = CallbackGuard(session, guard), CallbackGuard(session, guard)
        self.selection = Selection(
            session,
            bar_guard,
            get_query=lambda: self.listing.query,
            delete=self._delete,
            compare=self._compare_turns,
            on_change=self._update_selection,
        )
        self.reader = Reader(session, reader_guard, self.selection, delete=self._delete, on_move=self._mark_open)
        self.comparison = Comparison(reader_guard, self._close_comparison)
        self.listing = Listing(session, guard, self.selection, self._open_conversation)
        self._unobserve = session.on_change(guard.debounce(self._refresh, pause=STORE_READ_INTERVAL_SECONDS))
        panes = look.with_class(w.Box([self.listing, self.reader, self.comparison]), "chatglm-panes")
        style = look.style_sheet(CSS, "chatglm-viewer")
        top = (self.listing.bar, self.listing.filters, guard.status, self.listing.notices, self.selection)
        super().__init__([style, *top, panes])
        self.add_class("chatglm-box")
        self.add_class("chatglm-viewer")
        guard.handler(self._show_first)()

    def close(self) -> None:
        """Stop the pending answer and stop observing the session."""
        self.reader.sender.cancel()
        self._unobserve()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Add a fallback for front ends without widgets.

        Its text is constant and contains no turn, because it is saved in the notebook.
        """
        return {
            **(super()._repr_mimebundle_(**kwargs) or {}),
            **html_output(FALLBACK_TEXT, f"<p>{FALLBACK_TEXT}</p>"),
        }

    def _show_first(self) -> None:
        """List the conversations, and open the current one, or else the one used last."""
        self.listing.fill()
        self._open_latest()

    def _open_latest(self) -> None:
        store, current = self._session.store, self._session.conversation
        latest = store.conversations(limit=1)
        if latest:
            self._open_conversation(current if store.count(Query(conversation=current)) else latest[0].id)

    def _refresh(self) -> None:
        """Show what has changed in the store."""
        self.listing.fill()
        self.reader.refresh()
        if self.reader.conversation is None and not self.comparison.ids:
            self._open_latest()
        if self.comparison.ids and len(self._find_rows(self.comparison.ids)) < 2:
            self._close_comparison()
        self._mark_open()

    def _find_rows(self, ids: Sequence[str]) -> list[Row]:
        rows = {row.turn.id: row for row in self._session.store.find(Query(ids=tuple(ids)))}
        return [rows[turn] for turn in ids if turn in rows]

    def _open_conversation(self, conversation: str, row: Row | None = None) -> None:
        """Open a conversation, at a turn of it if one is given."""
        self._close_comparison()
        self._guard.show_status("")
        self.reader.show(conversation, row)
        self._mark_open()

    def _mark_open(self) -> None:
        self.listing.mark(self.reader.conversation, self.reader.turn)

    def _update_selection(self) -> None:
        """Show a changed selection; a comparison of other turns is closed."""
        if self.comparison.ids and set(self.comparison.ids) != set(self.selection.ids):
            self._close_comparison()
        self._mark_open()
        self.reader.update_selection()

    def _compare_turns(self, first: str, second: str) -> None:
        self._guard.show_status("")
        self.comparison.show(self._find_rows((first, second)))
        self.reader.layout.display = "none" if self.comparison.ids else None

    def _close_comparison(self) -> None:
        self.comparison.show([])
        self.reader.layout.display = None

    def _delete(self, ids: Sequence[str]) -> None:
        count = self._session.delete(ids)
        self.selection.drop(ids)
        self._refresh()
        self._guard.show_status(f"{plural(count, 'turn')} deleted for good.")


CSS = f"""
.chatglm-viewer{{container-type:inline-size;width:100%;min-width:0;gap:6px;padding:3px}}
.chatglm-viewer>*{{margin:0}}
.chatglm-viewer .widget-html:has(>.widget-html-content:empty){{display:none}}
.chatglm-viewer .chatglm-quiet .jupyter-button{{height:24px;line-height:22px;padding:0 8px;min-width:0;
 font-size:12px}}
.chatglm-viewer .chatglm-bar{{align-items:flex-end}}
.chatglm-viewer .chatglm-bar>.widget-text{{flex:1 1 12em}}
.chatglm-viewer .chatglm-bar>.widget-dropdown{{flex:0 0 10.5em}}
.chatglm-viewer .widget-toggle-button.mod-active{{background:{SURFACE};box-shadow:none;border-color:{FOCUS};
 color:{TEXT}}}
.chatglm-viewer .chatglm-filters{{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2em,1fr));
 gap:6px {GAP};align-items:end;margin-bottom:6px}}
.chatglm-viewer .chatglm-filters>*,.chatglm-viewer .chatglm-pair>*{{margin:0;width:auto;min-width:0}}
.chatglm-viewer .chatglm-filters>:first-child,.chatglm-viewer .chatglm-pair{{grid-column:span 2}}
.chatglm-viewer .chatglm-pair{{display:grid;grid-template-columns:1fr 1fr;gap:{GAP}}}
.chatglm-viewer .chatglm-panes{{display:grid;grid-template-columns:minmax(0,1fr);gap:{GAP} 16px;align-items:start}}
.chatglm-viewer .chatglm-panes>*{{margin:0;min-width:0;gap:6px}}
.chatglm-viewer .chatglm-panes>*>*{{margin:0}}
.chatglm-viewer .chatglm-head{{justify-content:space-between;align-items:flex-start;flex-wrap:wrap;
 border-bottom:1px solid {BORDER};padding-bottom:6px;min-height:34px}}
.chatglm-viewer .chatglm-head>.widget-html{{flex:1 1 12em}}
.chatglm-viewer .chatglm-selected{{gap:8px;border:1px solid {FOCUS};border-radius:6px;padding:6px 10px}}
.chatglm-viewer .chatglm-selected>*{{margin:0}}
.chatglm-viewer .chatglm-file{{align-items:flex-end}}
.chatglm-viewer .chatglm-file>.widget-text{{flex:0 1 24em}}
.chatglm-viewer .chatglm-transcript.chatglm-reading .chatglm-log{{max-height:min(62vh,640px);overflow:auto}}
.chatglm-viewer dl{{max-height:none;width:auto;max-width:100%;box-sizing:border-box}}
.chatglm-viewer :is(dt,dd){{float:none;width:auto;margin:0;font-weight:400;white-space:normal}}
.chatglm-viewer dt{{white-space:nowrap}}
.chatglm-viewer .chatglm-part{{color:{MUTED};font-size:12px;font-weight:600;margin:6px 0 2px}}
.chatglm-viewer .chatglm-compared{{display:grid;gap:4px 20px;grid-template-columns:minmax(0,1fr) minmax(0,1fr);
 font-size:var(--jp-content-font-size1,14px)}}
.chatglm-viewer .chatglm-both{{grid-column:1/-1}}
.chatglm-viewer .chatglm-items{{display:block;border-top:1px solid {BORDER};max-height:min(62vh,640px);
 overflow-y:auto;overflow-x:hidden;scrollbar-width:thin}}
.chatglm-viewer .chatglm-item{{display:grid;grid-template-columns:auto minmax(0,1fr);gap:0 6px;
 align-items:start;border-bottom:1px solid {BORDER};margin:0;padding:4px 6px 5px;overflow:visible}}
.chatglm-viewer .chatglm-item>*{{margin:0}}
.chatglm-viewer .chatglm-item>.chatglm-tick{{grid-row:1/3;width:auto;min-width:0}}
.chatglm-viewer .chatglm-item .chatglm-tick span{{position:absolute;width:1px;height:1px;overflow:hidden;
 clip-path:inset(50%);white-space:nowrap}}
.chatglm-viewer .chatglm-no-ticks .chatglm-item{{grid-template-columns:minmax(0,1fr)}}
.chatglm-viewer .chatglm-no-ticks .chatglm-tick{{display:none}}
.chatglm-viewer .chatglm-item .jupyter-button{{width:100%;height:24px;line-height:22px;border:0;background:none;
 text-align:left;padding:0 2px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;color:{TEXT};
 box-shadow:none;font-weight:600;display:block}}
.chatglm-viewer .chatglm-item:hover{{background:{SURFACE}}}
.chatglm-viewer .chatglm-item.chatglm-open{{background:{SURFACE};box-shadow:inset 3px 0 {FOCUS}}}
.chatglm-viewer .chatglm-item .widget-html{{padding:0 2px}}
.chatglm-viewer .chatglm-snippet{{color:{TEXT};font-size:12.5px;line-height:1.4;display:-webkit-box;
 -webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;overflow-wrap:anywhere}}
.chatglm-viewer .chatglm-snippet mark{{background:rgba(255,193,7,.4);color:inherit;border-radius:2px;
 text-decoration:underline}}
.chatglm-viewer .chatglm-itemfacts{{display:flex;flex-flow:row wrap;gap:0 {GAP};color:{MUTED};font-size:12px;
 line-height:18px;font-variant-numeric:tabular-nums}}
.chatglm-viewer .chatglm-itemfacts .chatglm-good{{color:{TEXT};font-weight:600}}
.chatglm-viewer .chatglm-itemfacts .chatglm-bad{{color:{ERROR}}}
.chatglm-viewer .chatglm-itemfacts .chatglm-unsure{{color:{UNSURE}}}
@container (min-width:52em){{
.chatglm-viewer .chatglm-panes{{grid-template-columns:minmax(16em,22em) minmax(0,1fr)}}
}}
@container (max-width:52em){{
.chatglm-viewer .chatglm-items{{max-height:17em;border-bottom:1px solid {BORDER};padding-bottom:4px}}
}}
"""
