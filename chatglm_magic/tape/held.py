"""A tape's file, open and held against other processes."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import TapeError
from ..safe_files import sync_folder
from ..wire.body import shown

SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT"))
"""No link is followed: in a folder from elsewhere it could lead to any file of this user.
A pipe is not waited on."""

BEGINNING = b'{"key"'
"""How every line of a tape begins; a file that begins otherwise isn't a tape, so nothing is added to it."""

BLOCK = 2**20
"""Bytes that are read at a time."""

CONFLICT = b"<<<<<<<"
BOM = b"\xef\xbb\xbf"
OTHER = "Name another file: %chatglm_config tape=FILE."


_open: set[int] = set()
"""Descriptors in use; a forked child closes its copies, which would hold the files for it and against it."""

DOOR = threading.Lock()
"""LockedFile while a descriptor comes or goes, and over a fork: the child knows all that it has got."""


def close_inherited() -> None:
    """Let go of what a parent process has open; its own lock stays."""
    for place in _open:
        with suppress(OSError):
            os.close(place)
    _open.clear()


class LockedFile:
    """An open tape."""

    def __init__(self, path: Path, place: int, *, to_add: bool) -> None:
        self.path, self.place, self._to_add = path, place, to_add

    def close(self) -> None:
        """Close it, and let others have it."""
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(self.place, fcntl.LOCK_UN)  # closing would not do while a forked child has a copy
        _let_go(self.place)

    def lock(self) -> None:
        """Wait until no other process adds to it, or also until none reads it."""
        try:
            import fcntl
        except ImportError:  # Windows: lines are added in one write there too
            return
        while True:
            with suppress(OSError):  # some network file systems have no such locks
                fcntl.flock(self.place, fcntl.LOCK_EX if self._to_add else fcntl.LOCK_SH)
            if not self._to_add or self._is_there():
                return
            again = opened_to_add(self.path)  # another file took its place while we waited
            self.close()
            self.place = again.place

    def status(self) -> os.stat_result:
        return os.fstat(self.place)

    def read_from(self, start: int, count: int = -1) -> bytes:
        """Return the bytes from a place on, to the end or so many.

        :raises TapeError: ``tape_file`` if they can't be read.
        """
        try:
            os.lseek(self.place, start, os.SEEK_SET)
            left = max(0, self.status().st_size - start) if count < 0 else count
            found = bytearray()
            while left > 0 and (block := os.read(self.place, min(left, BLOCK))):
                found += block
                left -= len(block)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return bytes(found)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self.status(), os.stat(self.path, follow_symlinks=False))
        except OSError:
            return False


def opened_to_read(path: Path) -> LockedFile | None:
    """Open a tape to read it; None where there is no file.

    :raises TapeError: ``tape_file`` if it can't be opened.
    """
    try:
        return LockedFile(path, _opened(path, os.O_RDONLY), to_add=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from None


def opened_to_add(path: Path) -> LockedFile:
    """Open a tape to add to it; a new one is its owner's alone.

    :raises TapeError: ``tape_file`` if it can't be opened, or is another kind of file.
    """
    new = not os.path.lexists(path)
    try:
        held = LockedFile(path, _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), to_add=True)
    except FileNotFoundError:
        raise TapeError(
            f"There is no folder {shown(str(path.parent))}: make it first.", kind="tape_file"
        ) from None
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        start = held.read_from(0, 64)
    except BaseException:
        held.close()
        raise
    start = start.removeprefix(BOM).lstrip()
    if not (start.startswith((BEGINNING, CONFLICT)) or BEGINNING.startswith(start)):
        held.close()
        raise TapeError(f"{shown(str(path))} isn't a tape, so nothing is added to it. {OTHER}", kind="tape_file")
    if new:
        sync_folder(path.parent)
    return held


def _opened(path: Path, how: int) -> int:
    with DOOR:
        _open.add(place := os.open(path, how | SAFELY, 0o600))
    if stat.S_ISREG(os.fstat(place).st_mode):
        return place
    _let_go(place)
    raise OSError(errno.EINVAL, "it isn't a regular file")


def _let_go(place: int) -> None:
    with DOOR:
        _open.discard(place)
        os.close(place)


def _unreadable(path: Path, error: OSError) -> TapeError:
    return TapeError(f"The tape {shown(str(path))} can't be read: {_why(error)}. {OTHER}", kind="tape_file")


def unwritable(path: Path, error: OSError) -> TapeError:
    return TapeError(f"The tape {shown(str(path))} can't be written: {_why(error)}. {OTHER}", kind="tape_file")


def _why(error: OSError) -> str:
    return "it is a link, and those are not followed" if error.errno == errno.ELOOP else str(error.strerror)
