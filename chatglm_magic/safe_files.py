"""Files that users name: where one may be written, and writing it atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .errors import CommandError
from .render.text import escape_surrogates, one_line

WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names that are devices on Windows, with any extension."""
MAX_NAME_BYTES = 255
"""The limit of nearly every file system."""
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def resolve_target(path: str | Path, *, force: bool = False) -> Path:
    """Return the absolute path where a new file may be written.

    A relative path must stay under the current folder; ``~`` is the home folder. Links are never followed, and an
    existing file is only replaced with ``force``.

    :raises CommandError: if the path can't be written to; the message says what to do.
    """
    label = _printable(path)
    text = os.fspath(path)
    if not text.strip() or "\0" in text:
        raise CommandError(f"{label} isn't a file name.")
    try:
        wanted = Path(text).expanduser()
    except RuntimeError:
        raise CommandError(f"{label}: unknown home folder.") from None
    for name in wanted.parts[bool(wanted.anchor) :]:
        _check_name(name, label)
    try:
        full = _absolute_path(wanted, label)
        existing = os.lstat(full) if os.path.lexists(full) else None
    except (OSError, RuntimeError) as error:  # too long, a loop of links, a folder without permission
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{label} can't be written: {reason}.") from None
    if existing is None:
        return full
    if stat.S_ISLNK(existing.st_mode):
        raise CommandError(f"{label} is a link, and links aren't followed: name the file itself.")
    if stat.S_ISDIR(existing.st_mode):
        raise CommandError(f"{label} is a folder: name a file in it.")
    if not stat.S_ISREG(existing.st_mode):
        raise CommandError(f"{label} isn't a regular file.")
    if not force:
        raise CommandError(
            f"{label} already exists. To replace it: --force in a magic, force=True in Python, the box beside "
            "Export in the viewer."
        )
    return full


def write_atomically(path: Path, pieces: Iterable[str], *, force: bool = False) -> None:
    """Write a file that only its owner can access; it appears complete or not at all.

    :param path: a result of :func:`resolve_target`.
    :raises CommandError: if it can't be written.
    """
    temporary = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        try:
            _write(temporary, pieces)
            _move_into_place(temporary, path, force=force)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise CommandError(f"{_printable(path)} can't be written: {error.strerror or error}.") from None


def open_regular_file(path: str | Path) -> int:
    """Open an existing regular file for reading; return its descriptor.

    :raises CommandError: if it can't be opened, or is a link or a device.
    """
    label = _printable(path)
    try:
        # O_NONBLOCK: if it is a pipe, opening would wait for a writer.
        descriptor = os.open(Path(path).expanduser(), os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise CommandError(f"{label} is a link, and links aren't followed: name the file itself.") from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{label} can't be read: {reason}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CommandError(f"{label} isn't a regular file.")
    return descriptor


def _printable(path: str | Path) -> str:
    return one_line(os.fspath(path), 120)


def _check_name(name: str, label: str) -> None:
    """Check that a name is valid on every system, and short enough.

    :raises CommandError: if it isn't.
    """
    if name.split(".")[0].rstrip(" ").lower() in WINDOWS_DEVICES:
        raise CommandError(f"{label}: {name.split('.')[0]} is a device on Windows, use another name.")
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise CommandError(
            f"{label}: the name has {len(os.fsencode(name))}; the maximum is {MAX_NAME_BYTES} bytes."
        )


def _absolute_path(wanted: Path, label: str) -> Path:
    """Return the absolute path of a file in an existing folder; a relative one must stay under the current folder.

    :raises CommandError: if it is outside the current folder, or its folder doesn't exist.
    """
    if wanted.name in ("", ".."):
        raise CommandError(f"{label} is a folder: name a file in it.")
    cwd = Path.cwd().resolve()
    folder = wanted.parent if wanted.is_absolute() else (cwd / wanted.parent).resolve()
    if not wanted.is_absolute() and not folder.is_relative_to(cwd):
        raise CommandError(f"{label} is outside the current folder: use an absolute path if that is intended.")
    if not folder.is_dir():
        raise CommandError(f"There is no folder {_printable(wanted.parent)}: create it first.")
    return folder / wanted.name


def _write(path: Path, pieces: Iterable[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pieces:
            file.write(escape_surrogates(piece).encode())
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(temporary: Path, path: Path, *, force: bool) -> None:
    """Give a finished file its name; without ``force``, never that of a file created meanwhile."""
    if force:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # file systems without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss, if the system can sync folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
