"""What the rows share: the built-in model behind its real server, and less patience than other tests have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatglm_magic import LocalServer

PATIENCE = 30
"""Seconds after which a row counts as hanging."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row that hangs has failed."""
    for item in items:
        if "tests/surface/" in item.nodeid:
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def local() -> Iterator[LocalServer]:
    """The local server with the built-in model."""
    pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')
    with LocalServer() as server:
        yield server
