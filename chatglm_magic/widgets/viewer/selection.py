"""The bar of the selected turns: compare two, export or delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import ipywidgets as w

from ...errors import CommandError
from ...render.text import plural
from ...session import Session
from ...store import History, Query
from .. import look
from .calls import CallbackGuard
from .confirm import DeleteButton

EXPORT_SUFFIXES = ".jsonl, .md, .html or .csv"


class Selection(w.VBox):  # type: ignore[misc]
    """The selected turns, and their bar; it is hidden if none is selected, except to export the whole list.

    :param get_query: returns the query of the list.
    :param delete: is called with the ids of turns to delete.
    :param compare: is called with the ids of two turns.
    :param on_change: is called when the selection has changed.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        *,
        get_query: Callable[[], Query],
        delete: Callable[[Sequence[str]], object],
        compare: Callable[[str, str], object],
        on_change: Callable[[], object],
    ) -> None:
        self._session, self._guard = session, guard
        self._get_query, self._on_change = get_query, on_change
        self._exports_all = False
        self.ids: dict[str, None] = {}
        self.count = look.Html()
        self.compare = look.button("Compare", tooltip="Show what differs between two selected turns")
        self.export = look.button("Export…")
        self.delete = DeleteButton(guard, lambda: tuple(self.ids), delete)
        self.deselect_all = look.button("Clear selection")
        placeholder = f"a name that ends in {EXPORT_SUFFIXES}"
        self.file = look.label_above(w.Text(description="File", placeholder=placeholder, continuous_update=False))
        self.force = w.Checkbox(description="replace the file if it exists", indent=False)
        self.write, self.cancel = look.button("Export", primary=True), look.button("Cancel")
        form = look.row(self.file, self.write, self.force, self.cancel)
        self._export_form = look.with_class(form, "chatglm-file")
        buttons = look.row(self.count, self.compare, self.export, self.delete, self.deselect_all)
        super().__init__([buttons, self._export_form, guard.status])
        self.add_class("chatglm-selected")
        self.compare.on_click(guard.handler(lambda: compare(*tuple(self.ids)[:2]) if len(self.ids) == 2 else None))
        self.export.on_click(guard.handler(lambda: self._open_export_form(False)))
        self.deselect_all.on_click(guard.handler(self.clear))
        self.write.on_click(guard.handler(self._export))
        self.cancel.on_click(guard.handler(self._close_export_form))
        self._close_export_form()

    def set_selected(self, ids: Iterable[str], *, selected: bool) -> None:
        """Select or deselect turns; turns on other pages keep their state."""
        for turn in ids:
            if selected:
                self.ids[turn] = None
            else:
                self.ids.pop(turn, None)
        self._apply()

    def add(self, ids: Iterable[str]) -> None:
        """Select more turns."""
        self.ids |= dict.fromkeys(ids)
        self._apply()

    def clear(self) -> None:
        """Select nothing."""
        self.ids.clear()
        self._close_export_form()
        self._apply()

    def drop(self, ids: Sequence[str]) -> None:
        """Deselect turns that were deleted."""
        self.set_selected(ids, selected=False)

    def export_listed(self) -> None:
        """Open the form that exports all listed turns."""
        self._open_export_form(True)

    def _apply(self) -> None:
        """Show a changed selection and call the observer."""
        self._exports_all = self._exports_all and not self.ids
        if not self.ids and not self._exports_all:
            self._export_form.layout.display = "none"
        self._update_bar()
        self._on_change()

    def _update_bar(self) -> None:
        count = len(self.ids)
        selected = plural(count, "turn")
        heading = "All that are listed" if self._exports_all else f"{selected} selected"
        self.count.value = look.heading_html(heading)
        self.compare.disabled = count != 2
        for button in (self.compare, self.export, self.delete, self.deselect_all):
            button.layout.display = "none" if self._exports_all else None
        self.write.description = "Export all that are listed" if self._exports_all else f"Export {selected}"
        self.delete.cancel()
        self.layout.display = None if count or self._exports_all else "none"

    def _open_export_form(self, everything: bool) -> None:
        self._exports_all = everything
        self._export_form.layout.display = None
        self._update_bar()
        self.file.focus()

    def _close_export_form(self) -> None:
        self._exports_all = False
        self._export_form.layout.display = "none"
        self._update_bar()

    def _export(self) -> None:
        name = self.file.value.strip()
        if not name:
            raise CommandError(f"Export to which file? Its name ends in {EXPORT_SUFFIXES}.")
        query = self._get_query() if self._exports_all else Query(ids=tuple(self.ids))
        force = self.force.value
        self._guard.show_status("Exporting…")
        self._guard.run_in_thread(lambda: self._write(query, name, force))

    def _write(self, query: Query, name: str, force: bool) -> None:
        history = History(self._session.store, query)
        path: Path = history.export(name, force=force)
        self._guard.show_status(f"{plural(len(history), 'turn')} in {path}")
