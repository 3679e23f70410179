"""Kernels of each version with a page open on them, kept for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support import packages
from ..support.pages import Page
from ..support.scale import ALL_KERNELS


@pytest.fixture(scope="session", autouse=True)
def _older_packages() -> Iterator[None]:
    yield
    packages.remove_all()


@pytest.fixture(scope="session", params=list(packages.KERNELS) if ALL_KERNELS else ["installed"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on a kernel of each version."""
    with Page(tmp_path_factory.mktemp("home"), request.param) as page:
        yield page


installed = pytest.mark.parametrize("page", ["installed"], indirect=True)
"""For what does not depend on the kernel's version."""
