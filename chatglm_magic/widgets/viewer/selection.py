"""The bar of the selected turns: comparing two, writing them to a file, deleting them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import ipywidgets as w

from ...errors import CommandError
from ...session import Session
from ...store import History, Query
from .. import look
from .calls import CallbackGuard
from .confirm import Delete, turns

ENDINGS = ".jsonl, .md, .html or .csv"


class Selection(w.VBox):  # type: ignore[misc]
    """Which turns are selected; the bar is hidden while none is, unless all that is listed is to be exported.

    :param listed: returns the query of the list.
    :param compare: is called with the ids of two turns.
    :param changed: is called when other turns are selected than before.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        *,
        listed: Callable[[], Query],
        delete: Callable[[Sequence[str]], object],
        compare: Callable[[str, str], object],
        changed: Callable[[], object],
    ) -> None:
        self._session, self._guard = session, guard
        self._listed, self._changed = listed, changed
        self._exports_all = False
        self.ids: dict[str, None] = {}
        self.count = look.Html()
        self.compare = look.button("Compare", tooltip="Show what differs between two selected turns")
        self.export = look.button("Export…")
        self.delete = Delete(guard, lambda: tuple(self.ids), delete)
        self.none = look.button("Clear selection")
        placeholder = f"a name that ends in {ENDINGS}"
        self.file = look.label_above(w.Text(description="File", placeholder=placeholder, continuous_update=False))
        self.force = w.Checkbox(description="replace the file if it exists", indent=False)
        self.write, self.cancel = look.button("Export", primary=True), look.button("Cancel")
        self._file = look.with_class(look.row(self.file, self.write, self.force, self.cancel), "chatglm-file")
        super().__init__(
            [look.row(self.count, self.compare, self.export, self.delete, self.none), self._file, guard.status]
        )
        self.add_class("chatglm-selected")
        self.compare.on_click(guard.handler(lambda: compare(*tuple(self.ids)[:2]) if len(self.ids) == 2 else None))
        self.export.on_click(guard.handler(lambda: self._ask_file(False)))
        self.none.on_click(guard.handler(self.clear))
        self.write.on_click(guard.handler(self._export))
        self.cancel.on_click(guard.handler(self._leave))
        self._leave()

    def set(self, ids: Iterable[str], *, selected: bool) -> None:
        """Select turns or not; they stay so on whichever page they come to stand."""
        for key in ids:
            if selected:
                self.ids[key] = None
            else:
                self.ids.pop(key, None)
        self._change()

    def add(self, ids: Iterable[str]) -> None:
        """Select further turns."""
        self.ids |= dict.fromkeys(ids)
        self._change()

    def clear(self) -> None:
        """Select nothing."""
        self.ids.clear()
        self._leave()
        self._change()

    def drop(self, ids: Sequence[str]) -> None:
        """Forget turns that are no more."""
        self.set(ids, selected=False)

    def export_listed(self) -> None:
        """Ask for the file that all listed turns go to."""
        self._ask_file(True)

    def _change(self) -> None:
        self._exports_all = self._exports_all and not self.ids
        if not self.ids and not self._exports_all:
            self._file.layout.display = "none"
        self.show()
        self._changed()

    def show(self) -> None:
        """Bring the bar up to date."""
        count = len(self.ids)
        self.count.value = look.heading_html(
            "All that are listed" if self._exports_all else f"{turns(count)} selected"
        )
        self.compare.disabled = count != 2
        for button in (self.compare, self.export, self.delete, self.none):
            button.layout.display = "none" if self._exports_all else None
        self.write.description = "Export all that are listed" if self._exports_all else f"Export {turns(count)}"
        self.delete.forget()
        self.layout.display = None if count or self._exports_all else "none"

    def _ask_file(self, everything: bool) -> None:
        self._exports_all = everything
        self._file.layout.display = None
        self.show()
        self.file.focus()

    def _leave(self) -> None:
        self._exports_all = False
        self._file.layout.display = "none"
        self.show()

    def _export(self) -> None:
        name = self.file.value.strip()
        if not name:
            raise CommandError(f"Export to which file? Its name ends in {ENDINGS}.")
        query = self._listed() if self._exports_all else Query(ids=tuple(self.ids))
        force = self.force.value
        self._guard.show_status("Exporting…")
        self._guard.run_in_thread(lambda: self._write(query, name, force))

    def _write(self, query: Query, name: str, force: bool) -> None:
        history = History(self._session.store, query)
        path: Path = history.export(name, force=force)
        self._guard.show_status(f"{turns(len(history))} in {path}")
