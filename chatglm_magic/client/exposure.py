"""Whether a server on this machine is open to others: GLM's own demo servers listen on every address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from .address import is_loopback

LISTENING = "0A"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ANY_ADDRESS = {"0" * 8, "0" * 32}


def open_to_others(url: str) -> bool:
    """Tell whether the port of a loopback URL is listened on at every address of this machine.

    Reads the kernel's table of sockets, on Linux; elsewhere, and where it can't be read, the answer is no.
    """
    if not is_loopback(url):
        return False
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return any(_listens_everywhere(table, port) for table in TABLES)


def _listens_everywhere(table: str, port: int) -> bool:
    try:
        lines = Path(table).read_text().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        fields = line.split()
        address, _, number = fields[1].rpartition(":")
        if fields[3] == LISTENING and int(number, 16) == port and address in ANY_ADDRESS:
            return True
    return False
