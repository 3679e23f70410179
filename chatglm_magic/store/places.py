"""The path of the store's file, its creation and its permissions."""

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
"""Endings of the files that belong to a database; without its WAL it may lack its newest rows."""


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file, which change if it is replaced; None if it doesn't exist."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def move_aside(path: Path, identity: tuple[int, int]) -> Path | None:
    """Rename a damaged file, and the files SQLite keeps beside it, to a new name; return that name.

    :param identity: of the damaged file.
    :returns: None, with nothing renamed, if another process has replaced the file already.
    :raises OSError: if it can't be renamed.
    """
    with _folder_lock(path.parent):
        if file_identity(path) != identity:
            return None
        number = 1
        while any(os.path.lexists(_quarantine_path(path, number, name)) for name in FILE_SUFFIXES):
            number += 1
        for name in reversed(FILE_SUFFIXES):  # the WAL before its database, so that no new database adopts it
            with suppress(FileNotFoundError):
                path.with_name(path.name + name).rename(_quarantine_path(path, number, name))
        return _quarantine_path(path, number, "")


def _quarantine_path(path: Path, number: int, companion: str) -> Path:
    return path.with_name(f"{path.name}.corrupt-{number}{companion}")


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that rename files in it; do nothing where locks are missing."""
    try:
        import fcntl
    except ImportError:  # Windows doesn't rename open files
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


NETWORK_FILE_SYSTEMS = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "9p", "afs", "coda", "ncpfs", "ceph", "glusterfs", "lustre"),
    *("beegfs", "gpfs", "pvfs2", "panfs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"),
    *("fuse.rclone", "fuse.gcsfuse", "fuse.davfs2", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.juicefs"),
}
"""File systems that several machines may use at once, without the shared memory that WAL needs."""


def journal_mode_for(path: Path, mounts: Path = Path("/proc/self/mounts")) -> Journal:
    """Return the journal mode for a file: ``delete`` on a network file system, else ``wal``.

    :param mounts: the table of mounts; without one, every file system counts as local.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return "wal"
    real_path = os.path.realpath(path)
    kind = ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1])
        if real_path == point or real_path.startswith(point.rstrip("/") + "/"):
            kind = fields[2]  # a later mount hides earlier ones
    return "delete" if kind in NETWORK_FILE_SYSTEMS else "wal"


def _unescape(text: str) -> str:
    r"""Decode a path of the table of mounts, where a space is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


FILE_NAME = "history.sqlite"


class RefusedFile(Exception):
    """A file that must not be used; the message says why and what to do."""


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
    if folder := os.environ.get("JUPYTER_DATA_DIR"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "jupyter"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "jupyter"


def create_file(path: Path) -> bool:
    """Create the file, private to its owner from the start, unless it exists; return whether it is new.

    New folders are private too; existing ones are left unchanged. An existing file is checked without opening it:
    closing a file releases all locks that this process holds on it, including SQLite's.

    :raises OSError: if it can't be created, or isn't a regular file.
    :raises RefusedFile: if it belongs to another user, or others can write to it.
    """
    _make_folders(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        os.close(os.open(path, flags, 0o600))
        return True
    except FileExistsError:
        pass
    make_private(path)
    return False


def make_private(path: Path) -> None:
    """Make an existing file, and the files SQLite keeps beside it, private to its owner.

    :raises OSError: if one of them isn't a regular file.
    :raises RefusedFile: if one belongs to another user, or others can write to it.
    """
    for name in FILE_SUFFIXES:
        with suppress(FileNotFoundError):
            _make_private(path.with_name(path.name + name))


def is_read_only(path: Path) -> bool:
    """Return whether a file exists in a folder where SQLite can't create the files it needs beside it.

    False if SQLite left a WAL there, which must be read too.
    """
    return (
        path.is_file() and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    )


def _make_folders(folder: Path) -> None:
    """Create missing folders; ``Path.mkdir`` would apply its mode only to the last one."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        with suppress(FileExistsError):  # another process was faster; if a file has this name, the next step fails
            folder.mkdir(mode=0o700)


def _make_private(path: Path) -> None:
    """Remove other users' permissions from an existing file.

    :raises OSError: if it is a link, a device or a folder.
    :raises RefusedFile: if it belongs to another user, or others can write to it.
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it isn't a file", str(path))
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise RefusedFile(
            f"{path} belongs to another user, who could read and change your turns. It is left as it is; turns "
            "are kept in memory. Choose another file: %chatglm_config store=FILE"
        )
    if status.st_mode & 0o022 and _has_file_modes(path.parent):
        raise RefusedFile(
            f"{path} can be written to by other users. It is left as it is; turns are kept in memory. If its "
            f"content is yours, type !chmod 600 {shlex.quote(str(path))} and restart the kernel. Otherwise choose "
            "another file: %chatglm_config store=FILE"
        )
    if status.st_mode & 0o077 and os.access(path.parent, os.W_OK):
        path.chmod(0o600)


def _has_file_modes(folder: Path) -> bool:
    """Return whether files in a folder have modes of their own: on some mounts all have the same mode."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        return not os.fstat(file.fileno()).st_mode & 0o022
