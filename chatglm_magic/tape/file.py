"""A tape's file: what it holds, read when it has changed, and answers added to its end.

Locks are taken in one order: ``_adding``, the file's own, ``_reading``."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from ..errors import TapeError
from .contents import Contents
from .entry import TapeEntry, read
from .held import DOOR, LockedFile, close_inherited, opened_to_add, opened_to_read, unwritable


class Batch:
    """Answers that several threads want to add at once; the first of them writes all."""

    def __init__(self) -> None:
        self.wanted: list[tuple[TapeEntry, bool]] = []
        self.done = False
        self.problem = ""

    def lines(self, takes: Mapping[str, int]) -> list[bytes]:
        """Return the lines to add to a tape that has these takes: the first answer to a question is kept."""
        found, takes = [], dict(takes)
        for recorded, again in self.wanted:
            if recorded.key not in takes or again:
                takes[recorded.key] = takes.get(recorded.key, -1) + 1
                found.append(recorded._replace(take=takes[recorded.key]).line())
        return found


def add_lines(held: LockedFile, lines: list[bytes]) -> None:
    """Write lines to the end of a locked tape in one go, and see to it that they are on the disk.

    :raises TapeError: ``tape_file`` if they can't be written; the tape is then as it was.
    """
    if not lines:
        return
    size = held.status().st_size
    torn = size > 0 and held.read_from(size - 1) != b"\n"  # of one that was killed: not to be glued to
    data = b"\n" * torn + b"".join(lines)
    try:
        if os.write(held.place, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(held.place)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(held.place, size)
        raise unwritable(held.path, error) from None


class TapeFile:
    """One file of this process, whichever models use it; any thread may call.

    :param path: the whole path; the file need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reset()
        _FILES.add(self)

    def reset(self) -> None:
        """Forget what is known of the file, and who is at work on it."""
        self._reading = threading.RLock()
        """LockedFile by whoever looks at, or changes, what is known of the file."""
        self._adding = threading.Lock()
        self._contents = Contents(self.path)
        self._batch = Batch()

    @property
    def changed(self) -> bool:
        """Whether the file is not as it was when it was last read."""
        return self._contents.outdated()

    @property
    def there(self) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self.path)

    def find(self, key: str) -> TapeEntry | None:
        """Return the answer that counts for a key; the file is read again if it has changed.

        :raises TapeError: ``tape_file`` if the file can't be read.
        """
        if self.changed:
            self._read()
        with self._reading:
            line = self._contents.lines.get(key)
        return read(line[1]) if line else None

    def all(self) -> Iterator[TapeEntry]:
        """Yield the answers that count, in the order of the file as it was when it was last read."""
        with self._reading:
            lines = [line for _, line in self._contents.lines.values()]
        return map(read, lines)

    def check(self) -> None:
        """See to it that an answer could be added, before it is asked for; the file is made if need be.

        :raises TapeError: ``tape_file`` if not.
        """
        opened_to_add(self.path).close()

    def add(self, recorded: TapeEntry, *, again: bool) -> None:
        """Add an answer for good: it is on the disk when this returns. What several threads add goes together.

        :param again: add it also where the tape has one for its key; the new one counts then.
        :raises TapeError: ``tape_file`` if it can't be written.
        """
        with self._reading:
            batch = self._batch
            batch.wanted.append((recorded, again))
        with self._adding:
            if not batch.done:
                self._write(batch)
        if batch.problem:
            raise TapeError(batch.problem, kind="tape_file")

    def _write(self, batch: Batch) -> None:
        with self._reading:
            self._batch = Batch()
        batch.done = True
        batch.problem = "The answer could not be put on the tape: another one was interrupted. Ask again."
        try:
            with closing(opened_to_add(self.path)) as held:
                held.lock()
                with self._reading:
                    self._contents.read(held)  # what other processes have added meanwhile
                    add_lines(held, batch.lines(self._contents.takes()))
                    self._contents.read(held)
        except TapeError as error:
            batch.problem = str(error)
        else:
            batch.problem = ""

    def _read(self) -> None:
        held = opened_to_read(self.path)
        if held is None:
            with self._reading:
                self._contents = Contents(self.path)
            return
        with closing(held):
            held.lock()
            with self._reading:
                self._contents.read(held)


_FILES: weakref.WeakSet[TapeFile] = weakref.WeakSet()


def _after_fork() -> None:
    close_inherited()
    for file in _FILES:
        file.reset()  # another thread of the parent may have been half way
    DOOR.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=DOOR.acquire, after_in_parent=DOOR.release, after_in_child=_after_fork)
