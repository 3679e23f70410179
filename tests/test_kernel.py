"""The magics in a real kernel: displays, errors on the wire, interrupts."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support.clock import assert_within
from .support.kernels import Kernel
from .support.servers import Script, ScriptedServer, answer, chunk, legacy, raw, reply, sse

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    Path(os.environ["CHATGLM_MAGIC_HOME"], "history.sqlite").touch(mode=0o600)  # where it is was told before
    with Kernel() as kernel:
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session")
        yield kernel


def at(kernel: Kernel, url: str) -> None:
    kernel.run(f"get_session().reset()\nget_session().settings.endpoint_url = {url!r}")


@pytest.mark.parametrize(
    ("cell", "prompt"),
    [
        ("%chatglm What is love?", "What is love?"),
        ("%chatglm 你好吗?", "你好吗?"),
        ("%chatglm 什么是爱？", "什么是爱？"),
        ("%chatglm {x} ${y} \\frac{a}{b} \"quotes\" -t", "{x} ${y} \\frac{a}{b} \"quotes\" -t"),
        ("%chatglm {{undefined}}", "{{undefined}}"),
        ("%%chatglm\n>>> a\n\tb  \n\n\n", ">>> a\n\tb  "),
        ("%%chatglm\n" + "长" * 400_000, "长" * 400_000),
    ],
    ids=["question", "chinese", "full-width", "braces", "undefined", "prompts", "mebibyte"],
)  # fmt: skip
def test_the_server_receives_exactly_the_text(kernel: Kernel, cell: str, prompt: str) -> None:
    """What is typed is what is asked, in a real kernel too."""
    with ScriptedServer(legacy("ok")) as server:
        at(kernel, server.url)
        ran = kernel.run(cell)
        assert ran.error is None
        assert [post.body["prompt"] for post in server.posts] == [prompt]


def test_a_prompt_in_the_cell_that_loads_the_extension_is_sent() -> None:
    """IPython read the ? at its end as a call for help before the extension was there; a later cell's is one."""
    with ScriptedServer(answer("ok")) as server, Kernel(CHATGLM_ENDPOINT_URL=server.url + "v1") as kernel:
        ran = kernel.run(
            "%load_ext chatglm_magic\nsky = 'sky'\n%chatglm -t 0 Why is the {{sky}} blue?\n"
            "x = %chatglm 海是蓝的?\n%chatglm Are they blue?\nx.turn.prompt"
        )
        assert ran.error is None and ran.text == ""
        assert ran.displays[-1] == "'海是蓝的?'"
        prompts = [post.body["messages"][-1]["content"] for post in server.posts]
        assert prompts == ["Why is the sky blue?", "海是蓝的?", "Are they blue?"]
        assert server.posts[0].body["temperature"] == 0
        ran = kernel.run("%chatglm What is len?\nlen?")
        assert "Return the number of items" in str(ran.reply["content"]["payload"]) and len(server.posts) == 4


def test_a_misspelled_magic_with_a_prompt_that_ends_in_a_question_mark(kernel: Kernel) -> None:
    """IPython would say that no object has the prompt's last word as its name."""
    for typed in ("%chatgml Why is it?", "x = %chatgml Why?", "%chatgml 什么是爱?"):
        text = kernel.run(typed).text
        assert text.startswith("No magic %chatgml. Did you mean %chatglm?") and "nothing was sent" in text


def test_an_empty_cell_sends_nothing(kernel: Kernel) -> None:
    """IPython's own message stands; of one that is blank we say so."""
    with ScriptedServer(legacy("ok")) as server:
        at(kernel, server.url)
        assert "cell body is empty" in kernel.run("%%chatglm").text
        assert "Nothing was sent" in str(kernel.run("%%chatglm\n\n").error)
        assert server.posts == []


def test_the_text_is_shown_once_per_evaluation(kernel: Kernel) -> None:
    """Streamed and returned, kept and looked at again: each evaluation shows the text once."""
    with ScriptedServer(answer("你", "好")) as server:
        at(kernel, server.url + "v1")
        assert kernel.run("%chatglm hi").displays == ["你好"]
        assert kernel.run("_").displays == ["你好"]
        assert kernel.run("x = %chatglm hi").displays == ["你好"]
        assert kernel.run("x").displays == ["你好"]
        assert kernel.run("x = %chatglm hi\nx").displays == ["你好"]
        assert kernel.run("x").displays == ["你好"]
        assert kernel.run("y = %chatglm hi\nprint('.')\ny").displays == ["你好"]
        assert kernel.run("print(x)").text == "你好\n"
        assert kernel.run("for _i in range(3):\n    %chatglm hi").displays == ["你好"] * 3
        assert kernel.run("%%chatglm\nhi").displays == ["你好"]
        assert kernel.run("[x]").displays == ["['你好']"]
        quiet = kernel.run("x = %chatglm hi", store_history=False)
        assert quiet.displays == ["你好"]
        assert kernel.run("x", store_history=False).displays == ["你好"]


def test_the_last_frame_carries_the_provenance(kernel: Kernel) -> None:
    """Endpoint, dialect, model, what was asked and sent, times, tokens, reason and version; no key."""
    with ScriptedServer(answer("你", "好", usage={"completion_tokens": 2}, pause=0.1)) as server:
        at(kernel, server.url + "v1")
        kernel.run("from pydantic import SecretStr\nget_session().llm.api_key = SecretStr('sk-canary-123456')")
        ran = kernel.run("%chatglm -t 0.5 --seed 7 hi")
        frames = ran.of("display_data", "update_display_data")
        assert len(frames) >= 2
        known = frames[-1]["metadata"]["chatglm"]
        assert known["asked"] == {"temperature": 0.5, "seed": 7}
        assert known["sent"]["temperature"] == 0.5 and known["usage"] == {"completion_tokens": 2}
        for name in ("endpoint", "dialect", "model", "duration", "first_token", "finish_reason", "version"):
            assert known[name], name
        assert "canary" not in str(ran.messages)
        kernel.run("get_session().llm.api_key = None")


def test_render_final_shows_one_display(kernel: Kernel) -> None:
    """With CHATGLM_MAGIC_RENDER=final there is no update, and the bundle is the live one's last frame."""
    with ScriptedServer(answer("你", "好")) as server:
        at(kernel, server.url + "v1")
        live = kernel.run("%chatglm hi").of("update_display_data", "display_data")[-1]["data"]
        kernel.run("get_session().reset()")
        kernel.run("import os; os.environ['CHATGLM_MAGIC_RENDER'] = 'final'")
        ran = kernel.run("%chatglm hi")
        kernel.run("del os.environ['CHATGLM_MAGIC_RENDER']")
        assert ran.of("update_display_data") == []
        assert [content["data"] for content in ran.of("display_data")] == [live]


def test_a_lone_surrogate_is_shown_as_an_escape(kernel: Kernel) -> None:
    """Half a character can't be sent to a front end; it is shown instead of breaking the cell."""
    stream = sse([json.dumps(chunk("a\ud800b", finish_reason="stop"))])
    with ScriptedServer(legacy("a\ud800b"), stream) as server:
        for ending in ("", "v1"):
            at(kernel, server.url + ending)
            assert kernel.run("%chatglm hi").displays == ["a\\ud800b"]
            assert kernel.run("get_session().turns[-1].answer == 'a\\ud800b'").displays == ["True"]


def test_streaming_is_at_most_twelve_frames_a_second(kernel: Kernel) -> None:
    """Two thousand pieces make few messages, and the last one holds the whole text."""
    pieces = [f"{n} " for n in range(2000)]
    with ScriptedServer(answer(*pieces)) as server:
        at(kernel, server.url + "v1")
        began = time.monotonic()
        ran = kernel.run("%chatglm hi")
        frames = len(ran.of("display_data", "update_display_data"))
        assert frames <= 12 * (time.monotonic() - began) + 2
        assert ran.displays == ["".join(pieces)]


def test_all_that_came_is_shown_while_the_server_pauses(kernel: Kernel) -> None:
    """Three pieces come at once, and then nothing for long: the third is on the page, not only the first."""
    hold = threading.Event()
    with ScriptedServer(answer("one ", "two ", "three ", hold=hold)) as server:
        at(kernel, server.url + "v1")
        running = kernel.send("%chatglm hi")
        shown = kernel.until("display_data")
        while shown["data"]["text/plain"] != "one two three ":
            shown = kernel.until("update_display_data", 10)
        hold.set()
        assert kernel.wait(running).displays == ["one two three "]


SLOW_TO_LOAD = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        end = time.thread_time() + (1.5 if name == "nh3" else 0)
        while time.thread_time() < end:
            pass
sys.meta_path.insert(0, Slow())
"""


def test_loading_the_renderer_delays_no_frame() -> None:
    """A machine may need seconds to import what draws the first frame; the second one comes right after it."""
    hold = threading.Event()
    with ScriptedServer(answer("You sa", "id: ", "hello", hold=hold)) as server, Kernel() as kernel:
        kernel.run(SLOW_TO_LOAD)
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session")
        at(kernel, server.url + "v1")
        running = kernel.send("%chatglm hi")
        kernel.until("display_data")
        assert kernel.until("update_display_data", 6)["data"]["text/plain"] == "You said: hello"
        hold.set()
        assert kernel.wait(running).displays == ["You said: hello"]


def test_the_wait_for_the_first_token_is_counted(kernel: Kernel) -> None:
    """Its seconds are shown, in one output, until text comes in their place."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk("hello", finish_reason="stop")], hold=hold)) as server:
        at(kernel, server.url + "v1")
        running = kernel.send("%chatglm hi")
        assert kernel.until("display_data")["data"]["text/plain"] == "Waiting for the first token… 1 s"
        shown = kernel.until("update_display_data")["data"]
        assert shown["text/plain"] == "Waiting for the first token… 2 s" and "2 s" in shown["text/html"]
        hold.set()
        assert kernel.wait(running).displays == ["hello"]


def test_an_interrupt_keeps_what_came(kernel: Kernel) -> None:
    """The prompt is back, the server sees the close, the partial answer is shown and marked, the next works."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk("你好"), chunk("世界")], hold=hold), answer("ok")) as server:
        at(kernel, server.url + "v1")
        running = kernel.send("%chatglm hi")
        queued = kernel.send("print('went on')")
        kernel.wait_arrived()
        kernel.until("display_data")
        began = time.monotonic()
        kernel.manager.interrupt_kernel()
        ran = kernel.wait(running)
        took = time.monotonic() - began
        closed = server.wait_closed(server.posts[0])
        assert_within(took, 0.5)
        assert_within(closed - began, 1.0)
        assert ran.error is not None and ran.error["ename"] == "Interrupted"
        assert len(ran.error["traceback"]) == 1
        assert ran.displays == ["你好\n[stopped before it was complete]"]
        assert kernel.wait(queued).reply["content"]["status"] == "aborted"
        turn = kernel.run("t = get_session().turns[-1]; print(t.status, t.answer)")
        assert turn.text == "interrupted 你好\n"
        assert kernel.run("%chatglm again").displays == ["ok"]
        assert [m["content"] for m in server.posts[1].body["messages"]] == ["again"]


def test_a_rerun_cell_takes_the_place_of_its_earlier_run(kernel: Kernel) -> None:
    """The cell's id is the front end's; a second run is not a second turn of the conversation."""
    with ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server:
        at(kernel, server.url)
        kernel.run("%chatglm a", "cell-1")
        kernel.run("%chatglm b", "cell-2")
        kernel.run("%chatglm a2", "cell-1")
        kernel.run("%chatglm c", "cell-3")
        assert server.posts[2].body["history"] == []
        assert server.posts[3].body["history"] == [["a2", "A2"], ["b", "B"]]


FAULTS: list[tuple[str, Script | None, str, str]] = [
    ("server down", None, "EndpointError", "%chatglm_serve"),
    ("wrong path", reply({"detail": "Not Found"}, status=404), "ResponseError", "endpoint_url"),
    (
        "HTML",
        reply("<!doctype html><title>Log in</title>", kind="text/html"),
        "InvalidResponseError",
        "endpoint_url",
    ),
    ("401", reply({"error": "Unauthorized"}, status=401), "ResponseError", "%chatglm_config api_key"),
    ("422", reply({"detail": [{"loc": ["prompt"], "msg": "required"}]}, status=422), "ResponseError", "--dry-run"),
    ("500", reply("Internal Server Error", status=500, kind="text/plain"), "ResponseError", "log"),
    ("loading", reply({"error": {"message": "Loading model"}}, status=503), "ResponseError", "Wait"),
    ("closed", raw(b""), "EndpointError", "log"),
]


@pytest.mark.parametrize("dialect", ["", "v1"], ids=["chatglm", "openai"])
@pytest.mark.parametrize(("name", "script", "error", "advice"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_one_line_that_says_what_to_do(
    kernel: Kernel, name: str, script: Script | None, error: str, advice: str, dialect: str, tmp_path: Path
) -> None:
    """A real error message of one line on the wire; Run All stops, and the kernel lives on."""
    server = ScriptedServer(script or legacy())
    with server:
        at(kernel, (server.url if script else "http://127.0.0.1:1/") + dialect)
        go = tmp_path / "go"
        waiting = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.005)\n"
        running, queued = kernel.send(waiting + "%chatglm hi"), kernel.send("print('went on')")
        kernel.wait_arrived()  # a cell that comes after the error is not aborted
        go.touch()
        ran = kernel.wait(running)
        assert ran.error is not None and ran.error["ename"] == error
        assert len(ran.error["traceback"]) == 1 and "\n" not in ran.error["traceback"][0]
        assert advice in ran.error["evalue"]
        assert ran.reply["content"]["status"] == "error"
        assert kernel.wait(queued).reply["content"]["status"] == "aborted"


def test_a_users_own_frames_stay_visible(kernel: Kernel) -> None:
    """An error out of llm.invoke in a user's function shows that function."""
    at(kernel, "http://127.0.0.1:1/")
    ran = kernel.run("def mine():\n    get_session().llm.invoke('x')\nmine()")
    assert ran.error is not None and "mine" in "\n".join(ran.error["traceback"])


def test_a_users_frames_stay_visible_under_other_magics(kernel: Kernel) -> None:
    """%%time is no magic of ours: the user's function is shown."""
    at(kernel, "http://127.0.0.1:1/")
    ran = kernel.run("%%time\ndef mine():\n    get_session().ask('x')\nmine()")
    assert ran.error is not None and "mine" in "\n".join(ran.error["traceback"])


def test_a_cell_keeps_its_identity_under_capture(kernel: Kernel) -> None:
    """%%capture runs the cell inside another one; running it again is still the same cell."""
    with ScriptedServer(legacy("ok")) as server:
        at(kernel, server.url)
        for _ in range(3):
            kernel.run("%%capture\n%chatglm one", "cell-9")
        states = kernel.run("[t.status for t in get_session().turns]").displays
        assert states == ["['complete', 'superseded', 'superseded']"]


def test_quiet_shows_nothing(kernel: Kernel) -> None:
    """-q shows nothing in its own cell, and the variable shows later in the same one."""
    with ScriptedServer(legacy("ok")) as server:
        at(kernel, server.url)
        assert kernel.run("%chatglm -q hi").displays == []
        assert kernel.run("x = %chatglm -q hi\nx").displays == ["ok"]


def test_unloading_ends_the_local_server() -> None:
    """%chatglm_serve's processes go with the extension."""
    pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')
    with Kernel() as kernel:
        ran = kernel.run("%load_ext chatglm_magic\n%chatglm_serve\n%chatglm -t 0 -q What is love?\n")
        assert ran.error is None and "answers on this machine" in ran.text
        kernel.run("from chatglm_magic.magics.extension import _extensions as loaded")
        kernel.run("server = next(iter(loaded.values())).magics._server_switch._server")
        assert kernel.run("print(server.alive)").text == "True\n"
        kernel.run("%reload_ext chatglm_magic")
        assert kernel.run("print(server.alive, server.pid)").text == "False None\n"


def test_config_traits_reach_the_request(kernel: Kernel) -> None:
    """%config ChatGLMSettings lists, reads and sets; the next request carries it."""
    with ScriptedServer(legacy("ok")) as server:
        at(kernel, server.url)
        kernel.run("%config ChatGLMSettings.temperature = 0.25")
        kernel.run("%chatglm hi")
        assert server.posts[0].body["temperature"] == 0.25
        assert "0.25" in str(kernel.run("%config ChatGLMSettings.temperature").displays)


def test_it_loads_from_the_shells_configuration() -> None:
    """c.InteractiveShellApp.extensions loads it at start, with c.ChatGLMSettings in force."""
    import subprocess
    import sys

    with ScriptedServer(legacy("ok")) as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "IPython", "--no-banner", "--simple-prompt"),
                "--InteractiveShellApp.extensions=['chatglm_magic']",
                f"--ChatGLMSettings.endpoint_url={server.url}",
                *("--ChatGLMSettings.temperature=0.9", "-c", "%chatglm What is love?"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("ok\n")
        assert server.posts[0].body["temperature"] == 0.9
        assert server.posts[0].body["prompt"] == "What is love?"


def test_a_script_exits_with_an_error() -> None:
    """ipython -c tells the shell that the question failed."""
    import subprocess
    import sys

    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "IPython",
                "--no-banner",
                "--InteractiveShellApp.extensions=['chatglm_magic']",
            ),
            *("--ChatGLMSettings.endpoint_url=http://127.0.0.1:1/", "-c", "%chatglm hi"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
