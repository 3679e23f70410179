"""Rows H19, H20, H24, H33 and H34: lines as people type them, with a Chinese keyboard too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import CommandError

from ..support.servers import ScriptedServer, answer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer("ok")) as server:
        yield server


class Ran:
    """What became of a cell: its error, and what it wrote."""

    def __init__(self, shell: InteractiveShell, server: ScriptedServer, cell: str) -> None:
        get_session().reset()
        get_session().settings.endpoint_url = f"{server.url}v1"
        with capture_output() as caught:
            result = shell.run_cell(cell, store_history=True)
        self.error = result.error_in_exec or result.error_before_exec
        self.out, self.err = caught.stdout, caught.stderr

    def ok(self) -> Ran:
        assert self.error is None, self.error
        return self


def body_of(server: ScriptedServer) -> dict[str, Any]:
    """Return the last question's body, but for what every one has."""
    body = dict(server.posts[-1].body)
    for name in ("stream", "stream_options"):
        body.pop(name, None)
    return body | {"messages": body["messages"][-1]["content"]}


QUESTIONS = {
    "%time %chatglm why is it blue?": "why is it blue?",
    "%timeit -n1 -r1 %chatglm why?": "why?",
    "%prun -q %chatglm why?": "why?",
    "%alias_magic ask chatglm\n%ask plain": "plain",
}


@pytest.mark.row("H19")
@pytest.mark.parametrize("cell", QUESTIONS)
def test_a_question_behind_a_timer_or_an_alias_is_sent(
    cell: str, shell: InteractiveShell, server: ScriptedServer
) -> None:
    """With the question mark at its end."""
    Ran(shell, server, cell).ok()
    assert body_of(server)["messages"] == QUESTIONS[cell]


@pytest.mark.row("H19")
def test_an_alias_takes_a_prompt_as_typed(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Once it is known: a question mark, and a cell with prompts of Python in it."""
    Ran(shell, server, "%alias_magic ask chatglm").ok()
    Ran(shell, server, "%ask what {x}?").ok()
    assert body_of(server)["messages"] == "what {x}?"
    Ran(shell, server, "%%ask -t 1\n>>> a\n... b?").ok()
    assert body_of(server) == {"messages": ">>> a\n... b?", "temperature": 1.0}
    shell.magics_manager.magics["line"].pop("ask"), shell.magics_manager.magics["cell"].pop("ask")


@pytest.mark.row("H19")
@pytest.mark.parametrize("cell", ["%chatgml why?", "%%chatgml\nwhy?", "%chatlgm -t 1 why?"])
def test_a_misspelt_magic_is_told(cell: str, shell: InteractiveShell, server: ScriptedServer) -> None:
    """Not help on the last word; and nothing is sent."""
    ran = Ran(shell, server, cell)
    told = f"{ran.error}{ran.out}{ran.err}"
    assert "chat" in told and "No object" not in told and "Object `why` not found" not in told
    assert server.posts == []


@pytest.mark.row("H19")
def test_help_on_other_things_stays_ipythons(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Control: an object's help, a magic's, and of what is not there."""
    assert "Object `nothing_there` not found" in Ran(shell, server, "nothing_there?").ok().out
    for cell in ("len?", "%time?", "%chatglm?"):
        Ran(shell, server, cell).ok()
    assert server.posts == []


@pytest.mark.row("H19")
def test_a_cell_that_loads_and_asks(server: ScriptedServer, tmp_path: Path) -> None:
    """All of it is read before the extension is there: each prompt is sent as it was typed, with its ?."""
    lines = (
        "%load_ext chatglm_magic",
        f"%config ChatGLMSettings.endpoint_url='{server.url}v1'",
        "%config ChatGLMSettings.store='off'",
        "%chatglm what is it",
        "%chatglm what is it?",
    )
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell({chr(10).join(lines)!r}, store_history=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert [post.body["messages"][-1]["content"] for post in server.posts] == ["what is it", "what is it?"]
    assert done.stderr == "" and "loaded" not in done.stdout


LINES: dict[str, dict[str, Any]] = {
    '%chatglm -k response_format={"type": "json_object"} Give me': {
        "messages": "Give me",
        "response_format": {"type": "json_object"},
    },
    "%chatglm -k response_format={'type': 'json_object'} Give me": {
        "messages": "Give me",
        "response_format": {"type": "json_object"},
    },
    '%chatglm --stop ["a", "b"] Give me': {"messages": "Give me", "stop": ["a", "b"]},
    "%chatglm --stop ['it\\'s', \"]\"] Give me": {"messages": "Give me", "stop": ["it's", "]"]},
    '%chatglm --stop ("a",) Give me': {"messages": "Give me", "stop": ["a"]},
    '%chatglm --stop "\\n" Give me': {"messages": "Give me", "stop": ["\n"]},
    "%chatglm --stop '\\n\\n' --stop \\t Give me": {"messages": "Give me", "stop": ["\n\n", "\t"]},
    '%chatglm --stop "[a" Give me': {"messages": "Give me", "stop": ["[a"]},
    "%chatglm -t .5 -p +.5 Give me": {"messages": "Give me", "temperature": 0.5, "top_p": 0.5},
    "%chatglm -t 1. -k seedling=[1, 2] Give me": {
        "messages": "Give me",
        "temperature": 1.0,
        "seedling": [1, 2],
    },
    '%chatglm -k note="two words" -k n=1_000 Give me': {"messages": "Give me", "note": "two words", "n": 1000},
    "%chatglm (not an option) ok": {"messages": "(not an option) ok"},
}


@pytest.mark.row("H20")
@pytest.mark.parametrize("cell", LINES)
def test_a_value_is_read_to_its_end(cell: str, shell: InteractiveShell, server: ScriptedServer) -> None:
    """To the closing bracket or quotation mark; numbers as Python reads them; the prompt is what follows."""
    Ran(shell, server, cell).ok()
    assert body_of(server) == LINES[cell]


SETTINGS: dict[str, tuple[str, Any]] = {
    '%chatglm_config stop=["it\'s"]': ("stop", ["it's"]),
    '%chatglm_config stop=("a",)': ("stop", ["a"]),
    '%chatglm_config stop="\\n"': ("stop", ["\n"]),
    "%chatglm_config temperature=.5": ("temperature", 0.5),
    "%chatglm_config temperature=+.5": ("temperature", 0.5),
    "%chatglm_config temperature=1.": ("temperature", 1.0),
    '%chatglm_config stop = ["a, b", "c]"] temperature=1': ("stop", ["a, b", "c]"]),
    "t = 0.25\n%chatglm_config temperature={{t}}": ("temperature", 0.25),
}


@pytest.mark.row("H20")
@pytest.mark.parametrize("cell", SETTINGS)
def test_a_setting_is_read_alike(cell: str, shell: InteractiveShell, server: ScriptedServer) -> None:
    """The same values in ``%chatglm_config``."""
    Ran(shell, server, cell).ok()
    name, value = SETTINGS[cell]
    assert getattr(get_session().settings, name) == value


UNREADABLE = [
    "%chatglm --stop [a, b] Give me",
    "%chatglm --stop [1, Give me",
    '%chatglm -k x={"a": Give me',
    "%chatglm_config stop=[a, b]",
    '%chatglm_config stop=["a"',
    '%chatglm --stop "open Give me',
    "%%chatglm_sweep stop=[a,b]\nGive me",
    "%chatglm -t {{nothing}} Give me",
]


@pytest.mark.row("H20")
@pytest.mark.parametrize("cell", UNREADABLE)
def test_a_value_that_can_not_be_read_is_an_error(
    cell: str, shell: InteractiveShell, server: ScriptedServer
) -> None:
    """Never something else in silence."""
    assert isinstance(Ran(shell, server, cell).error, CommandError)
    assert server.posts == [] and get_session().settings.stop in (None, [])


@pytest.mark.row("H20")
def test_variables_stand_in_options_too(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Whole values keep their type; within a text its text is inserted; for a sweep a list is its values."""
    shell.user_ns |= {"t": 0.25, "role": "a poet", "ends": ["x", "y"], "temps": (0.1, 0.5)}
    Ran(shell, server, '%chatglm -t {{t}} -s "You are {{role}}." --stop {{ends}} -k user={{role}} hi {{t}}').ok()
    assert server.posts[-1].body["messages"][0] == {"role": "system", "content": "You are a poet."}
    found = body_of(server)
    assert (found["temperature"], found["stop"], found["user"]) == (0.25, ["x", "y"], "a poet")
    assert found["messages"] == "hi 0.25"
    Ran(shell, server, "%%chatglm_sweep temperature={{temps}} -o found\nhi").ok()
    assert sorted(post.body["temperature"] for post in server.posts[1:]) == [0.1, 0.5]


@pytest.mark.row("H20")
def test_raw_leaves_options_as_they_are_too(shell: InteractiveShell, server: ScriptedServer) -> None:
    """With --raw nothing is inserted, wherever it stands."""
    shell.user_ns["role"] = "a poet"
    Ran(shell, server, '%chatglm -s "You are {{role}}." --raw hi {{role}}').ok()
    assert [m["content"] for m in server.posts[0].body["messages"]] == ["You are {{role}}.", "hi {{role}}"]


@pytest.mark.row("H20")
@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("temperature=1 -o found what does git log --raw print", "what does git log --raw print"),
        ("temperature={{t}} why {{t}} --raw", "why 1 --raw"),
        ("temperature=1 --raw why {{t}}", "why {{t}}"),
        ("temperature=1 －－raw why {{t}}", "why {{t}}"),
    ],
)
def test_raw_in_a_sweeps_prompt_is_no_option(
    line: str, prompt: str, shell: InteractiveShell, server: ScriptedServer
) -> None:
    """The parameters before it are read once, and inserted as ever."""
    shell.user_ns["t"] = 1
    Ran(shell, server, f"%chatglm_sweep {line}").ok()
    assert body_of(server)["messages"] == prompt and server.posts[-1].body["temperature"] == 1


@pytest.mark.row("H24")
def test_what_would_have_to_be_evaluated_is_told(shell: InteractiveShell, server: ScriptedServer) -> None:
    """It is sent as typed with a note, like an unknown name; LaTeX is sent without one."""
    ran = Ran(shell, server, "%chatglm Say {{d['k']}} and {{nope}}").ok()
    assert body_of(server)["messages"] == "Say {{d['k']}} and {{nope}}"
    assert "{{d['k']}} is sent as typed" in ran.err and "No variable nope" in ran.err
    assert Ran(shell, server, r"%chatglm What is \frac{{\alpha}}{{2}}").ok().err == ""


FULL_WIDTH: dict[str, tuple[dict[str, Any], str]] = {
    "%chatglm －t 1 你好": ({"messages": "你好", "temperature": 1.0}, "-t 1"),
    "%chatglm –t 1 你好": ({"messages": "你好", "temperature": 1.0}, "-t 1"),
    "%chatglm —t 1 你好": ({"messages": "你好", "temperature": 1.0}, "-t 1"),
    "%chatglm —temperature 1 你好": ({"messages": "你好", "temperature": 1.0}, "--temperature 1"),
    "%chatglm －－temperature＝0．5 你好": ({"messages": "你好", "temperature": 0.5}, "--temperature=0.5"),
    "%chatglm -t　0.5 你好，世界": ({"messages": "你好，世界", "temperature": 0.5}, "-t 0.5"),
    "%chatglm -t 0．5 你好": ({"messages": "你好", "temperature": 0.5}, "-t 0.5"),
    "%chatglm --stop “词元” 你好": ({"messages": "你好", "stop": ["词元"]}, '--stop "词元"'),
    "%chatglm --stop ［“。”，“！”］ 你好": ({"messages": "你好", "stop": ["。", "！"]}, ""),
    "％chatglm 你好": ({"messages": "你好"}, ""),
    "％％chatglm －t 1\n你好　吗？": ({"messages": "你好　吗？", "temperature": 1.0}, "-t 1"),
    "%chatglm　你好": ({"messages": "你好"}, ""),
}


@pytest.mark.row("H33")
@pytest.mark.parametrize("cell", FULL_WIDTH)
def test_full_width_forms_are_read_among_the_options(
    cell: str, shell: InteractiveShell, server: ScriptedServer
) -> None:
    """As their ASCII forms, and one line says so; the prompt keeps every character."""
    ran = Ran(shell, server, cell).ok()
    expected, told = FULL_WIDTH[cell]
    assert body_of(server) == expected
    assert (f"Read as: {told}" in ran.err) if told else True


SYSTEMS = {
    "-s 'You're a poet' hi": ("You're a poet", "hi"),
    "-s ‘You’re a poet’ hi": ("You’re a poet", "hi"),
    '-s “你是"专家"” 你好': ('你是"专家"', "你好"),
    "-s {{role}}，请简短 你好": ("a poet，请简短", "你好"),
    "-s {{role}}{{role}} hi": ("a poeta poet", "hi"),
    '-s "You are {{role}}" what does git diff --raw do': ("You are a poet", "what does git diff --raw do"),
}


@pytest.mark.row("H20")
@pytest.mark.parametrize("line", SYSTEMS)
def test_a_value_ends_where_its_writer_ends_it(line: str, shell: InteractiveShell, server: ScriptedServer) -> None:
    """Not at an apostrophe or a quotation mark within."""
    shell.user_ns["role"] = "a poet"
    Ran(shell, server, f"%chatglm {line}").ok()
    assert tuple(message["content"] for message in server.posts[0].body["messages"]) == SYSTEMS[line]


@pytest.mark.row("H20")
def test_settings_and_sweeps_take_what_was_read(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Inserted, with its escapes, and a text as it was typed."""
    shell.user_ns |= {"s": "END", "t": "0.5"}
    for line, stop in (
        ("stop={{s}}", "END"),
        ("stop=a{{s}}", "aEND"),
        ("stop=\\n", "\n"),
        ("stop=END：", "END："),
    ):
        Ran(shell, server, f"%chatglm_config {line}").ok()
        assert get_session().settings.stop == [stop]
    Ran(shell, server, "%chatglm_config temperature={{t}} stop=none").ok()
    assert get_session().settings.temperature == 0.5
    Ran(shell, server, "%%chatglm_sweep user={{s}},a{{s}} temperature={{t}}\nhi").ok()
    assert sorted(post.body["user"] for post in server.posts) == ["END", "aEND"]
    assert {post.body["temperature"] for post in server.posts} == {0.5}


@pytest.mark.row("H33")
def test_a_system_text_between_chinese_quotation_marks(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Its words stay as they are."""
    Ran(shell, server, "%chatglm -s “你 是老师，对吗” 你好").ok()
    assert [message["content"] for message in server.posts[0].body["messages"]] == ["你 是老师，对吗", "你好"]


PROMPTS = [
    "—— 你好",
    "—the meaning of it",
    "－1 加 2 等于几？",
    "“你好” 是什么意思？",
    "（一）你好",
    "词＝1，对吗",
    "– a list",
    "—k-means 是什么？",
    "——history of China",
]


@pytest.mark.row("H33")
@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_keeps_its_full_width_forms(prompt: str, shell: InteractiveShell, server: ScriptedServer) -> None:
    """Control: what names no option begins the prompt, character by character."""
    ran = Ran(shell, server, f"%chatglm -t 1 {prompt}").ok()
    assert body_of(server)["messages"] == prompt and "Read as" not in ran.err


@pytest.mark.row("H33")
def test_variables_between_full_width_braces(shell: InteractiveShell, server: ScriptedServer) -> None:
    """With blanks of either width."""
    shell.user_ns["词"] = "月亮"
    for place in ("{{词}}", "{{　词　}}", "｛｛词｝｝", "｛｛ 词 ｝｝"):
        Ran(shell, server, f"%chatglm 说说{place}").ok()
        assert body_of(server)["messages"] == "说说月亮"


@pytest.mark.row("H33")
def test_other_magics_read_them_too(shell: InteractiveShell, server: ScriptedServer) -> None:
    """Settings, a sweep's values, and a full-width blank behind the magic."""
    Ran(shell, server, "%chatglm_config temperature＝0.5 stop=[“。”,“！”]").ok()
    assert get_session().settings.temperature == 0.5 and get_session().settings.stop == ["。", "！"]
    Ran(shell, server, "%%chatglm_sweep temperature＝0.1，1，2 －n 1 system=“好，吗”,none\n你好").ok()
    assert {post.body["temperature"] for post in server.posts} == {0.1, 1, 2}
    assert {post.body["messages"][0]["content"] for post in server.posts} == {"好，吗", "你好"}
    Ran(shell, server, "%chatglm hi").ok()
    assert "hi" in Ran(shell, server, "%chatglm_history　--all").ok().out


@pytest.mark.row("H34")
@pytest.mark.parametrize("line", ["温度=0.1,1 --samples 1 -o q", "温度＝0.1", "-n 2 温度=1"])
def test_an_unknown_parameter_of_a_sweep_is_an_error(
    line: str, shell: InteractiveShell, server: ScriptedServer
) -> None:
    """It names the parameters that there are; the line is not sent as a prompt."""
    error = Ran(shell, server, f"%%chatglm_sweep {line}\nName a colour").error
    assert isinstance(error, CommandError) and "温度" in str(error) and "temperature" in str(error)
    assert server.posts == []
