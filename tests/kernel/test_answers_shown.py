"""How answers, stored turns and status cards are displayed in a live kernel, and how a key is typed there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.answer_formats import PIECES, PLAIN, TEXT, WHOLE
from ..support.kernel_requests import point_at
from ..support.kernels import Ran
from ..support.pages import Page
from ..support.servers import ScriptedServer, answer, chunk, sse
from .conftest import installed

pytestmark = pytest.mark.heavy


def frames(ran: Ran) -> list[dict[str, Any]]:
    """Return each display and update of a cell, in order; all must be of one output."""
    assert ran.error is None, ran.error
    shown = ran.of("display_data", "update_display_data", "execute_result")
    assert len({content.get("transient", {}).get("display_id") for content in shown}) == 1
    return [content["data"] for content in shown]


@pytest.fixture(params=["live", "final"])
def display(request: pytest.FixtureRequest, page: Page) -> Iterator[str]:
    """Show answers as a reader gets them, and as a notebook under test does: with CHATGLM_MAGIC_RENDER=final."""
    if request.param == "final":
        page.run("import os; os.environ['CHATGLM_MAGIC_RENDER'] = 'final'")
    yield request.param
    page.run("import os; os.environ.pop('CHATGLM_MAGIC_RENDER', None)")


@installed
@pytest.mark.parametrize("form", PLAIN)
def test_each_format_is_displayed_once(page: Page, display: str, form: str) -> None:
    """The cell has one output, the answer in that form; only ``rich`` has HTML."""
    with ScriptedServer(answer(*PIECES)) as server:
        point_at(page, server)
        last = frames(page.run(f"%chatglm -f {form} Show me."))[-1]
        assert last["text/plain"] == PLAIN[form]
        assert ("text/html" in last) == (form == "rich")


@installed
@pytest.mark.parametrize("form", PLAIN)
def test_what_is_displayed_while_an_answer_comes(page: Page, display: str, form: str) -> None:
    """Text grows in place; what needs the whole answer, --no-stream and a notebook under test wait for its end."""
    hold = threading.Event()
    for options, grows in (("", display == "live" and form not in WHOLE), ("--no-stream", False)):
        hold.clear()
        stream = sse([chunk(PIECES[0]), chunk(PIECES[1]), chunk(None, finish_reason="stop")], hold=hold)
        with ScriptedServer(stream) as server:
            point_at(page, server)
            running = page.send(f"%chatglm {options} -f {form} Show me.")
            if grows:
                assert page.until("display_data")["data"]["text/plain"].startswith(PIECES[0])
            else:
                page.until_true(lambda server=server: server.posts)
            hold.set()
            shown = frames(page.wait(running))
        assert shown[-1]["text/plain"] == PLAIN[form]
        assert (len(shown) > 1) == grows, (options, shown)


@installed
def test_a_stored_turn_is_displayed_as_its_answer_was(page: Page, display: str) -> None:
    """``%chatglm_history --show N`` displays prompt and answer, with HTML, and the facts as metadata."""
    with ScriptedServer(answer(*PIECES), answer("ok")) as server:
        point_at(page, server)
        page.run("%chatglm Show <me>.")
        page.run("%chatglm second")
        (content,) = page.run("%chatglm_history --show 1").of("display_data", "execute_result")
        assert content["data"]["text/plain"] == f"Show <me>.\n\n{TEXT}"
        assert "Show &lt;me&gt;." in content["data"]["text/html"]
        assert "<strong>this</strong>" in content["data"]["text/html"]
        assert content["metadata"]["chatglm"]["status"] == "complete"
        ran = page.run("%chatglm_history --show 3")
        assert (
            ran.error is not None
            and "Turn 3 doesn't exist" in ran.error["evalue"]
            and len(ran.error["traceback"]) == 1
        )


@installed
def test_the_status_card_is_displayed_as_a_table(page: Page, display: str) -> None:
    """``%chatglm`` and ``%chatglm_config`` alone display a table, which names the endpoint."""
    with ScriptedServer(answer("ok")) as server:
        point_at(page, server)
        for line in ("%chatglm", "%chatglm_config"):
            (data,) = frames(page.run(line))
            assert server.url in data["text/plain"] and "<table>" in data["text/html"]


@installed
def test_a_key_is_typed_where_the_front_end_asks_for_it(page: Page) -> None:
    """``%chatglm_config api_key`` asks for it as a password; the server receives it, and no output contains it."""
    with ScriptedServer(answer("ok")) as server:
        point_at(page, server)
        running = page.send("%chatglm_config api_key", allow_stdin=True)
        asked = page.client.get_stdin_msg(timeout=30)
        assert asked["content"]["password"] is True
        page.client.input("sk-typed-0123456789abcdef")
        ran = page.wait(running)
        assert ran.error is None and "key is set" in ran.text
        page.run("%chatglm hi")
        assert server.posts[0].headers["authorization"] == "Bearer sk-typed-0123456789abcdef"
        assert not [heard for heard in page.heard if "sk-typed" in str(heard.message["content"])]
        running = page.send("%chatglm_config api_key", allow_stdin=True)
        page.client.get_stdin_msg(timeout=30)
        page.client.input("")
        assert "No key is set" in page.wait(running).text


@installed
def test_the_first_turn_says_where_turns_are_kept(page: Page, display: str) -> None:
    """Once per store, in a dim line; a notebook under test, whose outputs are compared, isn't told."""
    with ScriptedServer(answer("ok")) as server:
        point_at(page, server)
        home = page.home / display
        page.run(f"%chatglm_config store={home}")
        first, second = (page.run("%chatglm hi") for _ in range(2))
        page.run("%chatglm_config store=none")
        assert first.text == second.text == "" and second.displays == ["ok"]
        if display == "live":
            note = first.of("display_data")[-1]["data"]
            assert (
                str(home / "history.sqlite") in note["text/plain"]
                and "color:var(--jp-ui-font-color2" in note["text/html"]
            )
        else:
            assert first.displays == ["ok"]
