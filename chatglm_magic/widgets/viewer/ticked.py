"""The ticked turns: deleting them, and taking them away as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as w

from ...errors import CommandError
from ...session import Session
from ...store import History, Query
from .. import look
from .calls import Calls
from .confirm import Delete, turns

ENDINGS = ".jsonl, .md, .html or .csv"


class Ticked(w.VBox):  # type: ignore[misc]
    """What can be done with the ticked turns, or with all that are found.

    :param page: returns the ids of the turns on the page.
    :param found: returns the query of the list.
    :param changed: is called when other turns are ticked than before.
    """

    def __init__(
        self,
        session: Session,
        calls: Calls,
        *,
        page: Callable[[], Sequence[str]],
        found: Callable[[], Query],
        delete: Callable[[Sequence[str]], object],
        changed: Callable[[], object],
    ) -> None:
        self._session, self._calls = session, calls
        self._page, self._found, self._changed = page, found, changed
        self.ids: dict[str, None] = {}
        self.count = look.Html()
        self.all, self.none = look.button("Select page"), look.button("Clear selection")
        self.delete = Delete(calls, lambda: tuple(self.ids), delete)
        placeholder = f"a name that ends in {ENDINGS}"
        self.file = look.above(w.Text(description="File", placeholder=placeholder, continuous_update=False))
        self.force = w.Checkbox(description="replace the file if it exists", indent=False)
        self.export = look.button("Export")
        file = look.row(self.file, self.export, self.force)
        file.add_class("chatglm-file")
        super().__init__(
            [
                look.row(self.count, self.all, self.none, self.delete),
                file,
            ]
        )
        self.add_class("chatglm-ticked")
        self.all.on_click(calls.handler(lambda: self._tick(page())))
        self.none.on_click(calls.handler(self.clear))
        self.export.on_click(calls.handler(self._export))
        self._show()

    def set(self, key: str, ticked: bool) -> None:
        """Tick or untick a turn; it stays so on whichever page it comes to stand."""
        if ticked:
            self.ids[key] = None
        else:
            self.ids.pop(key, None)
        self._show()

    def clear(self) -> None:
        """Clear selection."""
        self.ids.clear()
        self._show()
        self._changed()

    def drop(self, ids: Sequence[str]) -> None:
        """Forget turns that are no more."""
        for key in ids:
            self.ids.pop(key, None)
        self._show()

    def _tick(self, ids: Sequence[str]) -> None:
        self.ids |= dict.fromkeys(ids)
        self._show()
        self._changed()

    def _show(self) -> None:
        count = len(self.ids)
        self.count.value = look.small(f"{turns(count)} selected" if count else "Nothing selected")
        self.none.disabled = self.delete.first.disabled = not count
        self.export.description = f"Export {turns(count)}" if count else "Export all that are listed"
        self.delete.forget()

    def _export(self) -> None:
        name = self.file.value.strip()
        if not name:
            raise CommandError(f"Export to which file? Its name ends in {ENDINGS}.")
        query = Query(ids=tuple(self.ids)) if self.ids else self._found()
        force = self.force.value
        self._calls.say("Exporting…")
        self._calls.apart(lambda: self._write(query, name, force))

    def _write(self, query: Query, name: str, force: bool) -> None:
        history = History(self._session.store, query)
        path: Path = history.export(name, force=force)
        self._calls.say(f"{turns(len(history))} in {path}")
