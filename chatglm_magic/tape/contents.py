"""What a tape's file holds, as far as it was read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..errors import TapeError
from ..wire.body import shown
from .entry import read
from .held import BOM, LockedFile

LARGEST = 512 * 2**20
"""Bytes of a tape; a larger one is refused."""

SEAM = 256
"""Bytes before the place where reading stopped, which must be as they were if it is to go on from there."""

TOLD = 3
"""How many damaged lines are named."""


class Contents:
    """The lines of a tape by their keys; the caller sees to it that one thread at a time reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self.lines: dict[str, tuple[int, bytes]] = {}
        """The line that counts for each key, with its take."""
        self._seen: tuple[int, ...] | None = None
        self._end = self._count = 0
        self._seam = b""
        self._told: set[int] = set()

    def outdated(self) -> bool:
        """Tell whether the file is not as it was when it was last read."""
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return self._seen is not None
        return _identity(found) != self._seen

    def takes(self) -> dict[str, int]:
        """Return the take that counts for each key."""
        return {key: take for key, (take, _) in self.lines.items()}

    def read(self, held: LockedFile) -> None:
        """Read what was added to the open file; all of it, if it was changed otherwise.

        :raises TapeError: ``tape_file`` for a file that is too large.
        """
        now = _identity(held.status())
        if now == self._seen:
            return
        if now[2] > LARGEST:
            raise TapeError(
                f"The tape {shown(str(self._path))} is larger than {LARGEST // 2**20} MiB. "
                "Divide it by lines, or begin another one: %chatglm_config tape=FILE.",
                kind="tape_file",
            )
        data = self._added(held, now)
        if data is None:
            self._forget()
            data = held.read_from(0)
        self._take(data)
        self._seen = now

    def _added(self, held: LockedFile, now: tuple[int, ...]) -> bytes | None:
        """Return what stands behind what was read; None where that is not there any more."""
        if self._seen is None or not self._seam or now[:2] != self._seen[:2] or now[2] <= self._seen[2]:
            return None
        data = held.read_from(self._end - len(self._seam))
        return data.removeprefix(self._seam) if data.startswith(self._seam) else None

    def _take(self, data: bytes) -> None:
        whole, end, rest = data.rpartition(b"\n")
        problems = list(self._kept(whole.split(b"\n") if end else [], self._count))
        self._count += whole.count(b"\n") + len(end)
        # A last line without an end counts if it is whole, and is read again when more follows.
        problems += [f"{problem} (it breaks off)" for problem in self._kept([rest], self._count)]
        self._end += len(whole) + len(end)
        self._seam = (self._seam + whole + end)[-SEAM:]
        if problems:
            more = f"; {len(problems) - TOLD} more" if len(problems) > TOLD else ""
            text = f"The tape {shown(self._path.name)}: {'; '.join(problems[:TOLD])}{more}. Passed over."
            warnings.warn(text, stacklevel=2)

    def _kept(self, lines: list[bytes], before: int) -> Iterator[str]:
        """Keep the answers in lines; yield what is wrong with one, once for each."""
        for number, line in enumerate(lines, before + 1):
            text = line.removeprefix(BOM).strip()
            if not text:
                continue
            try:
                found = read(text)
            except ValueError as error:
                if number not in self._told:
                    self._told.add(number)
                    yield f"line {number} {error}"
                continue
            if found.key not in self.lines or found.take > self.lines[found.key][0]:
                self.lines[found.key] = found.take, text


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
