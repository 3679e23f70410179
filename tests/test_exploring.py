"""A sweep and a lens in a live kernel: what a cell displays, it does not display once more as its value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .support.kernels import Kernel, Ran
from .support.logprobs import ANSWER
from .support.servers import ScriptedServer

pytestmark = pytest.mark.heavy

VIEW = "application/vnd.jupyter.widget-view+json"
SWEEP = "%%chatglm_sweep temperature=0.1,0.9 --samples 2 -o kept\nName a colour."
LENS = "%chatglm_lens -o seen hi"
CALLS = ("sweep('p', temperature=[0.1, 0.9])", "lens('p')")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that gives two tokens with their probabilities."""
    with ScriptedServer(ANSWER) as server:
        yield server


@pytest.fixture(scope="module")
def kernel(server: ScriptedServer) -> Iterator[Kernel]:
    """A kernel with the extension, which asks there and keeps its turns in memory."""
    with Kernel() as kernel:
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session, lens, sweep")
        ran = kernel.run(f"get_session().settings.endpoint_url = {server.url + 'v1'!r}\n%chatglm_config store=off")
        assert ran.error is None
        kernel.run("kept = sweep('p', show=False)\nseen = lens('p', show=False)")
        yield kernel


def shown(ran: Ran) -> list[dict[str, Any]]:
    """Return the outputs of a cell that stay: displays and its value."""
    assert ran.error is None, ran.error
    return [content["data"] for content in ran.of("display_data", "execute_result")]


@pytest.mark.parametrize("code", [SWEEP, LENS, *CALLS])
def test_it_is_shown_as_widgets_and_its_value_not_once_more(kernel: Kernel, code: str) -> None:
    """One view of widgets, and no value beneath it; in another cell the value is shown as a value."""
    ran = kernel.run(code)
    assert [VIEW in data for data in shown(ran)].count(True) == 1
    assert ran.of("execute_result") == []
    for value in ("kept", "seen"):
        (data,) = shown(kernel.run(f"{value}.wait() if hasattr({value}, 'wait') else {value}"))
        assert VIEW not in data and "running" not in data["text/plain"]
