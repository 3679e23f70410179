"""Hostile answers in real JupyterLab: nothing runs, nothing is fetched, nothing is read.

The control comes first: the same payload as raw HTML in the same page must run and be heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..support.hostile import ANSWERS, arm
from ..support.servers import ScriptedServer, legacy, reply

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ..support.lab import Lab

CONTROL = """from IPython.display import HTML, display
display(HTML("<script>window.__control=1;fetch('{beacon}control-script')</script>"
             "<img src='{beacon}control-image'>"))
print("control")"""

CONTROLS = {"/control-script", "/control-image"}

CELL = """for number in range({first}, {behind}):
    %chatglm --no-history {{{{number}}}}"""
AT_ONCE = 40  # JupyterLab folds away what a cell shows beyond 50 outputs


def test_no_hostile_answer_does_anything(lab: Lab, page: Page) -> None:
    """Every hand-written hostile answer, streamed into cells of one page: 0 scripts, 0 requests, 0 files."""
    with (
        ScriptedServer(legacy(), on_get=reply("", Access_Control_Allow_Origin="*")) as beacon,
        ScriptedServer(legacy(lambda body: hostile[int(body["prompt"])].text)) as server,
    ):
        hostile = arm(ANSWERS, beacon.url.rstrip("/"))
        starts = range(0, len(hostile), AT_ONCE)
        assert len(hostile) >= 40
        from ..support.lab import Notebook

        url = lab.write(
            "hostile.ipynb",
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}'\n"
            "%config ChatGLMSettings.store='off'",  # a new store says where it is: an output that is no answer
            CONTROL.replace("{beacon}", beacon.url),
            *(CELL.format(first=at, behind=min(at + AT_ONCE, len(hostile))) for at in starts),
        )
        notebook = Notebook(page, url)
        notebook.run(0)
        notebook.run(1)
        page.wait_for_function("window.__control === 1")
        beacon.wait_paths(CONTROLS)
        shown = 0
        for cell in range(2, 2 + len(starts)):
            notebook.run(cell)
            outputs = notebook.outputs(cell)
            shown += outputs.count()
            for number in range(0, outputs.count(), 8):
                outputs.nth(number).scroll_into_view_if_needed()
        assert shown == len(hostile)
        page.mouse.move(600, 400)
        page.wait_for_timeout(1500)
        assert page.evaluate("window.__pwned") is None
        # JupyterLab may draw the control's cell again when it scrolls back into sight: its own paths don't count.
        assert [asked.path for asked in beacon.asked if asked.path not in CONTROLS] == []
        assert (
            page.locator(".jp-OutputArea-output script, .jp-OutputArea-output iframe").count() <= 1
        )  # the control
        assert "root:x:0" not in page.content()
        code = page.locator(".jp-OutputArea-output .chatglm-answer pre", has_text="<script>")
        assert code.count() >= 1
