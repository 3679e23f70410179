"""The browser tests need Debian's Chromium: under ``CI=true`` its absence is a failure, elsewhere a skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from ..support.lab import Lab

pytestmark = pytest.mark.browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    try:
        from ..support.lab import browser, chromium
    except ImportError:
        found = None
    else:
        found = chromium()
    if found is None:
        message = "needs Debian's package chromium and Python's playwright"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    with browser() as started:
        yield started


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Lab]:
    from ..support.lab import Lab

    started = Lab(tmp_path_factory.mktemp("lab"))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def dark(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Lab]:
    """JupyterLab in its dark theme."""
    from ..support.lab import Lab

    started = Lab(tmp_path_factory.mktemp("dark"), theme="JupyterLab Dark")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def seven(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Lab]:
    """Notebook 7, which shows the same notebooks in a page of its own."""
    pytest.importorskip("notebook", reason="needs Notebook 7")
    from ..support.lab import Lab

    started = Lab(tmp_path_factory.mktemp("seven"), app="notebook")
    yield started
    started.stop()


@pytest.fixture(params=["lab", "seven"])
def app(request: pytest.FixtureRequest) -> Lab:
    """JupyterLab, then Notebook 7."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def page(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)  # a page on a busy machine is slow to be drawn
    failed_before = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed_before:
        page.screenshot(path=str(tmp_path / "failed.png"))
        print(f"what the page showed: {tmp_path / 'failed.png'}")
    context.close()
