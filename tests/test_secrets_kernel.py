"""A key in a real kernel: asked for, never typed into a line, in no message, widget, history or mask."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError
from chatglm_magic.widgets import panel

from .support.canary import KEY, echo_request, has_leaked
from .support.kernels import Kernel, Ran
from .support.servers import ScriptedServer, legacy, reply

pytestmark = pytest.mark.heavy

ZAI_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0." + KEY[-16:]
"""A key as Z.ai gives them."""


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ipython")


@pytest.fixture(scope="module")
def kernel(profile: Path) -> Iterator[Kernel]:
    with Kernel(IPYTHONDIR=str(profile)) as kernel:
        kernel.run("%load_ext chatglm_magic\nfrom chatglm_magic import get_session, panel")
        yield kernel


@pytest.fixture
def server(kernel: Kernel) -> Iterator[ScriptedServer]:
    with ScriptedServer(legacy("ok")) as server:
        kernel.run(f"get_session().reset()\nget_session().settings.endpoint_url = {server.url!r}")
        server.asked.clear()
        yield server
        kernel.run(
            "s = get_session().settings\ns.model = s.system = s.stop = None\nget_session().llm.api_key = None"
        )


def give_key(kernel: Kernel, key: str = KEY) -> Ran:
    """Type a key where %chatglm_config api_key asks for it."""
    running = kernel.send("%chatglm_config api_key", allow_stdin=True)
    asked = kernel.client.get_stdin_msg(timeout=20)["content"]
    assert asked["password"] is True
    kernel.client.input(key)
    return kernel.wait(running)


def said(*ran: Ran) -> list[str]:
    """Return all that a kernel said, but for its repeating the cell, which the front end has anyhow."""
    found = [message for one in ran for message in one.messages if message["msg_type"] != "execute_input"]
    return [repr(message["content"]) + repr(message["metadata"]) for message in found]


def history(kernel: Kernel, profile: Path) -> list[str]:
    """Return the kernel's last inputs, as its variables and its database have them."""
    shown = kernel.run("get_ipython().history_manager.writeout_cache()\nprint(In[-4:], _i, _ii, _iii)").text
    with closing(sqlite3.connect(next(profile.rglob("history.sqlite")))) as base:
        rows = base.execute("SELECT source, source_raw FROM history ORDER BY line DESC LIMIT 4").fetchall()
    return [shown, *(text for row in rows for text in row)]


@pytest.mark.row("S12")
def test_a_key_is_asked_for_and_stands_nowhere(kernel: Kernel, server: ScriptedServer, profile: Path) -> None:
    """The front end asks as for a password; the next question carries it, no message and no history does."""
    given = give_key(kernel)
    asked = kernel.run("%chatglm hi")
    card = kernel.run("%chatglm_config")
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"
    assert given.error is None and not has_leaked(*said(given, asked, card))
    assert not has_leaked(*history(kernel, profile))


LINES = [
    "%chatglm_config api_key={key}",
    "%chatglm_config api_key = '{key}'",
    "%chatglm_config api_key {key}",
    "%chatglm_config temperature=0.5 api_key={key}",
    "%chatglm_config key={key}",
    "%chatglm_config token={key}",
    "%chatglm_config apikey={key}",
    "%chatglm_config API_KEY={key}",
    "%chatglm_config {key}",
    "%chatglm_config model={key}",
    "%chatglm_config endpoint_url=http://127.0.0.1:1/v1?api_key={key}",
    "%chatglm -k api_key={key} hi",
    "%chatglm -k token={key} hi",
    "%chatglm -k authorization='Bearer {key}' hi",
    "%chatglm -k {key} hi",
    "%chatglm --api-key {key} hi",
    "%chatglm --api-key={key} hi",
    "%chatglm --model {key} hi",
    "%chatglm --endpoint http://127.0.0.1:1/v1?key={key} hi",
    "%chatglm api_key={key}",
    "%%chatglm -k api_key={key}\nhi",
    "%chatglm_serve {key}",
    "%chatglm_history {key}",
]


@pytest.mark.row("S12")
@pytest.mark.parametrize("line", LINES)
def test_a_key_in_a_line_is_refused(kernel: Kernel, server: ScriptedServer, line: str) -> None:
    """Nothing is sent, nothing is set, the error says where a key goes, and does not repeat it."""
    ran = kernel.run(line.format(key=KEY))
    assert not [text for text in said(ran) if has_leaked(text)]
    assert ran.error is not None and server.asked == []
    assert "%chatglm_config api_key" in ran.error["evalue"]
    assert not has_leaked(kernel.run("print(get_session().settings.trait_values(), repr(get_session().llm))").text)


@pytest.mark.row("S12")
@pytest.mark.parametrize("key", [KEY, ZAI_KEY, KEY.replace("sk-", "hf_")], ids=["sk", "zai", "hf"])
def test_a_value_that_looks_like_a_key_is_refused(kernel: Kernel, server: ScriptedServer, key: str) -> None:
    """Whatever it was meant to set: a name of a model has no such form."""
    for line in (f"%chatglm_config model={key}", f"%chatglm -k session={key} hi"):
        ran = kernel.run(line)
        assert ran.error is not None and not has_leaked(*said(ran)), line
    assert server.asked == []


@pytest.mark.row("S13")
@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/v1?api_key={key}", "http://127.0.0.1:1/?access_token={key}"]
)
def test_no_widget_shows_a_key_of_an_address(address: str) -> None:
    """Refused where it is given, or left out of what the panel says."""
    import ipywidgets

    session = Session()
    try:
        session.llm = ChatGLM(endpoint_url=address.format(key=KEY))
    except ChatGLMError as error:
        assert not has_leaked(error)
        return
    shown = panel(session)
    assert not has_leaked(ipywidgets.Widget.get_manager_state())
    shown.close()


@pytest.mark.row("S13")
def test_no_message_of_a_kernel_holds_the_key(kernel: Kernel, server: ScriptedServer) -> None:
    """Outputs, widgets' states, errors at %xmode Verbose, dry runs: what a notebook could save."""
    server.scripts[:] = [legacy("ok"), legacy("ok"), reply({"error": "no"}, status=401)]
    give_key(kernel)
    cells = [
        "%xmode Verbose",
        "get_session().llm.headers = {'X-Auth': get_session().llm.api_key.get_secret_value()}",
        "%chatglm --dry-run hi",
        "%chatglm hi",
        "p = panel()\np",
        "import time\np.conversation.send('hi')",
        "while p.transcript.busy: time.sleep(0.01)",
        "%chatglm hi",
        "get_session().llm.invoke('hi')",
        "get_session().llm",
        "_",
        "get_session().turns",
        "%chatglm",
        "%xmode Context",
    ]
    ran = [kernel.run(cell) for cell in cells]
    assert not [cell for cell, one in zip(cells, ran, strict=True) if has_leaked(*said(one))]
    assert [one.error is not None for one in ran].count(True) == 2
    assert len(ran[4].of("comm_open")) > 5  # the control: widgets' states are among the messages
    assert len(server.posts) == 4 and KEY in server.posts[-1].headers["x-auth"]


@pytest.mark.row("S16")
@pytest.mark.parametrize("place", ["Authorization", "X-Auth", "Cookie"])
def test_a_mask_shows_four_characters_at_most(kernel: Kernel, server: ScriptedServer, place: str) -> None:
    """Neither a beginning, by which keys are told apart, nor a short key's four; nor how long it is."""
    masks = set()
    for length in (1, 4, 5, 8, 15, 16, 24, 48):
        key = "".join(chr(ord("A") + n % 26) for n in range(length))
        kernel.run(f"get_session().llm.headers = {{{place!r}: {'Bearer ' + key if place[0] == 'A' else key!r}}}")
        text = kernel.run("%chatglm --dry-run hi").text
        line = next(line for line in text.splitlines() if line.startswith(place)).removeprefix(f"{place}: ")
        shown = line.removeprefix("Bearer ").lstrip("….*")
        assert len(shown) <= (4 if length >= 16 else 0) and key.endswith(shown), line
        masks.add(len(line))
    assert len(masks) <= 2 and server.posts == []


@pytest.mark.row("S16")
def test_an_error_masks_as_much(server: ScriptedServer) -> None:
    """A key that a server repeats is masked by the same rule, also when it is short."""
    for key in (KEY, "short-key", "tiny7"):
        with ScriptedServer(echo_request("echo_401")) as refusing, pytest.raises(ChatGLMError) as caught:
            ChatGLM(endpoint_url=refusing.url, api_key=key).invoke("hi")
        assert key not in str(caught.value) and key[:5] not in str(caught.value)
