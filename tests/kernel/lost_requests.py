"""Show whether an ipykernel loses a request that arrives while a reply leaves; this package takes no part.

ipykernel 7.0 to 7.3 read the shell channel's socket through a ``ZMQStream``, and send replies on the same socket
past that stream. libzmq signals an arrival once, and a send consumes the signal. If a request arrives after the
event loop has polled its sockets and before it sends a reply, nothing wakes the loop again: the request stays in
the socket, every thread of the kernel waits in ``select``, and the client waits for a kernel that seems to hang.
6.x and 7.4 send through the stream (https://github.com/ipython/ipykernel/pull/1529).

``python -m tests.kernel.lost_requests [VERSION ...]`` forces that order in each version and exits with 1 if an
extra in ``pyproject.toml`` allows a version that loses the request, or excludes one that answers it.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from queue import Empty
from typing import Any

from packaging.requirements import Requirement

from ..support import packages
from ..support.kernels import Kernel

BROKEN = ("7.0.1", "7.1.0", "7.2.0", "7.3.0")
SOUND = ("6.30.1", "7.4.0")
REPLY_TIMEOUT_SECONDS = 30.0
"""After which a request counts as lost; one that isn't lost is answered within milliseconds."""

PREPARE = """
import select, zmq

kernel = get_ipython().kernel
channel = getattr(kernel, "shell_channel_thread", None)

def hold():
    "Have the shell channel's thread poll with only a reply there, and stop it until a request is there too."
    if channel is None:
        print("held")  # ipykernel 6: the main thread sends replies itself
    else:
        channel.io_loop.asyncio_loop.call_soon_threadsafe(wait_for_reply)

def wait_for_reply():
    channel.io_loop.asyncio_loop.call_soon(wait_for_request)  # after the poll, before what the poll has found
    wait_for(channel.manager._main_to_shell_channel.to_stream.socket)

def wait_for_request():
    print("held", flush=True)
    wait_for(kernel.shell_stream.socket)

def wait_for(socket):
    "Wait until a socket signals an arrival, without consuming the signal."
    select.select([socket.getsockopt(zmq.FD)], [], [], 20)

channel and channel.manager._main_to_shell_channel.to_stream  # an error here: ipykernel has other sockets now
"""


def loses_request(**environment: str) -> bool:
    """Start a kernel, and send it a request at the moment between its poll and its reply to the one before.

    :param environment: variables for the kernel, such as a ``PYTHONPATH`` with another ipykernel.
    :raises AssertionError: if the order could not be forced.
    """
    with Kernel(**environment) as kernel:
        prepared = kernel.run(PREPARE)
        assert prepared.error is None, prepared.error
        kernel.send("hold()")
        kernel.until("stream")
        request = kernel.send("pass")
        try:
            kernel.wait(request, REPLY_TIMEOUT_SECONDS)
        except Empty:
            return True
        return False


def read_requirements() -> dict[str, Requirement]:
    """Return what each extra requires of ipykernel, by the extra's name."""
    project: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    return {
        extra: requirement
        for extra, lines in project["optional-dependencies"].items()
        for requirement in map(Requirement, lines)
        if requirement.name == "ipykernel"
    }


def main(versions: list[str]) -> int:
    """Print what each version does; return 1 if an extra's bounds disagree with it."""
    disagreements = 0
    try:
        for version in versions:
            lost = loses_request(PYTHONPATH=packages.python_path(packages.install(f"ipykernel=={version}")))
            wrong = [
                name for name, item in read_requirements().items() if item.specifier.contains(version) == lost
            ]
            disagreements += len(wrong)
            verdict = f", and the extras {wrong} disagree" if wrong else ""
            print(f"ipykernel {version}: {'loses the request' if lost else 'answers it'}{verdict}", flush=True)
    finally:
        packages.remove_all()
    return min(disagreements, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*BROKEN, *SOUND]))
