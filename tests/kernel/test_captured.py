"""Row H17: answers where a display can't be replaced later: captured, in an Output widget, in a console."""

from __future__ import annotations

import sys
import threading

import pytest

from ..support.kernel_requests import point_at
from ..support.pages import Page
from ..support.servers import ScriptedServer, answer
from .conftest import installed

pytestmark = pytest.mark.heavy

PIECES = ("The ", "sea ", "is ", "blue.")
WHOLE = "".join(PIECES)

CAPTURED = {
    "%%capture": "%%capture found\n%chatglm hi",
    "%%capture of a cell": "%%capture found\nanswer = get_ipython().run_cell_magic('chatglm', '', 'hi')",
    "capture_output": "from IPython.utils.capture import capture_output\n"
    "with capture_output() as found:\n    %chatglm hi",
}


@installed
@pytest.mark.row("H17")
@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_answer_is_one_whole_output(page: Page, name: str) -> None:
    """Not its first frame, and not a frame for each."""
    with ScriptedServer(answer(*PIECES, pause=0.1)) as server:
        point_at(page, server)
        assert page.run(CAPTURED[name]).error is None
        ran = page.run("print([output.data['text/plain'] for output in found.outputs])")
        assert ran.text == f"{[WHOLE]}\n"


WIDGETS = {
    "Output": "out = ipywidgets.Output()\nwith out:\n    %chatglm hi",
    "interact": "def ask(n):\n    %chatglm hi\nwidget = ipywidgets.interactive(ask, n=3)",
}


@installed
@pytest.mark.row("H17")
@pytest.mark.parametrize("name", WIDGETS)
def test_an_answer_in_an_output_widget_is_one_whole_display(page: Page, name: str) -> None:
    """The widget takes displays, and no updates of them; outside of it the answer grows as ever."""
    with ScriptedServer(answer(*PIECES, pause=0.1)) as server:
        point_at(page, server)
        ran = page.run(f"import ipywidgets\n{WIDGETS[name]}")
        assert ran.error is None, ran.error
        shown = [content["data"]["text/plain"] for content in ran.of("display_data", "update_display_data")]
        assert [text for text in shown if "The" in text] == [WHOLE]
        growing = page.run("%chatglm hi").of("display_data", "update_display_data")
        assert len(growing) > 1 and growing[-1]["data"]["text/plain"] == WHOLE


@pytest.mark.row("H17")
@pytest.mark.skipif(sys.platform == "win32", reason="pexpect needs a pseudo-terminal")
def test_an_answer_grows_in_jupyter_console() -> None:
    """The real one, which shows no update of a display: the text streams, whole and once."""
    pexpect = pytest.importorskip("pexpect")
    hold = threading.Event()
    with ScriptedServer(answer("quiet"), answer(*PIECES, hold=hold)) as server:
        console = pexpect.spawn(
            sys.executable,
            ["-m", "jupyter_console", "--simple-prompt"],
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
        )
        for number, line in enumerate(
            [
                "%load_ext chatglm_magic",
                f"%config ChatGLMSettings.endpoint_url='{server.url}v1'",
                "x = %chatglm -q hi",
            ]
        ):
            console.expect(rf"In \[{number + 1}\]: ")
            console.sendline(line)
        console.expect(r"In \[4\]: ")
        console.sendline("%chatglm hello")
        console.expect_exact("The sea is blue")  # before the server has sent its end
        hold.set()
        console.expect(r"In \[5\]: ")
        assert "The" not in console.before and "quiet" not in console.before, console.before
        console.close(force=True)
