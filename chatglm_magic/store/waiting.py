"""Turns that are in memory alone: those of a store without a file, and those that wait for the disk."""

from __future__ import annotations

from collections.abc import Sequence

from ..values import Turn
from .database import Database


class Waiting:
    """A database in memory that is made when it is first needed."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._ids: dict[str, None] = {}

    @property
    def database(self) -> Database:
        """The turns, to look into."""
        if self._database is None:
            self._database = Database(None)
        return self._database

    @property
    def ids(self) -> tuple[str, ...]:
        """Whose turns wait for the disk, in the order in which they came."""
        return tuple(self._ids)

    def keep(self, turn: Turn, position: int) -> None:
        """Take a turn in, or bring it up to date.

        :raises sqlite3.Error: if memory can't take it.
        """
        self.database.put(turn, position)
        self._ids[turn.id] = None

    def turns(self) -> list[tuple[Turn, int]]:
        """Return the turns with their positions, in the order in which they came."""
        return [(row.turn, row.position) for row in self.database.rows(self.database.numbers())]

    def delete(self, ids: Sequence[str]) -> None:
        """Let go of some turns."""
        self.database.delete(ids)
        for id in ids:
            self._ids.pop(id, None)

    def clear(self) -> None:
        """Let go of everything; an interrupt in between leaves names without turns, which do no harm."""
        database, self._database = self._database, None
        self._ids.clear()
        if database is not None:
            database.close()

    def __len__(self) -> int:
        return len(self._ids)
