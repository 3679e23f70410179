"""What the rows share: a shorter patience than other tests, and an ear for the attempts that no server sees."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.fault_requests import Heard

PATIENCE = 30
"""Seconds after which a row counts as hanging."""

_heard: Heard | None = None


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard is not None and event == "socket.connect":
        _heard.connects.append(arguments[1])
    elif _heard is not None and event == "socket.getaddrinfo":
        _heard.names.append(arguments[0])


sys.addaudithook(_hear)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row that hangs has failed."""
    for item in items:
        if "tests/faults/" in item.nodeid:
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What Python's own audit events tell of connections."""
    global _heard
    _heard = Heard()
    yield _heard
    _heard = None
