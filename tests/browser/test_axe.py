"""axe-core finds no fault in anything that is shown, in JupyterLab's light and dark themes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.axe import violations
from ..support.servers import ScriptedServer, answer, by_body, reply

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ..support.lab import Lab

pytestmark = pytest.mark.heavy

RICH = "# Title\n\n**bold** [link](https://example.com)\n\n```python\nx = 1\n```\n\n| a |\n|---|\n| 1 |"


@pytest.fixture(params=["lab", "dark"])
def themed(request: pytest.FixtureRequest) -> Lab:
    """JupyterLab in its light theme, then in its dark one."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_a_fault_is_found(page: Page) -> None:
    """Control: a picture without a text and pale letters are told of."""
    page.set_content("<main><img src='x'><p style='color: #ccc; background: #fff'>pale</p></main>")
    found = " ".join(violations(page, "main"))
    assert "image-alt" in found and "color-contrast" in found


def test_the_panel(themed: Lab, page: Page) -> None:
    """With a conversation, an error, a refused number, an edited prompt, live columns, all settings unfolded."""
    from ..support.lab import Notebook

    with ScriptedServer(answer(RICH), reply({"error": {"message": "no"}}, status=500), answer("ok")) as server:
        start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'"
        notebook = Notebook(page, themed.write("axe-panel.ipynb", start, "%chatglm_panel"))
        notebook.run(0)
        shown = notebook.run(1)
        prompt = shown.get_by_role("textbox", name="Prompt", exact=True)
        send = shown.get_by_role("button", name="Send", exact=True)
        send.wait_for()
        assert violations(page, ".chatglm-panel") == []
        prompt.fill("hi")
        prompt.press("Enter")
        shown.get_by_role("button", name="Again").wait_for()
        prompt.fill("fails")
        prompt.press("Enter")
        shown.get_by_role("alert").first.wait_for()
        shown.get_by_text("Details", exact=True).first.click()
        shown.get_by_role("textbox", name="Temperature", exact=True).fill("50")
        page.keyboard.press("Enter")
        shown.get_by_text("Temperature must be").wait_for()
        for title in ("More sampling", "System prompt", "Thinking, seed, stop", "Server"):
            shown.get_by_text(title, exact=True).first.click()
        shown.locator(".chatglm-user").first.hover()
        shown.get_by_role("button", name="Edit").first.click()
        for menu in ("Code ▾", "⋯"):
            shown.get_by_text(menu).click()
            assert violations(page, ".chatglm-panel") == []
        shown.get_by_role("checkbox", name="Live").check()
        prompt.fill("live")
        prompt.press("Enter")
        shown.locator(".chatglm-lanes .chatglm-message").first.wait_for()
        shown.get_by_role("textbox", name="Top-p", exact=True).fill("0.5")
        page.keyboard.press("Enter")
        shown.locator(".chatglm-lanes .chatglm-message").nth(1).wait_for()
        assert violations(page, ".chatglm-panel") == []


def test_answers_of_cells_and_the_history(themed: Lab, page: Page) -> None:
    """A rich answer and an error; conversations, a search's turns with one opened, filters, and a selection."""
    from ..support.lab import Notebook

    with ScriptedServer(answer(RICH), reply({"error": {"message": "no"}}, status=500), answer("ok")) as server:
        start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'"
        cells = (start, "%chatglm hi", "%chatglm fails", "%chatglm_history --view")
        notebook = Notebook(page, themed.write("axe-history.ipynb", *cells))
        for number in range(3):
            notebook.run(number)
        for number in (1, 2):
            assert violations(page, f".jp-Cell:nth-of-type({number + 1}) .jp-OutputArea") == []
        shown = notebook.run(3)
        shown.locator(".chatglm-item").first.wait_for()
        assert violations(page, ".chatglm-viewer") == []
        shown.get_by_role("textbox", name="Search", exact=True).fill("hi")
        shown.locator(".chatglm-snippet mark, .chatglm-item mark").first.wait_for()
        shown.locator(".chatglm-item button").first.click()
        shown.locator("article").first.wait_for()
        shown.get_by_role("button", name="Filters", exact=True).click()
        shown.locator(".chatglm-item input[type=checkbox]").first.check()
        shown.get_by_role("button", name="Export").first.wait_for()
        assert violations(page, ".chatglm-viewer") == []


def test_sweeps_and_the_lens(themed: Lab, page: Page) -> None:
    """A grid that is done with two cells compared; an answer's tokens, with a number that is refused."""
    from ..support.lab import Notebook

    sweep = "%%chatglm_sweep temperature=0.1,2 top_p=0.5,1 --samples 2 -o calm\nHow is the sea?"
    calm = by_body(lambda body: answer(f"The sea is calm at {body['temperature']}."))
    with ScriptedServer(calm) as server:
        start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'"
        cells = (start, sweep, "%chatglm_serve", "%chatglm_lens -t 1 What is love?")
        notebook = Notebook(page, themed.write("axe-explore.ipynb", *cells))
        for number in range(4):
            notebook.run(number)
        grid, lens = notebook.cell(1), notebook.cell(3)
        grid.get_by_text("8 answers").first.wait_for()
        assert violations(page, ".chatglm-explorer") == []
        grid.locator('button[title="temperature 0.1, top_p 1"]').click()
        grid.get_by_role("button", name="Pin as baseline").click()
        grid.locator('button[title="temperature 2, top_p 1"]').click()
        grid.get_by_text("Differences highlighted").first.wait_for()
        assert violations(page, ".chatglm-explorer") == []
    lens.get_by_role("option").nth(3).wait_for()
    assert violations(page, ".chatglm-lens") == []
    lens.get_by_role("spinbutton", name="top_p", exact=True).fill("0.8")
    page.keyboard.press("Tab")
    lens.get_by_text("cut", exact=True).first.wait_for()
    lens.get_by_role("option").nth(3).hover()
    assert violations(page, ".chatglm-lens") == []
