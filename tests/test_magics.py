"""The magics in a shell of their own: what is typed, what is sent, what is shown."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import CommandError, ParameterError, ServeError
from chatglm_magic.magics.ask import ask_parser
from chatglm_magic.magics.parser import parse_options
from chatglm_magic.session.settings import SETTING_NAMES

from .support.hostile import ANSWERS, arm
from .support.panels import choose
from .support.servers import ScriptedServer, answer, chunk, legacy, reply, sse


def run(shell: InteractiveShell, cell: str) -> tuple[Any, str, str]:
    """Run a cell; return its result object, and what it wrote."""
    with capture_output() as caught:
        result = shell.run_cell(cell, store_history=True)
    return result, caught.stdout, caught.stderr


def at(shell: InteractiveShell, server: ScriptedServer) -> None:
    run(shell, f"%config ChatGLMSettings.endpoint_url = '{server.url}'")


AS_TYPED = [
    ("%chatglm What is love?", "What is love?"),
    ("%chatglm 你好吗?", "你好吗?"),
    ("%chatglm 什么是爱？", "什么是爱？"),
    ("x = %chatglm why??", "why??"),
    ('d = {}\nd["k"] = %chatglm why?', "why?"),
    ("if True:\n    %chatglm why?", "why?"),
    (
        r'%chatglm {x} ${y} \frac{a}{b} "quotes" -t',
        r'{x} ${y} \frac{a}{b} "quotes" -t',
    ),
    ("%chatglm {{undefined}}", "{{undefined}}"),
    ("%chatglm it's :-( ok", "it's :-( ok"),
    ("%chatglm -- -5 is less than 3", "-5 is less than 3"),
    ("%chatglm -5 is less than 3", "-5 is less than 3"),
    ("%chatglm 100% sure # no comment?", "100% sure # no comment?"),
    ('%chatglm """ and ( [ {', '""" and ( [ {'),
    ("%%chatglm\n>>> 1+1\n... 2?\n\n", ">>> 1+1\n... 2?"),
    ("%%chatglm -t 0.5\nIn [1]: x\n\ttab\x0cfeed\u2028line", "In [1]: x\n\ttab\x0cfeed\u2028line"),
    ("%%chatglm\nprint('{x}')  # ${y} \\frac{a}{b} -t\n", "print('{x}')  # ${y} \\frac{a}{b} -t"),
    ("%chatglm\ttab?", "tab?"),
    ("%chatglm　全角空格?", "全角空格?"),
    ("%%chatglm -t 1 first line\nsecond", "first line\nsecond"),
]


@pytest.mark.parametrize(("cell", "prompt"), AS_TYPED)
def test_the_prompt_arrives_as_typed(shell: InteractiveShell, cell: str, prompt: str) -> None:
    """Braces, dollars, LaTeX, quotes, question marks and blanks reach the server untouched."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "x, y = 'no', 'no'")
        result, _, _ = run(shell, cell)
        assert result.success, result.error_in_exec
        assert [post.body["prompt"] for post in server.posts] == [prompt]


@pytest.mark.row("G1")
def test_a_prompt_of_a_mebibyte_arrives_whole(shell: InteractiveShell) -> None:
    """Nothing is cut, whatever characters it holds."""
    body = "".join(f"{n} 入🤖\x00\u202e\u200b \\{{}}\n" for n in range(50_000))
    assert len(body.encode()) > 2**20
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "%%chatglm\n" + body)
        assert server.posts[0].body["prompt"] == body.rstrip("\n")


@pytest.mark.row("G1")
def test_a_lone_surrogate_is_no_fault_of_ours(shell: InteractiveShell) -> None:
    """JSON can carry it; what a shell makes of it before us is its own affair."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        shell.user_ns["odd"] = "a\ud800b"
        result, _, _ = run(shell, "%chatglm {{odd}}")
        assert result.success and server.posts[0].body["prompt"] == "a\ud800b"


def test_an_empty_cell_is_ipythons_affair(shell: InteractiveShell) -> None:
    """IPython's own message stands, and nothing is sent."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        _, _, err = run(shell, "%%chatglm")
        assert "cell body is empty" in err and server.posts == []


@pytest.mark.row("G2")
@pytest.mark.parametrize(
    "line",
    [
        "--temprature 1 hi",
        "-x hi",
        "-t",
        "-t hot hi",
        "--stop 'open hi",
        "--thinking maybe hi",
        "-f pdf x",
        "-k a x",
    ],
)
def test_a_line_that_cant_be_read_is_an_error_of_ours(shell: InteractiveShell, line: str) -> None:
    """Never SystemExit, never a dead kernel, nothing sent."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        result, _, _ = run(shell, f"%chatglm {line}")
        assert isinstance(result.error_in_exec, CommandError) and server.posts == []


@pytest.mark.row("G2")
@pytest.mark.parametrize("line", ["-h", "--help"])
def test_help_comes_from_the_parser(shell: InteractiveShell, line: str) -> None:
    """Every option stands in the help, and %chatglm? shows the same."""
    _, out, _ = run(shell, f"%chatglm {line}")
    for flag in ask_parser("%chatglm").flags:
        assert flag in out


ALL = ["chatglm", *(f"chatglm_{name}" for name in ("config", "serve", "history", "panel", "sweep", "lens"))]


@pytest.mark.parametrize("magic", ALL)
def test_every_magic_has_help(shell: InteractiveShell, magic: str) -> None:
    """--help prints what the magic does, and %magic? shows the same."""
    _, out, _ = run(shell, f"%{magic} --help")
    assert f"%{magic}" in out
    shown = shell.object_inspect_mime(f"%{magic}")["text/plain"]
    assert all(line in shown for line in out.splitlines()), shown


@pytest.mark.parametrize(
    ("line", "options", "prompt"),
    [
        ("-t 0.5 hi", {"temperature": 0.5}, "hi"),
        ("-t0.5 -p .9 hi", {"temperature": 0.5, "top_p": 0.9}, "hi"),
        ("--temperature=none hi", {"temperature": None}, "hi"),
        ("-s \"a b\" --stop 'x y' --stop=z  hi  ", {"system": "a b", "stop": ["x y", "z"]}, "hi  "),
        ("-m 5 --seed 7 --model glm-5 -- --x", {"max_token": 5, "seed": 7, "model": "glm-5"}, "--x"),
        ("-k foo=1 -k bar='a' hi", {"extra": [("foo", 1), ("bar", "a")]}, "hi"),
        ('-t 1 "-t 2"', {"temperature": 1.0}, '"-t 2"'),
        ('-s "" -k a="x y" hi', {"system": "", "extra": [("a", "x y")]}, "hi"),
        ("--no-history -q", {"history": False, "quiet": True}, ""),
    ],
)
def test_options_come_first_and_the_rest_is_the_prompt(line: str, options: dict[str, Any], prompt: str) -> None:
    """Only option values are unquoted; the prompt begins with the first word that is no option."""
    found, rest = parse_options(ask_parser("%chatglm"), line)
    assert {name: getattr(found, name) for name in options} == options
    assert rest == prompt


def test_options_hold_for_one_question(shell: InteractiveShell) -> None:
    """What an option sets is sent once, and the session keeps its own value."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "%chatglm -t 0.9 -m 10 -k foo=1 hi")
        run(shell, "%chatglm hi")
        first, second = (post.body for post in server.posts)
        assert (first["temperature"], first["max_length"], first["foo"]) == (0.9, 10, 1)
        assert second["temperature"] == 0.1 and "foo" not in second


@pytest.mark.row("G11")
def test_variables_are_inserted_and_nothing_is_evaluated(shell: InteractiveShell) -> None:
    """{{name}} is a plain name: no attribute, no call, no format specification."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "name = '世界'\nclass A: secret = 'canary'\na = A()")
        _, _, err = run(shell, "%chatglm {{name}} {{a.secret}} {{name!r}} {{missing}} {{__import__('os')}} {name}")
        sent = server.posts[0].body["prompt"]
        assert sent == "世界 {{a.secret}} {{name!r}} {{missing}} {{__import__('os')}} {name}"
        assert err.count("missing") and "canary" not in sent
        run(shell, "%chatglm --raw {{name}}")
        assert server.posts[1].body["prompt"] == "{{name}}"


def test_a_variable_of_a_function_is_seen(shell: InteractiveShell) -> None:
    """Inside a function its own names count."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "def f(inner):\n    %chatglm {{inner}}\nf('local')")
        assert server.posts[0].body["prompt"] == "local"


def test_an_answer_is_returned_and_kept(shell: InteractiveShell) -> None:
    """x =, -o, _ and the value itself are the text."""
    with ScriptedServer(legacy("你好")) as server:
        at(shell, server)
        run(shell, "x = %chatglm hi")
        run(shell, "%chatglm -q -o kept hi")
        assert shell.user_ns["x"] == shell.user_ns["kept"] == "你好"
        assert shell.user_ns["x"].turn.prompt == "hi"
        _, out, _ = run(shell, "%chatglm -q hi")
        assert "你好" not in out


def test_dry_run_sends_nothing_and_masks_the_key(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact request is printed, with the last four characters of the key at most."""
    monkeypatch.setenv("CHATGLM_API_KEY", "sk-canary-0123456789abcd")
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        _, out, _ = run(shell, "%chatglm --dry-run -t 0.3 你好")
        assert '"temperature": 0.3' in out and '"prompt": "你好"' in out and "…abcd" in out
        assert "canary" not in out and server.posts == []


def test_formats_are_plain_text(shell: InteractiveShell) -> None:
    """code shows the fenced code alone, json the parsed reply."""
    with ScriptedServer(legacy('Sure:\n```json\n{"a": [1]}\n```')) as server:
        at(shell, server)
        _, out, _ = run(shell, "%chatglm -f code hi")
        assert out.startswith('{"a": [1]}\n')
        _, out, _ = run(shell, "%chatglm -f json hi")
        assert out.startswith('{\n  "a": [\n    1\n  ]\n}')


def test_config_sets_all_or_nothing(shell: InteractiveShell) -> None:
    """A refused value leaves the others as they were; a wrong name is met with the right one."""
    run(shell, "%chatglm_config temperature=0.5 top_p=none stop='a b'")
    settings = get_session().settings
    assert (settings.temperature, settings.top_p, settings.stop) == (0.5, None, ["a b"])
    result, _, _ = run(shell, "%chatglm_config temperature=0.7 top_p=7")
    assert isinstance(result.error_in_exec, ParameterError)
    assert settings.temperature == 0.5
    result, _, _ = run(shell, "%chatglm_config temprature=1")
    assert "Did you mean temperature?" in str(result.error_in_exec)


@pytest.mark.parametrize(
    "line",
    [
        *("%chatglm_config api_key=sk-canary", "%chatglm -k api_key=sk-canary hi"),
        *("%chatglm -k zhipuai_api_key=sk-canary hi", "%chatglm -k client_secret=sk-canary hi"),
    ],
)
def test_a_key_in_a_cell_is_refused_and_not_repeated(shell: InteractiveShell, line: str) -> None:
    """A cell is saved with the notebook; a key in it is met with the way to give it."""
    result, _, _ = run(shell, line)
    assert isinstance(result.error_in_exec, CommandError) and "canary" not in str(result.error_in_exec)
    assert "asks for it" in str(result.error_in_exec)


@pytest.mark.parametrize(
    "cell",
    [
        "%chatglm_config endpoint_url={url}",
        "%config ChatGLMSettings.endpoint_url = '{url}'",
        "get_session().llm.endpoint_url = '{url}'",
    ],
)
def test_setting_an_endpoint_says_what_was_found(shell: InteractiveShell, cell: str) -> None:
    """Whichever handle sets an address, it is looked at once, and the finding is told."""
    shell.user_ns["get_session"] = get_session
    with ScriptedServer(legacy(), on_get=reply({"data": [{"id": "glm-5"}]})) as server:
        _, out, _ = run(shell, cell.replace("{url}", server.url + "v1"))
        assert "glm-5" in out and [asked.method for asked in server.asked] == ["GET"]


def test_the_status_card(shell: InteractiveShell) -> None:
    """%chatglm alone tells endpoint, dialect, model, parameters, turns and the last answer."""
    with ScriptedServer(answer("ok", usage={"completion_tokens": 2})) as server:
        run(shell, f"%config ChatGLMSettings.endpoint_url = '{server.url}v1'")
        run(shell, "%chatglm -t 0.5 hi")
        _, out, _ = run(shell, "%chatglm")
        for word in (server.url, "OpenAI", "turns", "2 tokens", "test-glm"):
            assert word in out


def test_history_lists_undoes_and_resets(shell: InteractiveShell) -> None:
    """The conversation can be read, shortened and begun anew."""
    with ScriptedServer(legacy("ok")) as server:
        at(shell, server)
        run(shell, "%chatglm first")
        run(shell, "%chatglm second")
        assert "second" in run(shell, "%chatglm_history")[1]
        run(shell, "%chatglm_history --undo")
        run(shell, "%chatglm third")
        assert server.posts[-1].body["history"] == [["first", "ok"]]
        run(shell, "%chatglm_history --reset")
        run(shell, "%chatglm fourth")
        assert server.posts[-1].body["history"] == []


@pytest.mark.row("S8")
def test_a_terminal_shows_control_sequences_and_obeys_none(shell: InteractiveShell) -> None:
    """An answer's escape sequences are visible text in a terminal, streamed, replayed and listed."""
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202egpj\x9b31m"
    with ScriptedServer(legacy(evil)) as server:
        at(shell, server)
        for cell in ("x = %chatglm hi", "x", "%chatglm_history", "%chatglm -f text hi", "[x]"):
            _, out, _ = run(shell, cell)
            assert not set("\x1b\x07\x9b\u202e") & set(out), cell
        _, control, _ = run(shell, "print(x)")  # the control: the sequence is in the text itself
        assert "\x1b" in control


@pytest.mark.row("S8")
def test_every_hostile_answer_in_a_terminal(shell: InteractiveShell) -> None:
    """The whole corpus, streamed into a terminal: nothing is obeyed, asked or read, and the letters stay."""
    with ScriptedServer(legacy(), on_get=reply("heard")) as beacon:
        hostile = arm(ANSWERS, beacon.url.rstrip("/"))
        with ScriptedServer(legacy(lambda body: hostile[int(body["prompt"])].text)) as server:
            at(shell, server)
            for number, case in enumerate(hostile):
                _, out, err = run(shell, f"%chatglm --no-history {number}")
                shown = out + err
                assert not [char for char in shown if ord(char) < 32 and char not in "\n\t"], case.id
                assert not set("\x7f\x9b\x9d\u202e\u2066\u200b") & set(shown), case.id
                assert out.split("Out[")[0].strip() or not case.text.strip(), case.id
            assert beacon.asked == []


@pytest.mark.row("S9")
def test_code_of_a_model_is_never_run_nor_put_into_a_cell(shell: InteractiveShell) -> None:
    """An answer that is code, a magic or a shell line stays text."""
    code = "```python\nran = 1\n```\n%run x\n!touch ran\nget_ipython().run_cell('ran = 1')"
    with ScriptedServer(legacy(code)) as server:
        at(shell, server)
        for options in ("", "-f code", "-f json", "-o answer"):
            run(shell, f"%chatglm {options} hi")
        assert "ran" not in shell.user_ns
        assert getattr(shell, "rl_next_input", None) in (None, "")


def test_completion_knows_options_values_parameters_and_variables(shell: InteractiveShell) -> None:
    """Tab completes what a person would look up."""
    run(shell, "topic_of_mine = 1")

    def complete(text: str) -> list[str]:
        with provisionalcompleter():
            return [found.text for found in shell.Completer.completions(text, len(text))]

    assert "--temperature" in complete("%chatglm --te")
    assert complete("x = %chatglm --thinking m") == ["max"]
    assert "temperature=" in complete("%chatglm_config temp")
    assert "topic_of_mine}}" in complete("%chatglm about {{topic_")
    assert "topic_of_mine}}" in complete("%%chatglm\nabout {{topic_")
    assert "--temperature" not in complete("print('--te")


@pytest.mark.row("D20")
def test_loading_twice_and_unloading_leave_nothing_behind(shared_shell: InteractiveShell) -> None:
    """Magics, transformers, completers, events, formatters, settings, threads and files go as they came."""

    def traces() -> list[int]:
        shell = shared_shell
        manager = shell.input_transformer_manager
        return [
            len(shell.magics_manager.magics["line"]),
            len(shell.magics_manager.magics["cell"]),
            len(manager.token_transformers),
            len(shell.input_transformers_cleanup),
            len(shell.Completer.custom_matchers),
            len(shell.configurables),
            sum(len(found) for found in shell.events.callbacks.values()),
            len(shell.display_formatter.formatters["text/plain"].type_printers),
            len(shell.display_formatter.mimebundle_formatter.type_printers),
            threading.active_count(),
            len(os.listdir("/proc/self/fd")),
        ]

    def settled() -> list[int]:
        """Return the traces once they have been the same for half a second: what ends takes a moment to go."""
        found, since = traces(), time.monotonic()
        while time.monotonic() - since < 0.5:
            time.sleep(0.02)
            if (now := traces()) != found:
                found, since = now, time.monotonic()
        return found

    with ScriptedServer(legacy("ok")) as server:  # what is imported on first use may open files of its own
        shared_shell.run_line_magic("load_ext", "chatglm_magic")
        at(shared_shell, server)
        run(shared_shell, "%chatglm hi")
        get_session().submit(get_session().aask("x")).result(10)
        shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    before = settled()
    for _ in range(3):
        shared_shell.run_line_magic("load_ext", "chatglm_magic")
        shared_shell.run_line_magic("load_ext", "chatglm_magic")
        with ScriptedServer(legacy("ok")) as server:
            at(shared_shell, server)
            run(shared_shell, "%chatglm hi")
            session = get_session()
            assert session.submit(session.aask("x")).result(10) == "ok"
        shared_shell.run_line_magic("reload_ext", "chatglm_magic")
        shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    assert settled() == before


def test_a_magic_of_another_package_is_announced_and_comes_back(shared_shell: InteractiveShell) -> None:
    """Replacing is said, and undone by unloading."""

    def other(line: str) -> str:
        return "other"

    other.__module__ = "torchkeras.chat"
    shared_shell.register_magic_function(other, "line", "chatglm")
    with capture_output() as caught:
        shared_shell.run_line_magic("load_ext", "chatglm_magic")
    assert "torchkeras.chat" in caught.stderr
    shared_shell.run_line_magic("unload_ext", "chatglm_magic")
    assert shared_shell.run_line_magic("chatglm", "") == "other"
    del shared_shell.magics_manager.magics["line"]["chatglm"]


@pytest.mark.row("S8")
def test_a_footer_in_a_terminal_is_made_visible_too(shell: InteractiveShell) -> None:
    """A server's model name and token count can hold control sequences as well."""
    evil = {**chunk("hi"), "model": "\x1b]0;pwned\x07m"}
    usage = {"choices": [], "usage": {"completion_tokens": "\x1b[31mX"}}
    with ScriptedServer(sse([evil, chunk(None, finish_reason="stop"), usage])) as server:
        run(shell, f"%config ChatGLMSettings.endpoint_url='{server.url}v1'")
        for cell in ("%chatglm hi", "%chatglm", "%chatglm_config", "x = %chatglm hi\nx"):
            _, out, err = run(shell, cell)
            assert not set("\x1b\x07") & set(out + err), cell


def test_the_panel_opens_more_than_once(shell: InteractiveShell) -> None:
    """A second panel is another view of the same session."""
    from chatglm_magic import panel

    assert panel() is not panel()


def test_two_panels_moved_by_two_threads_do_not_lock_each_other() -> None:
    """Sliders in two threads, and the model replaced in a third."""
    from chatglm_magic import ChatGLM, Session
    from chatglm_magic.widgets import panel

    session = Session()
    panels = [panel(session), panel(session)]

    def move(number: int) -> None:
        for step in range(40):
            choose(panels[number], ("temperature", "top_p")[number], (step + 1) / 50)

    def replace_model() -> None:
        for step in range(10):
            session.llm = ChatGLM(temperature=step / 10)

    threads = [threading.Thread(target=move, args=(n,), daemon=True) for n in (0, 1)]
    threads.append(threading.Thread(target=replace_model, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    for shown in panels:
        shown.close()


def test_a_refused_configuration_changes_nothing(shell: InteractiveShell) -> None:
    """Neither the values, nor what counts as chosen, nor the address, nor the key."""
    from pydantic import SecretStr

    session = get_session()
    session.llm.api_key = SecretStr("sk-canary")
    before, chosen = session.settings.endpoint_url, set(session.settings.chosen)
    for line in (
        "top_p=0.5 temperature=99",
        "endpoint_url=http://127.0.0.1:1/ temperature=99",
        "endpoint_url=nonsense",
    ):
        result, _, _ = run(shell, f"%chatglm_config {line}")
        assert isinstance(result.error_in_exec, ParameterError)
    result, _, _ = run(shell, "%chatglm_config endpoint_url=http://u:hunter2@h/v1")
    assert "hunter2" not in str(result.error_in_exec)
    assert (session.settings.endpoint_url, session.settings.chosen) == (before, chosen)
    assert session.llm.api_key is not None


def test_texts_stay_as_typed(shell: InteractiveShell) -> None:
    """A system prompt of 1.10 isn't a number."""
    run(shell, "%chatglm_config system=1.10 model=1e5")
    assert (get_session().settings.system, get_session().settings.model) == ("1.10", "1e5")
    run(shell, "%chatglm_config system=None model=none")
    assert (get_session().settings.system, get_session().settings.model) == (None, None)


def test_quiet_is_quiet_but_a_variable_is_shown(shell: InteractiveShell) -> None:
    """-q as the last line shows nothing; the variable it fills is shown when it is looked at."""
    with ScriptedServer(legacy("你好")) as server:
        at(shell, server)
        _, out, _ = run(shell, "x = %chatglm -q hi\nx")
        assert "你好" in out


@pytest.mark.parametrize("cell", ["%%chatglm\n\n", "%%chatglm\n  \n", "%%chatglm -t 0.5\n \t\n\n"])
def test_a_blank_cell_sends_nothing_and_says_so(shell: InteractiveShell, cell: str) -> None:
    """There is nothing to answer in it; the line alone shows the card."""
    with ScriptedServer(legacy("no")) as server:
        at(shell, server)
        result, _, _ = run(shell, cell)
        assert isinstance(result.error_in_exec, CommandError) and "Nothing was sent" in str(result.error_in_exec)
        assert server.posts == []


def test_the_local_server_takes_one_model(shell: InteractiveShell, tmp_path: Path, monkeypatch: Any) -> None:
    """Several words are no model, unless they are the path of a file or stand in quotation marks."""
    monkeypatch.chdir(tmp_path)
    result, _, _ = run(shell, "%chatglm_serve one two three")
    assert isinstance(result.error_in_exec, CommandError) and "one model, not 3" in str(result.error_in_exec)
    (tmp_path / "my model.gguf").write_bytes(b"no model")
    for model in ("my model.gguf", '"my model.gguf"', "'no such file'"):
        result, _, _ = run(shell, f"%chatglm_serve {model}")
        assert isinstance(result.error_in_exec, ServeError), model


def test_the_configuration_is_grouped_and_short(shell: InteractiveShell) -> None:
    """What has its default is left out but for the essentials, and shown with --all; each under its heading."""
    _, short, _ = run(shell, "%chatglm_config")
    assert [line for line in short.splitlines() if not line.startswith(" ")] == [
        *("Server", "Sampling", "Conversation", "What isn't listed has its default: %chatglm_config --all")
    ]
    names = [line.split()[0] for line in short.splitlines() if line.startswith(" ")]
    assert names == [
        "model",
        "endpoint_url",
        "api_key",
        "temperature",
        "top_p",
        "max_token",
        "with_history",
        "store",
    ]
    run(shell, "%chatglm_config seed=7 connect=3 tape_timing=true")
    _, more, _ = run(shell, "%chatglm_config")
    assert {"seed", "connect", "tape_timing"} <= {line.split()[0] for line in more.splitlines()}
    _, everything, _ = run(shell, "%chatglm_config --all")
    assert {line.split()[0] for line in everything.splitlines() if line.startswith(" ")} == {
        *SETTING_NAMES,
        "api_key",
    }
    assert [line for line in everything.splitlines() if not line.startswith(" ")] == [
        *("Server", "Sampling", "Conversation", "Tape", "Limits")
    ]
