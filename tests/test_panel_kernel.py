"""The panel in a real kernel, driven by the messages that a page sends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .support.kernels import Kernel
from .support.servers import Asked, ScriptedServer, answer, chunk, hang, sse
from .support.transcripts import TranscriptState, action

pytestmark = pytest.mark.heavy


class Page:
    """The widgets of a kernel as a page knows them: their state by their models' ids, and the outputs."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.state: dict[str, dict[str, Any]] = {}
        self.talk: dict[str, TranscriptState] = {}
        self.outputs: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []

    def run(self, code: str) -> None:
        """Run a cell and take in all that it says."""
        message = self.kernel.send(code)
        self.until(lambda: self._idle == message)

    _idle = ""

    def until(self, true: Any, seconds: float = 20.0) -> None:
        """Take in messages until something is true."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not come about"
            try:
                message = self.kernel.client.get_iopub_msg(timeout=0.05)
            except Exception as nothing:
                assert type(nothing).__name__ == "Empty"
                continue
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            state = self.state[content["comm_id"]] = dict(content["data"].get("state", {}))
            if "messages" in state:
                self.talk[content["comm_id"]] = TranscriptState(state)
        elif kind == "comm_msg" and content["data"].get("method") == "custom":
            if content["comm_id"] in self.talk:
                self.talk[content["comm_id"]].take(content["data"]["content"])
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.state.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        elif kind in ("display_data", "update_display_data"):
            key = content["transient"].get("display_id", f"output {len(self.outputs)}")
            self.outputs[key] = content["data"]
        elif kind in ("stream", "error"):
            self.written.append(content.get("text") or content["evalue"])
        elif kind == "status" and content["execution_state"] == "idle":
            self._idle = message["parent_header"].get("msg_id", "")

    def find(self, **wanted: Any) -> str:
        """Return the id of the newest model whose state has these values."""
        found = [key for key, state in self.state.items() if wanted.items() <= state.items()]
        assert found, wanted
        return found[-1]

    def send(self, prompt: str, subshell: str | None = None) -> None:
        """Type a prompt and press Send."""
        self._send([*self.talk][-1], action("send", text=prompt), subshell)

    def click(self, description: str) -> None:
        """Click a button of ipywidgets."""
        button = self.find(description=description, _model_name="ButtonModel")
        self._send(button, {"method": "custom", "content": {"event": "click"}}, None)

    def stop(self) -> None:
        """Press Stop."""
        self._send([*self.talk][-1], action("stop"), None)

    def choose(self, name: str, value: Any) -> None:
        """Give a setting a value."""
        beside = [key for key, state in self.state.items() if "sections" in state]
        self._send(beside[-1], action("set", name, value=value), None)

    def text(self) -> str:
        """Return the HTML of the newest panel's messages."""
        messages = [*self.talk.values()][-1].messages
        return "\n".join(block for message in messages for block in message["blocks"])

    @property
    def announced(self) -> str:
        """What the newest panel says of the prompt under way, or of how the last one ended."""
        return str(self.state[[*self.talk][-1]]["announced"])

    def said(self) -> str:
        """Return what stands under the newest panel's messages, its box and its settings."""
        key, talk = [*self.talk.items()][-1]
        notices = [message["notice"]["text"] for message in talk.messages if message["notice"]]
        errors = [state["errors"] for state in self.state.values() if "errors" in state]
        return "\n".join([*notices, str(self.state[key]["notice"]), str(errors)])

    def _send(self, comm: str, data: dict[str, Any], subshell: str | None) -> None:
        message = self.kernel.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.kernel.client.shell_channel.send(message)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session, panel")
        yield kernel


def opened(kernel: Kernel, server: ScriptedServer) -> Page:
    """Show a panel in a fresh conversation."""
    page = Page(kernel)
    page.run(f"get_session().reset()\nget_session().settings.endpoint_url = {server.url + 'v1'!r}")
    page.run("p = panel()\np")
    page.written.clear()
    return page


def subshell(kernel: Kernel) -> str | None:
    """Return the id of a new subshell, as JupyterLab makes one for widgets; None where the kernel has none."""
    client = kernel.client
    known = client.kernel_info(reply=True, timeout=10)["content"]
    if "kernel subshells" not in known.get("supported_features", []):
        return None
    client.control_channel.send(client.session.msg("create_subshell_request"))
    return str(client.get_control_msg(timeout=10)["content"]["subshell_id"])


def own(connection: Any, asked: Asked) -> None:
    """Answer with the prompt's own words, slowly."""
    word = asked.body["messages"][-1]["content"]
    sse([*(chunk(f"{word}{n} ") for n in range(30)), chunk("end", finish_reason="stop")], pause=0.01)(
        connection, asked
    )


def whole(word: str) -> str:
    return "".join(f"{word}{n} " for n in range(30)) + "end"


@pytest.mark.row("D7")
def test_clicks_while_a_cell_runs_are_handled_once(kernel: Kernel) -> None:
    """At once or when the cell has ended, as the kernel has it: one question, and no deadlock."""
    clicked = threading.Event()
    until_clicked = ScriptedServer(hang(), on_get=sse([chunk("clicked")], hold=clicked))
    with ScriptedServer(answer("ok")) as server, until_clicked:
        page = opened(kernel, server)
        opener = "urllib.request.build_opener(urllib.request.ProxyHandler({}))"
        running = kernel.send(f"import urllib.request; {opener}.open('{until_clicked.url}').read()")
        page.until(lambda: len(until_clicked.asked) == 1)
        page.send("hi")
        page.send("hi")
        clicked.set()
        page.until(lambda: page._idle == running)
        page.until(lambda: page.announced == "Answered.")
        page.run("pass")
        assert len(server.posts) == 1 and "ok" in page.text()


@pytest.mark.row("D8")
def test_a_panel_and_a_cell_ask_at_the_same_time(kernel: Kernel) -> None:
    """From a subshell where the kernel has them: ten times, each text in its own place, turns in their order."""
    with ScriptedServer(own) as server:
        page = opened(kernel, server)
        shell = subshell(kernel)
        for number in range(10):
            before = len(page.outputs)
            cell = kernel.send(f"%chatglm cell{number}_")
            page.send(f"panel{number}_", shell)
            page.until(lambda: page._idle == cell)  # noqa: B023
            page.until(lambda: f"panel{number}_29 end" in page.text() and page.announced == "Answered.")  # noqa: B023
            data = [*page.outputs.values()][before]
            assert data["text/plain"] == whole(f"cell{number}_")
            assert whole(f"panel{number}_") in page.text()
        page.run("print(sorted(t.prompt for t in get_session().turns), {t.status for t in get_session().turns})")
        asked = sorted(f"{where}{number}_" for where in ("cell", "panel") for number in range(10))
        assert page.written == [f"{asked} {{'complete'}}\n"]


@pytest.mark.row("D9")
def test_an_interrupt_leaves_the_panels_answer_alone_and_stop_ends_it(kernel: Kernel) -> None:
    """SIGINT ends the cell that runs; the panel has a button of its own, and the server sees the close."""
    with ScriptedServer(sse([chunk(f"{n} ") for n in range(500)], pause=0.02)) as server:
        page = opened(kernel, server)
        page.send("count")
        page.until(lambda: "1 2 3" in page.text())
        cell = kernel.send("import time; print('begun', flush=True); time.sleep(30)")
        page.until(lambda: any("begun" in text for text in page.written))
        kernel.manager.interrupt_kernel()
        page.until(lambda: page._idle == cell)
        length = len(page.text())
        page.until(lambda: len(page.text()) > length + 20)
        page.stop()
        server.wait_closed(server.posts[0], 1.0)
        page.until(lambda: page.announced == "Stopped.")


@pytest.mark.row("D19")
def test_the_conversation_is_an_output_of_its_own(kernel: Kernel) -> None:
    """Beneath the widget: prompts and answers as text and as HTML, also what a later prompt brought."""
    with ScriptedServer(answer("first"), answer("**second**")) as server:
        page = opened(kernel, server)
        view, still = page.outputs.values()
        assert "application/vnd.jupyter.widget-view+json" in view and view["text/plain"].startswith(
            "chatglm panel: "
        )
        assert still == {
            "text/plain": "",
            "text/html": '<div class="mathjax_ignore tex2jax_ignore"><div class="chatglm-still"></div></div>',
        }
        for prompt, text in (("one?", "first"), ("<two>?", "**second**")):
            page.send(prompt)
            page.until(lambda: text in [*page.outputs.values()][-1]["text/plain"])  # noqa: B023
        assert len(page.outputs) == 2
        still = [*page.outputs.values()][-1]
        assert still["text/plain"] == "one?\n\nfirst\n\n<two>?\n\n**second**"
        assert "&lt;two&gt;?" in still["text/html"] and "<strong>second</strong>" in still["text/html"]


@pytest.mark.row("D22")
def test_with_one_display_for_each_answer_the_panels_outputs_never_vary() -> None:
    """Under CHATGLM_MAGIC_RENDER=final, which nbval's runs set: the same bytes before and after an answer."""
    with Kernel(CHATGLM_MAGIC_RENDER="final") as kernel, ScriptedServer(answer("varies")) as server:
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session, panel")
        page = opened(kernel, server)
        before = [data | {"application/vnd.jupyter.widget-view+json": 0} for data in page.outputs.values()]
        page.send("hi")
        page.until(lambda: page.announced == "Answered." and "varies" in page.text())
        page.run("pass")
        after = [data | {"application/vnd.jupyter.widget-view+json": 0} for data in page.outputs.values()]
        assert before == after


def test_nothing_is_written_to_a_cell_by_a_panel(kernel: Kernel) -> None:
    """Neither by an answer, nor by an error, nor by a refused value: no stream, no error message."""
    with ScriptedServer(answer("ok")) as server:
        page = opened(kernel, server)
        page.run("import logging; logging.getLogger().handlers.clear()")
        page.send("hi")
        page.until(lambda: page.announced == "Answered.")
        page.choose("seed", "seven")
        page.until(lambda: "Seed must be" in page.said())
        server.__exit__()
        page.send("and now?")
        page.until(lambda: "No server answers at" in page.said())
        page.run("pass")
        assert page.written == []
