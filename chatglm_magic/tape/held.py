"""An open tape, with a lock against other processes."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import TapeError
from ..safe_files import sync_folder
from ..wire.body import sanitize_line
from ..wire.sse import BOM

OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT"))
"""No link is followed: in a folder from elsewhere it could lead to any file of this user.
Opening a pipe doesn't wait."""

LINE_PREFIX = b'{"key"'
"""How every line of a tape begins; a file that begins otherwise isn't a tape, so nothing is added to it."""

READ_BLOCK_BYTES = 2**20

CONFLICT_MARKER = b"<<<<<<<"
OTHER_FILE_HINT = "Name another file: %chatglm_config tape=FILE."


_open_descriptors: set[int] = set()
"""A forked child closes its copies: with them open, the parent's locks would outlive the parent."""

DESCRIPTORS_LOCK = threading.Lock()
"""Held while a descriptor is opened or closed, and during a fork: the child then knows all it has inherited."""


def close_inherited() -> None:
    """Close a forked child's copies of the parent's descriptors; the parent's file lock stays."""
    for descriptor in _open_descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _open_descriptors.clear()


class LockedFile:
    """An open tape."""

    def __init__(self, path: Path, descriptor: int, *, for_appending: bool) -> None:
        self.path, self.descriptor, self._for_appending = path, descriptor, for_appending

    def close(self) -> None:
        """Release the lock and close the file."""
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(self.descriptor, fcntl.LOCK_UN)  # closing isn't enough while a forked child has a copy
        _close(self.descriptor)

    def lock(self) -> None:
        """Wait for a shared lock, or for an exclusive one if the file was opened for appending."""
        try:
            import fcntl
        except ImportError:  # Windows: lines are added in one write there too
            return
        while True:
            with suppress(OSError):  # some network file systems have no such locks
                fcntl.flock(self.descriptor, fcntl.LOCK_EX if self._for_appending else fcntl.LOCK_SH)
            if not self._for_appending or self._is_current():
                return
            replacement = open_for_appending(self.path)  # the file was replaced while we waited
            self.close()
            self.descriptor = replacement.descriptor

    def status(self) -> os.stat_result:
        return os.fstat(self.descriptor)

    def read_from(self, start: int, count: int = -1) -> bytes:
        """Return ``count`` bytes from an offset, or all to the end of the file.

        :raises TapeError: ``tape_file`` if they can't be read.
        """
        try:
            os.lseek(self.descriptor, start, os.SEEK_SET)
            remaining = max(0, self.status().st_size - start) if count < 0 else count
            data = bytearray()
            while remaining > 0 and (block := os.read(self.descriptor, min(remaining, READ_BLOCK_BYTES))):
                data += block
                remaining -= len(block)
        except OSError as error:
            raise _read_error(self.path, error) from None
        return bytes(data)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self.status(), os.stat(self.path, follow_symlinks=False))
        except OSError:
            return False


def open_for_reading(path: Path) -> LockedFile | None:
    """Open a tape to read it; return None if there is no file.

    :raises TapeError: ``tape_file`` if it can't be opened.
    """
    try:
        return LockedFile(path, _open(path, os.O_RDONLY), for_appending=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _read_error(path, error) from None


def open_for_appending(path: Path) -> LockedFile:
    """Open a tape to add to it; a new one is readable by its owner only.

    :raises TapeError: ``tape_file`` if it can't be opened, or is another kind of file.
    """
    is_new = not os.path.lexists(path)
    try:
        file = LockedFile(path, _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), for_appending=True)
    except FileNotFoundError:
        raise TapeError(
            f"There is no folder {sanitize_line(str(path.parent))}: make it first.", kind="tape_file"
        ) from None
    except OSError as error:
        raise write_error(path, error) from None
    try:
        start = file.read_from(0, 64)
    except BaseException:
        file.close()
        raise
    start = start.removeprefix(BOM).lstrip()
    if not (start.startswith((LINE_PREFIX, CONFLICT_MARKER)) or LINE_PREFIX.startswith(start)):
        file.close()
        raise TapeError(
            f"{sanitize_line(str(path))} isn't a tape, so nothing is added to it. {OTHER_FILE_HINT}",
            kind="tape_file",
        )
    if is_new:
        sync_folder(path.parent)
    return file


def _open(path: Path, flags: int) -> int:
    with DESCRIPTORS_LOCK:
        _open_descriptors.add(descriptor := os.open(path, flags | OPEN_FLAGS, 0o600))
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    _close(descriptor)
    raise OSError(errno.EINVAL, "it isn't a regular file")


def _close(descriptor: int) -> None:
    with DESCRIPTORS_LOCK:
        _open_descriptors.discard(descriptor)
        os.close(descriptor)


def _read_error(path: Path, error: OSError) -> TapeError:
    return TapeError(
        f"The tape {sanitize_line(str(path))} can't be read: {_reason(error)}. {OTHER_FILE_HINT}", kind="tape_file"
    )


def write_error(path: Path, error: OSError) -> TapeError:
    return TapeError(
        f"The tape {sanitize_line(str(path))} can't be written: {_reason(error)}. {OTHER_FILE_HINT}",
        kind="tape_file",
    )


def _reason(error: OSError) -> str:
    return "it is a link, and those are not followed" if error.errno == errno.ELOOP else str(error.strerror)
