"""What kind of disk a file lies on: that decides which journal it can have."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .schema import Journal

NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "9p", "afs", "coda", "ncpfs", "ceph", "glusterfs", "lustre"),
    *("beegfs", "gpfs", "pvfs2", "panfs", "davfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"),
    *("fuse.rclone", "fuse.gcsfuse", "fuse.davfs2", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.juicefs"),
}
"""Kinds of file system that several machines can use at once: their shared memory is none."""


def journal_for(path: Path, mounts: Path = Path("/proc/self/mounts")) -> Journal:
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
        point = _unescaped(fields[1])
        if place == point or place.startswith(point.rstrip("/") + "/"):
            kind = fields[2]  # what is mounted later hides what was there
    return "delete" if kind in NETWORK else "wal"


def _unescaped(text: str) -> str:
    r"""Return a path of the table of mounts, where a blank is ``\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
