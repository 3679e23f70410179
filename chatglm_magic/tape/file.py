"""A tape's file: an index of its lines, read again after a change, and answers appended to its end.

Locks are acquired in this order: ``_append_lock``, the lock on the file, ``_index_lock``.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from ..errors import TapeError
from ..wire.body import sanitize_line
from ..wire.sse import BOM
from .entry import TapeEntry, parse_line
from .held import DESCRIPTORS_LOCK, LockedFile, close_inherited, open_for_appending, open_for_reading, write_error

MAX_TAPE_BYTES = 512 * 2**20
"""A larger tape is refused."""

OVERLAP_BYTES = 256
"""How many bytes before the end of what was read must be unchanged for reading to continue there."""

MAX_REPORTED_LINES = 3
"""How many damaged lines a warning names."""


class TapeIndex:
    """The lines of a tape by their keys. Not thread-safe: callers hold a lock.

    :ivar lines: for each key its current line, with its take.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clear()

    def _clear(self) -> None:
        self.lines: dict[str, tuple[int, bytes]] = {}
        self._fingerprint: tuple[int, ...] | None = None
        self._end = self._line_count = 0
        self._overlap = b""
        self._reported: set[int] = set()

    def is_outdated(self) -> bool:
        """Return whether the file has changed since it was last read."""
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return self._fingerprint is not None
        return _fingerprint(status) != self._fingerprint

    def takes(self) -> dict[str, int]:
        """Return the current take of each key."""
        return {key: take for key, (take, _) in self.lines.items()}

    def update(self, file: LockedFile) -> None:
        """Read what was appended to the open file; all of it, if it changed in another way.

        :raises TapeError: ``tape_file`` for a file that is too large.
        """
        fingerprint = _fingerprint(file.status())
        if fingerprint == self._fingerprint:
            return
        if fingerprint[2] > MAX_TAPE_BYTES:
            raise TapeError(
                f"The tape {sanitize_line(str(self._path))} is larger than {MAX_TAPE_BYTES // 2**20} MiB. "
                "Split it by lines, or start a new one: %chatglm_config tape=FILE.",
                kind="tape_file",
            )
        data = self._read_appended(file, fingerprint)
        if data is None:
            self._clear()
            data = file.read_from(0)
        self._index_data(data)
        self._fingerprint = fingerprint

    def _read_appended(self, file: LockedFile, fingerprint: tuple[int, ...]) -> bytes | None:
        """Return what follows the part that was read; None if that part has changed."""
        old = self._fingerprint
        if old is None or not self._overlap or fingerprint[:2] != old[:2] or fingerprint[2] <= old[2]:
            return None
        data = file.read_from(self._end - len(self._overlap))
        return data.removeprefix(self._overlap) if data.startswith(self._overlap) else None

    def _index_data(self, data: bytes) -> None:
        complete, end, rest = data.rpartition(b"\n")
        problems = list(self._index_lines(complete.split(b"\n") if end else [], self._line_count))
        self._line_count += complete.count(b"\n") + len(end)
        # A last line without a newline counts if it is complete, and is read again when more follows.
        problems += [f"{problem} (truncated)" for problem in self._index_lines([rest], self._line_count)]
        self._end += len(complete) + len(end)
        self._overlap = (self._overlap + complete + end)[-OVERLAP_BYTES:]
        if problems:
            more = f"; {count} more" if (count := len(problems) - MAX_REPORTED_LINES) > 0 else ""
            listed = "; ".join(problems[:MAX_REPORTED_LINES])
            text = f"The tape {sanitize_line(self._path.name)}: {listed}{more}. Skipped."
            warnings.warn(text, stacklevel=2)

    def _index_lines(self, lines: list[bytes], before: int) -> Iterator[str]:
        """Index the answers in lines; yield what is wrong with a line, once for each."""
        for number, line in enumerate(lines, before + 1):
            text = line.removeprefix(BOM).strip()
            if not text:
                continue
            try:
                entry = parse_line(text)
            except ValueError as error:
                if number not in self._reported:
                    self._reported.add(number)
                    yield f"line {number} {error}"
                continue
            if entry.key not in self.lines or entry.take > self.lines[entry.key][0]:
                self.lines[entry.key] = entry.take, text


def _fingerprint(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class PendingWrites:
    """Answers that several threads append at once; the first of them writes all."""

    def __init__(self) -> None:
        self.entries: list[tuple[TapeEntry, bool]] = []
        self.is_done = False
        self.problem = ""

    def lines(self, takes: Mapping[str, int]) -> list[bytes]:
        """Return the lines to append to a tape with these takes; the first answer to a request is kept."""
        lines, takes = [], dict(takes)
        for entry, again in self.entries:
            if entry.key not in takes or again:
                takes[entry.key] = takes.get(entry.key, -1) + 1
                lines.append(entry._replace(take=takes[entry.key]).to_line())
        return lines


def append_lines(file: LockedFile, lines: list[bytes]) -> None:
    """Append lines to a locked tape in one write, and flush them to disk.

    :raises TapeError: ``tape_file`` if they can't be written; the tape is then unchanged.
    """
    if not lines:
        return
    size = file.status().st_size
    torn = size > 0 and file.read_from(size - 1) != b"\n"  # a killed process may have left half a line
    data = b"\n" * torn + b"".join(lines)
    try:
        if os.write(file.descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.descriptor)
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(file.descriptor, size)
        raise write_error(file.path, error) from None


class TapeFile:
    """One tape's file, shared by all models of this process. Thread-safe.

    :param path: the absolute path; the file need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reset()
        _FILES.add(self)

    def reset(self) -> None:
        """Drop the index, the pending writes and the locks."""
        self._index_lock = threading.RLock()
        """Guards the index and the pending writes."""
        self._append_lock = threading.Lock()
        self._index = TapeIndex(self.path)
        self._pending = PendingWrites()

    @property
    def has_changed(self) -> bool:
        """Whether the file has changed since it was last read."""
        return self._index.is_outdated()

    @property
    def exists(self) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self.path)

    def find(self, key: str) -> TapeEntry | None:
        """Return the current answer for a key; the file is read again if it has changed.

        :raises TapeError: ``tape_file`` if the file can't be read.
        """
        if self.has_changed:
            self._read()
        with self._index_lock:
            line = self._index.lines.get(key)
        return parse_line(line[1]) if line else None

    def entries(self) -> Iterator[TapeEntry]:
        """Yield the current answers, in the order of the file as it was when it was last read."""
        with self._index_lock:
            lines = [line for _, line in self._index.lines.values()]
        return map(parse_line, lines)

    def check_writable(self) -> None:
        """Check that an answer could be appended, before the request is sent; create the file if needed.

        :raises TapeError: ``tape_file`` if not.
        """
        open_for_appending(self.path).close()

    def add(self, entry: TapeEntry, *, again: bool) -> None:
        """Append an answer; it is on disk when this returns. Concurrent answers are written together.

        :param again: append it also if the tape has one for its key; the new one then replaces it.
        :raises TapeError: ``tape_file`` if it can't be written.
        """
        with self._index_lock:
            pending = self._pending
            pending.entries.append((entry, again))
        with self._append_lock:
            if not pending.is_done:
                self._write(pending)
        if pending.problem:
            raise TapeError(pending.problem, kind="tape_file")

    def _write(self, pending: PendingWrites) -> None:
        with self._index_lock:
            self._pending = PendingWrites()
        pending.is_done = True
        pending.problem = "The answer couldn't be added to the tape: another recording was interrupted. Retry."
        try:
            with closing(open_for_appending(self.path)) as file:
                file.lock()
                with self._index_lock:
                    self._index.update(file)  # what other processes have added meanwhile
                    append_lines(file, pending.lines(self._index.takes()))
                    self._index.update(file)
        except TapeError as error:
            pending.problem = str(error)
        else:
            pending.problem = ""

    def _read(self) -> None:
        file = open_for_reading(self.path)
        if file is None:
            with self._index_lock:
                self._index = TapeIndex(self.path)
            return
        with closing(file):
            file.lock()
            with self._index_lock:
                self._index.update(file)


_FILES: weakref.WeakSet[TapeFile] = weakref.WeakSet()


def _after_fork() -> None:
    close_inherited()
    for file in _FILES:
        file.reset()  # another thread of the parent may have been changing it
    DESCRIPTORS_LOCK.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=DESCRIPTORS_LOCK.acquire,
        after_in_parent=DESCRIPTORS_LOCK.release,
        after_in_child=_after_fork,
    )
