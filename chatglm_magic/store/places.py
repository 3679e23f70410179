"""Where the store's file lies, and how it is made."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from .aside import COMPANIONS

FILE = "history.sqlite"


def default_path() -> Path:
    """Return ``$CHATGLM_MAGIC_HOME/history.sqlite``, else the file in Jupyter's data directory."""
    if home := os.environ.get("CHATGLM_MAGIC_HOME"):
        return Path(home).expanduser() / FILE
    return _jupyter_data() / "chatglm_magic" / FILE


def _jupyter_data() -> Path:
    try:
        from jupyter_core.paths import jupyter_data_dir
    except ImportError:
        return _data_without_jupyter()
    return Path(jupyter_data_dir())


def _data_without_jupyter() -> Path:
    """Return what Jupyter's data directory would be."""
    if told := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "jupyter"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "jupyter"


def make(path: Path) -> bool:
    """See to it that the file is there, its owner's alone from the first moment; tell whether it is new.

    A folder that is made here is its owner's alone too; one that was there stays as it is. An existing file is
    looked at and not opened: closing a file takes away every lock this process holds on it, SQLite's included.

    :raises OSError: if it can't be made, or is no ordinary file of one's own.
    """
    _make_folders(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        os.close(os.open(path, flags, 0o600))
        return True
    except FileExistsError:
        pass
    for name in COMPANIONS:
        with suppress(FileNotFoundError):
            _keep_private(path.with_name(path.name + name))
    return False


def _make_folders(folder: Path) -> None:
    """Make the folders that are missing; ``Path.mkdir`` would give its mode to the last one alone."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        with suppress(FileExistsError):  # another process was faster; a file in its place fails with what follows
            folder.mkdir(mode=0o700)


def _keep_private(path: Path) -> None:
    """Close an existing file to others.

    :raises OSError: if it is a link, a device or a folder.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file", str(path))
    if found.st_mode & 0o077:
        with suppress(PermissionError):  # another user's, who lets this one write to it
            path.chmod(0o600)
