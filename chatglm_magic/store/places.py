"""Where the store's file lies, and how it is made."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .schema import Journal

FILE_SUFFIXES = ("", "-wal", "-journal", "-shm")
"""What SQLite keeps beside a file; without its WAL a database may lack its newest rows."""


def file_identity(path: Path) -> tuple[int, int] | None:
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
    with _folder_lock(path.parent):
        if file_identity(path) != which:
            return None
        number = 1
        while any(os.path.lexists(_quarantine_path(path, number, name)) for name in FILE_SUFFIXES):
            number += 1
        for name in reversed(FILE_SUFFIXES):  # the WAL before its database, or a new one would take it for its own
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).rename(_quarantine_path(path, number, name))
        return _quarantine_path(path, number, "")


def _quarantine_path(path: Path, number: int, companion: str) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}{companion}")


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
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


NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "9p", "afs", "coda", "ncpfs", "ceph", "glusterfs", "lustre"),
    *("beegfs", "gpfs", "pvfs2", "panfs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"),
    *("fuse.rclone", "fuse.gcsfuse", "fuse.davfs2", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.juicefs"),
}
"""Kinds of file system that several machines can use at once: their shared memory is none."""


def journal_mode_for(path: Path, mounts: Path = Path("/proc/self/mounts")) -> Journal:
    """Return the kind of journal a file can have: ``delete`` on a network's file system, else ``wal``.

    :param mounts: the table of mounts; where there is none, every disk is taken for a local one.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "wal"
    place = os.path.realpath(path)
    kind = ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1])
        if place == point or place.startswith(point.rstrip("/") + "/"):
            kind = fields[2]  # what is mounted later hides what was there
    return "delete" if kind in NETWORK_FILE_SYSTEMS else "wal"


def _unescape(text: str) -> str:
    r"""Return a path of the table of mounts, where a blank is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


FILE_NAME = "history.sqlite"


class RefusedFile(Exception):
    """A file that is not to be touched; the message says whose it is and what to do."""


def default_path() -> Path:
    """Return ``$CHATGLM_MAGIC_HOME/history.sqlite``, else the file in Jupyter's data directory."""
    if home := os.environ.get("CHATGLM_MAGIC_HOME"):
        return Path(home).expanduser() / FILE_NAME
    return _jupyter_data_folder() / "chatglm_magic" / FILE_NAME


def _jupyter_data_folder() -> Path:
    try:
        from jupyter_core.paths import jupyter_data_dir
    except ImportError:
        return _guess_jupyter_data_folder()
    return Path(jupyter_data_dir())


def _guess_jupyter_data_folder() -> Path:
    """Return what Jupyter's data directory would be."""
    if told := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "jupyter"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "jupyter"


def create_file(path: Path) -> bool:
    """See to it that the file is there, its owner's alone from the first moment; tell whether it is new.

    A folder that is made here is its owner's alone too; one that was there stays as it is. An existing file is
    looked at and not opened: closing a file takes away every lock this process holds on it, SQLite's included.

    :raises OSError: if it can't be made, or isn't an ordinary file.
    :raises RefusedFile: if it is another user's, or others could have written to it.
    """
    _make_folders(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        os.close(os.open(path, flags, 0o600))
        return True
    except FileExistsError:
        pass
    check_private(path)
    return False


def check_private(path: Path) -> None:
    """See to it that a store's file, and what SQLite keeps beside it, are its owner's alone.

    :raises OSError: if one of them isn't an ordinary file.
    :raises RefusedFile: if one is another user's, or others could have written to it.
    """
    for name in FILE_SUFFIXES:
        with suppress(FileNotFoundError):
            _make_private(path.with_name(path.name + name))


def is_read_only(path: Path) -> bool:
    """Tell whether a file is there and nothing can be written beside it, as SQLite does.

    Not if SQLite left a log there, which has to be read too.
    """
    return (
        path.is_file() and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    )


def _make_folders(folder: Path) -> None:
    """Make the folders that are missing; ``Path.mkdir`` would give its mode to the last one alone."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        with suppress(FileExistsError):  # another process was faster; a file in its place fails with what follows
            folder.mkdir(mode=0o700)


def _make_private(path: Path) -> None:
    """Close an existing file to others who could read it.

    :raises OSError: if it is a link, a device or a folder.
    :raises RefusedFile: if it is another user's, or others could have written to it.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it isn't a file", str(path))
    if os.name != "posix":
        return
    if found.st_uid != os.geteuid():
        raise RefusedFile(
            f"{path} belongs to another user, who could read and change your turns. It is left as it is; turns "
            "are kept in memory. Choose another file: %chatglm_config store=FILE"
        )
    if found.st_mode & 0o022 and _has_file_modes(path.parent):
        raise RefusedFile(
            f"{path} can be written to by other users. It is left as it is; turns are kept in memory. If its "
            f"content is yours, type !chmod 600 {shlex.quote(str(path))} and restart the kernel. Otherwise choose "
            "another file: %chatglm_config store=FILE"
        )
    if found.st_mode & 0o077 and os.access(path.parent, os.W_OK):
        path.chmod(0o600)


def _has_file_modes(folder: Path) -> bool:
    """Tell whether files in a folder have modes of their own: on some mounted disks all have one and the same."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        return not os.fstat(file.fileno()).st_mode & 0o022
