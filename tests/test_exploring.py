"""A sweep and a lens in a live kernel: as widgets once, or static where widgets are unwanted or missing."""

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
CALLS = {"sweep": "sweep('p', temperature=[0.1, 0.9])", "lens": "lens('p')"}
HIDE = "import sys\nhidden = sys.modules.get('ipywidgets')\nsys.modules['ipywidgets'] = None"
BACK = "sys.modules.pop('ipywidgets')\nif hidden is not None: sys.modules['ipywidgets'] = hidden"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A server that gives two tokens with their probabilities."""
    with ScriptedServer(ANSWER) as server:
        yield server


@pytest.fixture(scope="module")
def kernel(server: ScriptedServer) -> Iterator[Kernel]:
    """A kernel with the extension, which asks there and keeps its turns in memory."""
    with Kernel() as kernel:
        kernel.run("%load_ext chatglm_magic\nimport os\nfrom chatglm_magic import get_session, lens, sweep")
        ran = kernel.run(f"get_session().settings.endpoint_url = {server.url + 'v1'!r}\n%chatglm_config store=off")
        assert ran.error is None
        kernel.run("kept = sweep('p', show=False)\nseen = lens('p', show=False)")
        yield kernel


def shown(ran: Ran) -> list[dict[str, Any]]:
    """Return the outputs of a cell that stay: displays and its value."""
    assert ran.error is None, ran.error
    return [content["data"] for content in ran.of("display_data", "execute_result")]


@pytest.mark.parametrize("code", [SWEEP, LENS, *CALLS.values()])
def test_it_is_shown_as_widgets_and_its_value_not_once_more(kernel: Kernel, code: str) -> None:
    """One view of widgets, and no value beneath it; in another cell the value is shown as a value."""
    ran = kernel.run(code)
    assert [VIEW in data for data in shown(ran)].count(True) == 1
    assert ran.of("execute_result") == []
    for value in ("kept", "seen"):
        (data,) = shown(kernel.run(f"{value}.wait() if hasattr({value}, 'wait') else {value}"))
        assert VIEW not in data and "running" not in data["text/plain"]


@pytest.mark.parametrize("code", [SWEEP, LENS, *CALLS.values()])
def test_with_final_outputs_it_is_static_and_whole(kernel: Kernel, code: str) -> None:
    """CHATGLM_MAGIC_RENDER=final: the cell waits, and shows the value once, without widgets."""
    kernel.run("os.environ['CHATGLM_MAGIC_RENDER'] = 'final'")
    outputs = shown(kernel.run(code))
    kernel.run("del os.environ['CHATGLM_MAGIC_RENDER']")
    assert len(outputs) == 1 and VIEW not in outputs[0] and "text/html" in outputs[0]
    assert "running" not in outputs[0]["text/plain"]


@pytest.mark.parametrize("code", [SWEEP, LENS, *CALLS.values()])
def test_without_ipywidgets_it_is_static_and_whole(kernel: Kernel, code: str) -> None:
    """The same, and no error."""
    kernel.run(HIDE)
    outputs = shown(kernel.run(code))
    kernel.run(BACK)
    assert len(outputs) == 1 and VIEW not in outputs[0] and "text/html" in outputs[0]
    assert "running" not in outputs[0]["text/plain"]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_to_be_shown_is_a_value_alone(kernel: Kernel, name: str) -> None:
    """``show=False``: the call returns when all is there, and shows nothing by itself."""
    code = CALLS[name][:-1] + ", show=False)"
    assert shown(kernel.run(f"found = {code}\nassert len(found) == 2")) == []
    (only,) = shown(kernel.run("found"))
    assert VIEW not in only and "text/html" in only
