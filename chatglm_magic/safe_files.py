"""Files that people name: where one may be written, and writing it whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .errors import CommandError
from .render.text import one_line, spell_surrogates

RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names that are devices on Windows, with whatever ending."""
LONGEST = 255
"""Bytes in a name, on nearly every disk."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def target(path: str | Path, *, force: bool = False) -> Path:
    """Return the absolute path that a new file may have.

    A relative one stays under the current folder, ``~`` is the home folder. A link is never followed, a file that
    is there is only replaced with ``force``.

    :raises CommandError: for a path that can't be written to, with what to do about it.
    """
    shown = _shown(path)
    text = os.fspath(path)
    if not text.strip() or "\0" in text:
        raise CommandError(f"{shown} isn't a file name.")
    try:
        given = Path(text).expanduser()
    except RuntimeError:
        raise CommandError(f"{shown}: there is no such home folder.") from None
    for name in given.parts[bool(given.anchor) :]:
        _check_name(name, shown)
    try:
        full = _inside_here(given, shown)
        found = os.lstat(full) if os.path.lexists(full) else None
    except (OSError, RuntimeError) as error:  # too long, a circle of links, a folder that is closed
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{shown} can't be written: {why}.") from None
    if found is None:
        return full
    if stat.S_ISLNK(found.st_mode):
        raise CommandError(f"{shown} is a link, and those are not followed: name the file itself.")
    if stat.S_ISDIR(found.st_mode):
        raise CommandError(f"{shown} is a folder: name a file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise CommandError(f"{shown} isn't a regular file.")
    if not force:
        raise CommandError(
            f"{shown} is there already. To replace it: --force in a magic, force=True in Python, the box beside "
            "Export in the viewer."
        )
    return full


def write_whole(path: Path, pieces: Iterable[str], *, force: bool = False) -> None:
    """Write a file that is its owner's alone; it appears whole, or not at all.

    :param path: what :func:`target` returned.
    :raises CommandError: if it can't be written.
    """
    beside = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        try:
            _write(beside, pieces)
            _give_name(beside, path, force=force)
        finally:
            with contextlib.suppress(FileNotFoundError):
                beside.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise CommandError(f"{_shown(path)} can't be written: {error.strerror or error}.") from None


def open_ordinary(path: str | Path) -> int:
    """Open an existing file to read it, no link and no device; return its descriptor.

    :raises CommandError: if that can't be done.
    """
    shown = _shown(path)
    try:
        # Not to wait for somebody to write into a pipe of that name.
        place = os.open(Path(path).expanduser(), os.O_RDONLY | NO_LINK | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise CommandError(f"{shown} is a link, and those are not followed: name the file itself.") from None
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{shown} can't be read: {why}.") from None
    if not stat.S_ISREG(os.fstat(place).st_mode):
        os.close(place)
        raise CommandError(f"{shown} isn't a regular file.")
    return place


def _shown(path: str | Path) -> str:
    return one_line(os.fspath(path), 120)


def _check_name(name: str, shown: str) -> None:
    """See to it that a name is one on every system, and short enough.

    :raises CommandError: if it is not.
    """
    if name.split(".")[0].rstrip(" ").lower() in RESERVED:
        raise CommandError(f"{shown}: {name.split('.')[0]} is a device on Windows, take another name.")
    if len(os.fsencode(name)) > LONGEST:
        raise CommandError(f"{shown}: a name can have {LONGEST} bytes, not {len(os.fsencode(name))}.")


def _inside_here(given: Path, shown: str) -> Path:
    """Return the whole path of a file in an existing folder; what is not a whole path stays under this folder.

    :raises CommandError: if it leads out of there, or the folder is missing.
    """
    if given.name in ("", ".."):
        raise CommandError(f"{shown} is a folder: name a file in it.")
    here = Path.cwd().resolve()
    folder = given.parent if given.is_absolute() else (here / given.parent).resolve()
    if not given.is_absolute() and not folder.is_relative_to(here):
        raise CommandError(f"{shown} leads out of the current folder: write the whole path if that is meant.")
    if not folder.is_dir():
        raise CommandError(f"There is no folder {_shown(given.parent)}: make it first.")
    return folder / given.name


def _write(path: Path, pieces: Iterable[str]) -> None:
    place = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600)
    with os.fdopen(place, "wb") as file:
        for piece in pieces:
            file.write(spell_surrogates(piece).encode())
        file.flush()
        os.fsync(file.fileno())


def _give_name(beside: Path, path: Path, *, force: bool) -> None:
    """Give a finished file its name; without ``force`` never one that somebody else has taken meanwhile."""
    if force:
        beside.replace(path)
        return
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # disks without hard links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        beside.rename(path)


def sync_folder(folder: Path) -> None:
    """Let the name outlive a loss of power too, where folders can be synced."""
    with contextlib.suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
