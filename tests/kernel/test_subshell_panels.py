"""A panel of a cell, whose clicks come to the subshell that JupyterLab has made for widgets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..support.kernel_requests import evaluate, point_at, read_turns
from ..support.pages import Page, View
from ..support.servers import Asked, ScriptedServer, chunk, sse
from ..support.ticking import make_text, make_words, read_prompt, telling
from .conftest import installed

pytestmark = pytest.mark.heavy


@contextmanager
def open_panel(page: Page, server: ScriptedServer) -> Iterator[View]:
    """Show a panel in a new conversation, and close it at the end."""
    point_at(page, server)
    ran = page.run("from chatglm_magic import panel\nshown = panel()\nshown")
    assert ran.error is None, ran.error
    yield page.view(ran)
    assert page.run("shown.close()").error is None


def wait_for_answer(view: View, prompt: str) -> None:
    """Wait until the panel shows the whole answer to a prompt and is free again."""
    view.page.until_true(lambda: view.holding(make_text(prompt)) and not view.busy, of=view.text[-500:])


@installed
@pytest.mark.row("D7")
def test_clicks_in_a_subshell_are_handled_while_a_cell_runs(page: Page) -> None:
    """Three clicks on Send cause one request, which is answered before the running cell ends."""
    with ScriptedServer(telling()) as server, open_panel(page, server) as view:
        running = page.send("import threading; gate = threading.Event(); assert gate.wait(60)")
        page.until("execute_input")
        view.send("q1", times=3)
        wait_for_answer(view, "q1")
        page.run_in_subshell("gate.set()")
        assert page.wait(running).error is None
        assert len(server.posts) == 1
        assert evaluate(page, "[t.prompt for t in get_session().turns]") == ["q1"]


@installed
@pytest.mark.row("D8")
def test_a_click_in_a_subshell_is_answered_while_a_magic_streams(page: Page) -> None:
    """The panel's answer comes before the cell's ends; both are whole, and turns keep the order of requests."""
    answered: dict[str, threading.Event] = {f"c{number}": threading.Event() for number in range(10)}

    def script(connection: socket.socket, asked: Asked) -> None:
        prompt = read_prompt(asked)
        events = [chunk(word) for word in make_words(prompt)]
        sse([*events, chunk(None, finish_reason="stop")], hold=answered.get(prompt))(connection, asked)

    with ScriptedServer(script) as server, open_panel(page, server) as view:
        for number in range(10):
            running = page.send(f"%chatglm c{number}")
            page.until("display_data")
            view.send(f"p{number}")
            wait_for_answer(view, f"p{number}")
            answered[f"c{number}"].set()
            assert page.wait(running).displays == [make_text(f"c{number}")]
        prompts = [f"{who}{number}" for number in range(10) for who in "cp"]
        assert [read_prompt(post) for post in server.posts] == prompts
        assert read_turns(page) == [["complete", prompt, make_text(prompt)] for prompt in prompts]
