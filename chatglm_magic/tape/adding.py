"""Adding lines to the end of a tape: whole ones, or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress

from .held import Held, unwritable
from .lines import Recorded


class Batch:
    """Answers that several threads want to add at once; the first of them writes all."""

    def __init__(self) -> None:
        self.wanted: list[tuple[Recorded, bool]] = []
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


def add_lines(held: Held, lines: list[bytes]) -> None:
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
