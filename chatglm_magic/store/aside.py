"""Moving a broken file aside, while other processes may be about to do the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

COMPANIONS = ("", "-wal", "-journal", "-shm")
"""What SQLite keeps beside a file; without its WAL a database may lack its newest rows."""


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one that has taken its name; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def move_aside(path: Path, which: tuple[int, int]) -> Path | None:
    """Give a broken file, and what SQLite keeps beside it, a name that does not exist yet; return that name.

    Nothing is done, and None returned, if the file is not ``which`` any more: another process was faster.

    :raises OSError: if it can't be moved.
    """
    with _alone(path.parent):
        if identity(path) != which:
            return None
        number = 1
        while any(os.path.lexists(_aside(path, number, name)) for name in COMPANIONS):
            number += 1
        for name in reversed(COMPANIONS):  # the WAL before its database, or a new one would take it for its own
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).rename(_aside(path, number, name))
        return _aside(path, number, "")


def _aside(path: Path, number: int, companion: str) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}{companion}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold off other processes that would move files in a folder; where that is not known, nothing is held."""
    try:
        import fcntl
    except ImportError:  # Windows lets nobody move a file that is open
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no such locks
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
