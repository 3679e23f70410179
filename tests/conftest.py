"""What all tests share: a clean environment, and a session of its own for each test."""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from chatglm_magic.session.session import end_session

from .support.scale import ALL_KERNELS, begin_with_heavy

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

KEYS = (
    *("CHATGLM_API_KEY", "CHATGLM_ENDPOINT_URL", "CHATGLM_MAGIC_RENDER", "ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "CHATGLM_MAGIC_TAPE_MODE"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the turns of all tests, and of the kernels they start, in a folder of their own.

    A shell's background job ignores interrupts, and so would all that is started here.
    """
    # jsonschema checks IRIs with it, of which a notebook's schema has none, and its import takes two seconds.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    home = tempfile.TemporaryDirectory(prefix="chatglm-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["CHATGLM_MAGIC_HOME"] = home.name
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let one row be run by its code: ``pytest --row D18``."""
    parser.addoption(
        "--row", action="append", default=[], help="run the tests of this row of tests/rows.toml alone"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what ``.ci/matrix`` does and rows that are not wanted; sort the others."""
    if not ALL_KERNELS:
        items[:] = [item for item in items if item.get_closest_marker("matrix") is None]
    if wanted := set(config.getoption("--row")):
        items[:] = [item for item in items if wanted & {c for m in item.iter_markers("row") for c in m.args}]
    begin_with_heavy(items)


def pytest_collection_finish() -> None:
    """Leave what is imported by now out of all later collections of garbage, which so take a millisecond."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def all_garbage_of_a_file() -> Iterator[None]:
    """Collect all garbage at the end of a file of tests: what it left open is then an error of that file."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def all_garbage_of_a_test() -> Iterator[None]:
    """Collect the young garbage at the end of a test. By its name it is made first, and so ends last."""
    yield
    gc.collect(1)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what a person's shell may have set out of the tests."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def own_session() -> Iterator[None]:
    """End the process' session, so that no test sees another's conversation."""
    yield
    end_session()


@pytest.fixture(autouse=True)
def own_widgets() -> Iterator[None]:
    """Close all widgets, which ipywidgets would keep, and a later test would look through."""
    yield
    if "ipywidgets" in sys.modules:
        sys.modules["ipywidgets"].Widget.close_all()


@pytest.fixture(scope="module")
def shared_shell() -> InteractiveShell:
    """Return the process' IPython shell, without a history of its own; the extension is not loaded."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.testing.globalipapp import start_ipython

    shell: InteractiveShell = start_ipython() or InteractiveShell.instance()
    shell.history_manager.enabled = False
    return shell


@pytest.fixture
def shell(shared_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell with the extension, which goes with the test and leaves no variable."""
    shared_shell.run_line_magic("load_ext", "chatglm_magic")
    yield shared_shell
    shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    shared_shell.reset(new_session=False)
