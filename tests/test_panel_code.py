"""Copy as magic, as Python, as a script: code that sends the very request, whatever its prompt is, and no key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output
from pydantic import SecretStr

from chatglm_magic import ChatGLM, Session, get_session
from chatglm_magic.widgets.panel_box.code import as_magic, as_python, as_script, read_request

from .support.canary import KEY, has_leaked
from .support.panels import ask_and_wait, choose, open_panel, press, read_notices, record_copies
from .support.servers import ScriptedServer, answer, legacy

PROMPTS = [
    "What is love?",
    "什么是爱？",
    'it\'s "so" `so`',
    "{{x}} {y} ${z} \\frac{a}{b}",
    "-t 2 is no option here",
    "-- nor is this",
    "%chatglm and %%chatglm",
    "two\nlines",
    "\n\nblank lines\n\nin between",
    "ends in blank lines\n\n",
    "  blanks round it  ",
    "\ttab\tin\t",
    "ends in a backslash \\",
    "'''three''' and \"\"\"three\"\"\"",
    "all: ' \" ''' \"\"\" \\ \\n {{x}}\n-t\n>>> 1+1\n",
    "strange\u2028line\x85ends\x0chere\rand here",
    "全角　空格",
    "nbsp\xa0and\u200bzero width",
    "sk-0123456789abcdef0123456789 looks like a key",
    "ends in a question mark?",
    "x = %chatglm why?",
    "#!/bin/sh\n# comment?",
    "%%chatglm -t 1\nbody",
    "a" * 500,
]


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = start_ipython() or InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_line_magic("load_ext", "chatglm_magic")
    shell.user_ns |= {"x": "a variable", "lines": "another"}
    yield shell
    shell.run_line_magic("unload_ext", "chatglm_magic")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer("ok")) as server:
        yield server


def run_magic(shell: InteractiveShell, code: str) -> None:
    """Run a copied cell in a shell; the session that it asks is the process' own."""
    with capture_output() as caught:
        result = shell.run_cell(code)
    assert result.error_in_exec is None and result.error_before_exec is None, (code, caught.stderr)


def run_python(code: str) -> None:
    """Run copied Python in a namespace of its own."""
    with capture_output():
        exec(code, {})  # noqa: S102


def both(shell: InteractiveShell, server: ScriptedServer, session: Session, prompt: str) -> tuple[Any, Any, Any]:
    """Return the bodies of a panel's own request, of the copied magic's, and of the copied Python's."""
    now = read_request(session, prompt)
    del server.asked[:]
    session.submit(session.aask(prompt, history=session.settings.with_history)).result(10)
    session.undo()
    run_python(as_python(now))
    get_session().reset()
    for turn in now.history:
        get_session().llm.history = [*get_session().llm.history, list(turn)]
    run_magic(shell, as_magic(now))
    own, python, magic = (post.body for post in server.posts)
    return own, magic, python


@contextmanager
def a_session(url: str, **values: Any) -> Iterator[Session]:
    """A session beside the process' own, whose values stay its own."""
    session = Session()
    session.settings.store = "off"
    session.settings.endpoint_url = url
    for name, value in values.items():
        setattr(session.settings, name, value)
    mine = get_session().settings
    mine.store = "off"
    yield session
    for name in ("system", "stop", "model", "temperature"):  # what no option could carry is set in the session
        if name in mine.chosen:
            setattr(mine, name, None)
            get_session().reset_parameter(name)
    session.close()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_arrives_as_it_was(shell: InteractiveShell, server: ScriptedServer, prompt: str) -> None:
    """Quotation marks, braces, dashes, backslashes, line ends of all kinds: the code sends the same bytes."""
    with a_session(server.url + "v1") as session:
        own, magic, python = both(shell, server, session, prompt)
    assert own == magic == python and own["messages"][-1]["content"] == prompt


TRICKY = st.text(st.sampled_from("a 'ß爱\"\\{}%-?\n\t#`$;x=!\u3000\r\u2028([,"), min_size=1, max_size=24)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=TRICKY.filter(str.strip), system=st.none() | TRICKY.filter(str.strip))
def test_any_prompt_and_any_system_text_arrive(
    shell: InteractiveShell, server: ScriptedServer, prompt: str, system: str | None
) -> None:
    """Made of the characters that shells, Python, IPython and the magics' own options might change."""
    with a_session(server.url + "v1", system=system) as session:
        own, magic, python = both(shell, server, session, prompt)
    assert own == magic == python


STATES: list[dict[str, Any]] = [
    {"temperature": 0.5, "top_p": 0.25, "max_token": 99},
    {"temperature": None, "top_p": None, "max_token": None},
    {"model": "glm-4 plus", "seed": 7, "thinking": "off"},
    {"stop": ["###", "\n\n", "it's \"", "-x", " "], "system": "Be 'brief' and \"exact\".\n{{x}} \\n"},
    {"stop": ["END"], "system": "Sei knapp, ok?"},
    {"with_history": False},
    {"dialect": "openai", "temperature": 0.0},
    {"system": "sk-0123456789abcdef0123456789"},
]


@pytest.mark.parametrize("values", STATES, ids=lambda values: "+".join(values))
def test_the_state_arrives_as_it_was(
    shell: InteractiveShell, server: ScriptedServer, values: dict[str, Any]
) -> None:
    """Parameters that are set or unset, model, system, stop, seed, thinking, dialect, history off or on."""
    with a_session(server.url + "v1", **values) as session:
        if values.get("temperature", 0) is None:  # what is unset in the panel is not what the session has by then
            get_session().settings.temperature = get_session().settings.top_p = 0.9
        session.llm.history = [["earlier?", 'yes: it\'s "so"'], ["more\n", "of {it}"]]
        own, magic, python = both(shell, server, session, "two\n{{lines}}")
    assert own == magic == python
    assert len(own["messages"]) == (1 if values.get("with_history") is False else 5) + ("system" in values)


def test_chatglms_own_protocol_is_copied_too(shell: InteractiveShell) -> None:
    """POST / with the conversation as pairs, and a dialect that the address does not tell."""
    with ScriptedServer(legacy("ok")) as server:
        for url, dialect in ((server.url, None), (server.url + "v1", "chatglm")):
            with a_session(url, dialect=dialect, temperature=0.5, max_token=77) as session:
                session.llm.history = [["q", "a"]]
                own, magic, python = both(shell, server, session, "hi")
            assert own == magic == python and own["max_length"] == 77 and own["history"] == [["q", "a"]]


def test_the_python_form_runs_in_plain_python(server: ScriptedServer) -> None:
    """A new process, nothing but the copied text: it prints the answer."""
    with a_session(server.url + "v1", temperature=0.5) as session:
        code = as_python(read_request(session, "你好\nthere"))
    del server.asked[:]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout == "ok\n" and ran.stderr == ""
    assert server.posts[0].body["messages"][0]["content"] == "你好\nthere"


def test_a_script_has_a_local_server_of_its_own() -> None:
    """That of ``%chatglm_serve`` ends with the kernel: the script starts another one, with the same model."""
    pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')
    with a_session("http://127.0.0.1:9/v1", temperature=0, system="Be brief.\nBe kind.") as session:
        session.llm.api_key = SecretStr(KEY)
        session.local_server = ("http://127.0.0.1:9/v1", None)
        code = as_script(read_request(session, "What is love?"))
        session.local_server = ("http://127.0.0.1:9/v1", "models/other model.gguf")
        assert 'with LocalServer("models/other model.gguf") as server:' in as_script(read_request(session, "hi"))
        session.local_server = ("http://127.0.0.1:10/v1", None)
        assert "LocalServer" not in as_script(read_request(session, "hi")), "another server is asked by now"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("Love is a deep affection") and ran.stderr == "" and not has_leaked([code])


def test_a_script_takes_a_key_from_the_environment(server: ScriptedServer) -> None:
    """The key is in no code; the program says which variable has it, and asks the same as the panel."""
    with a_session(server.url + "v1", temperature=0.5) as session:
        session.llm.api_key = SecretStr(KEY)
        code = as_script(read_request(session, "hi"))
    assert "CHATGLM_API_KEY" in code and not has_leaked([code])
    del server.asked[:]
    env = {**os.environ, "CHATGLM_API_KEY": KEY}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert ran.stdout == "ok\n" and ran.stderr == ""
    assert KEY in server.posts[0].headers["authorization"] and server.posts[0].body["temperature"] == 0.5


def test_a_short_question_is_one_line(shell: InteractiveShell) -> None:
    """The clearest form that does: a line, else a cell, else a call."""
    with a_session("http://127.0.0.1:9/v1", temperature=0.5) as session:
        prompts = ("Why?", "one\ntwo", "ends\n", "goes on \\")
        forms = [as_magic(read_request(session, prompt)) for prompt in prompts]
    line, cell, call, going_on = forms
    assert line == "%chatglm --endpoint http://127.0.0.1:9/v1 --temperature 0.5 Why?"
    assert cell == "%%chatglm --endpoint http://127.0.0.1:9/v1 --temperature 0.5\none\ntwo"
    assert call.startswith("get_ipython().run_line_magic('chatglm', ")
    assert going_on.startswith("%%chatglm"), "a line that follows it in the cell would be joined to it"


def test_the_code_never_holds_the_key(server: ScriptedServer) -> None:
    """What the box and the settings say now goes to the page's clipboard; the key is in the requests alone."""
    session = Session()
    session.llm = ChatGLM(endpoint_url=server.url + "v1", api_key=KEY, headers={"X-Auth": KEY})
    with open_panel(session=session) as panel:
        copied = record_copies(panel)
        press(panel, "magic", text="")
        assert copied == [] and read_notices(panel) == ["Type a prompt first: the code sends it."]
        ask_and_wait(panel, "hi")
        assert KEY in server.posts[-1].headers["authorization"]
        choose(panel, "temperature", 1.25)
        press(panel, "magic", text="next")
        press(panel, "python", text="next")
        magic, python = copied
        assert magic == "%chatglm --temperature 1.25 next" and "endpoint" not in python
        assert "temperature=1.25" in python and '["hi", "ok"]' in python and not has_leaked(copied)
        press(panel, "python", text="")
        assert '"hi",\n' in copied[-1] and '["hi", "ok"]' not in copied[-1], "the last prompt, as it was asked"


def test_code_for_a_server_with_a_key_runs(shell: InteractiveShell) -> None:
    """The local server takes requests with its own token alone: magic and Python ask through the session."""
    with ScriptedServer(answer("ok")) as server:
        session = get_session()
        before = session.llm.api_key
        session.settings.store, session.settings.endpoint_url = "off", server.url + "v1"
        session.llm.api_key = SecretStr(KEY)
        session.llm.history = [["q", "a"]]
        now = read_request(session, "hi")
        run_python(as_python(now))
        assert session.llm.history == [["q", "a"]], "code that is tried leaves the conversation alone"
        run_magic(shell, as_magic(now))
        session.llm.api_key = before
        session.reset()
        assert all(KEY in post.headers["authorization"] for post in server.posts)
        python, magic = (post.body["messages"] for post in server.posts)
        assert python == magic and [message["content"] for message in python] == ["q", "a", "hi"]
