"""Rows H21 to H25 and H35 to H37: encodings, messages and files as people have them, and Chinese in tables."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from IPython.lib.pretty import pretty
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError, CommandError, ParameterError
from chatglm_magic.render.text import align_columns, display_width
from chatglm_magic.store import History, Query, Store
from chatglm_magic.store.imports import read_turns
from chatglm_magic.sweeps.stats import similarity
from chatglm_magic.values import Turn

from ..support.servers import ScriptedServer, answer, legacy

SCRIPT = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "chatglm_magic")
for line in {lines!r}:
    result = shell.run_cell(line, store_history=True)
    if result.error_in_exec:
        print("FAILED", type(result.error_in_exec).__name__)
"""


@pytest.mark.row("H21")
@pytest.mark.parametrize("how", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_characters_that_can_not_be_written_are_escapes(how: dict[str, str], tmp_path: Path) -> None:
    """History, settings, requests and errors too; nothing ends in an error of encoding."""
    with ScriptedServer(answer('{"答": "你好"}')) as server:
        lines = [
            f"%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            "%config ChatGLMSettings.store='off'",
            "%config ChatGLMSettings.system='你是老师'",
            *("%chatglm 你好吗", "%chatglm -f json 你好吗", "x = %chatglm -q 你好吗", "x"),
            *("%chatglm_history", "%chatglm --dry-run 你好", "%chatglm_config", "%chatglm －t 0 {{没有}}"),
        ]
        (tmp_path / "script.py").write_text(SCRIPT.format(lines=lines), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py")],
            env=os.environ | {"CHATGLM_MAGIC_RENDER": ""} | how,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
        )
    told = done.stdout + done.stderr
    assert "FAILED" not in told and "UnicodeEncodeError" not in told, told[-2000:]
    if how.get("PYTHONIOENCODING"):
        assert r"\u4f60\u597d" in done.stdout and done.stdout.isascii()


TEMPLATE = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")])


@pytest.mark.row("H22")
@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_a_system_template_and_a_history(road: str) -> None:
    """The system's message stands first, once; a person's words are remembered without their role."""
    with ScriptedServer(answer("a1"), answer("a2")) as server:
        chain = TEMPLATE | ChatGLM(endpoint_url=f"{server.url}v1", with_history=True)
        for question in ("q1", "q2"):
            if road == "invoke":
                chain.invoke({"q": question})
            else:
                asyncio.run(chain.ainvoke({"q": question}))
        assert [(m["role"], m["content"]) for m in server.posts[1].body["messages"]] == [
            ("system", "Be brief."),
            *(("user", "q1"), ("assistant", "a1"), ("user", "q2")),
        ]


@pytest.mark.row("H22")
def test_a_template_with_its_own_turns_is_remembered_as_roles() -> None:
    """Its earlier pairs are pairs, and its system replaces the model's own for that request."""
    template = ChatPromptTemplate.from_messages(
        [("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{q}")]
    )
    past = [("human", "p1"), ("ai", "r1"), ("human", "p2"), ("ai", "r2")]
    with ScriptedServer(answer("a1")) as server:
        llm = ChatGLM(endpoint_url=f"{server.url}v1", with_history=True, system="Be brief.")
        (template | llm).invoke({"past": past, "q": "q1"})
        sent = [(m["role"], m["content"]) for m in server.posts[0].body["messages"]]
        assert sent[0] == ("system", "Be kind.") and [role for role, _ in sent].count("system") == 1
        assert llm.history == [["p1", "r1"], ["p2", "r2"], ["q1", "a1"]]


def write(path: Path, *values: Any, indent: int | None = None) -> Path:
    lines = (json.dumps(value, ensure_ascii=False, indent=indent) for value in values)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


PAIR = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}]
GLM3 = {"conversations": [{"role": "system", "content": "s"}, *PAIR]}
GLM6B = {"prompt": "q2", "response": "a2", "history": [["q1", "a1"]]}
SHARE = {"id": "x", "conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "好"}]}
CHATGPT = {
    "title": "t",
    "current_node": "4",
    "mapping": {
        "0": {"id": "0", "message": None, "parent": None, "children": ["1"]},
        "1": {"parent": "0", "children": ["2", "9"], "message": {
            "author": {"role": "user"}, "content": {"content_type": "text", "parts": ["你好"]}}},
        "9": {"parent": "1", "children": [], "message": {
            "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["another"]}}},
        "2": {"parent": "1", "children": ["3"], "message": {
            "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["let me see"]}}},
        "3": {"parent": "2", "children": ["4"], "message": {
            "author": {"role": "tool"}, "content": {"content_type": "text", "parts": ["tool"]}}},
        "4": {"parent": "3", "children": [], "message": {
            "author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["好"]}}},
    },
}  # fmt: skip
FILES: dict[str, tuple[list[Any], int | None, list[tuple[str, str]]]] = {
    "messages on many lines": ([{"messages": PAIR}], 2, [("你好", "好")]),
    "vLLM's reasoning": ([{"messages": [PAIR[0], PAIR[1] | {"reasoning": "想"}]}], None, [("你好", "好")]),
    "ChatGLM3": ([GLM3, GLM3], None, [("你好", "好")] * 2),
    "ChatGLM3 on many lines": ([GLM3], 4, [("你好", "好")]),
    "ChatGLM-6B": ([GLM6B], None, [("q1", "a1"), ("q2", "a2")]),
    "ShareGPT": ([[SHARE, SHARE]], 2, [("你好", "好")] * 2),
    "ChatGPT": ([[CHATGPT]], None, [("你好", "let me see\n\n好")]),
}


@pytest.mark.row("H23")
@pytest.mark.parametrize("name", FILES)
def test_files_that_people_have_are_imported(name: str, tmp_path: Path) -> None:
    """Each conversation by itself, in its order, with the branch that was shown last."""
    values, indent, expected = FILES[name]
    found = read_turns(write(tmp_path / "file.json", *values, indent=indent))
    assert [(turn.prompt, turn.answer) for turn, _ in found] == expected
    assert len({turn.conversation for turn, _ in found}) == (2 if len(expected) == 2 and "6B" not in name else 1)
    if name == "vLLM's reasoning":
        assert found[0][0].reasoning == "想"
    if name.startswith("ChatGLM3"):
        assert found[0][0].system == "s"


@pytest.mark.row("H23")
@pytest.mark.parametrize(
    "value", [{"dialog": []}, {"text": "你好"}, {"conversations": [{"from": "bot", "value": "x"}]}]
)
def test_a_file_of_another_form_is_refused_with_what_is_read(value: Any, tmp_path: Path) -> None:
    """With a sentence that names the forms, or the word that is not known."""
    with pytest.raises(CommandError, match=r"ShareGPT|role 'bot'"):
        read_turns(write(tmp_path / "file.jsonl", value))


@pytest.mark.row("H35")
def test_similarity_has_a_unit_for_each_kind_of_letter() -> None:
    """Each Chinese character and each word of other letters: texts that differ in a word are alike."""
    near = similarity("温度在softmax之前除以logits", "温度在softmax之前除以分数")
    assert 0.5 < near < 1
    assert similarity("温度", "温度") == 1 and similarity("温度", "softmax") == 0
    assert near == similarity("温度在softmax之前除以分数", "温度在softmax之前除以logits")


@pytest.mark.row("H36")
@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("温度", 4), ("ａ", 2), ("é", 1), ("e\u0301", 1), ("👋", 2), ("", 0), ("ﾊ", 1)]
)
def test_a_wide_character_takes_two_columns(text: str, width: int) -> None:
    """As Unicode's UAX #11 says; marks take none."""
    assert display_width(text) == width


@pytest.mark.row("H36")
def test_tables_with_chinese_stand_in_columns() -> None:
    """The history as text and any other table: each column begins at one place, and times are whole."""
    lines = align_columns([("名字", "b", "c"), ("x", "温度", "d")])
    assert [display_width(line[: line.index(last)]) for line, last in zip(lines, "cd", strict=True)] == [12, 12]
    store = Store(None)
    prompts = ("温度是什么？", "short", "混合 mixed 文字")
    created = "2026-11-30T18:30:45+08:00"
    store.add([(Turn(prompt, "答", created=created, id=f"{n:032x}"), n) for n, prompt in enumerate(prompts)])
    head, *rows = pretty(History(store, Query())).splitlines()
    assert all("2026-11-30 18:30 " in row for row in rows[:3])
    places = {display_width(row[: row.rindex("答")]) for row in rows[:3]}
    assert places == {display_width(head[: head.index("answer")])}
    store.close()


@pytest.mark.row("H37")
def test_a_file_name_in_an_error_is_readable(tmp_path: Path) -> None:
    """In the letters in which it was typed."""
    store = Store(None)
    store.add([(Turn("q", "a", id="0" * 32), 0)])
    with pytest.raises(ChatGLMError, match=r"对话\.docx"):
        History(store).export(tmp_path / "对话.docx")
    store.close()


@pytest.mark.row("H37")
@pytest.mark.parametrize(("prompt", "language"), [("什么是温度？", "zh-Hans"), ("What is temperature?", "en")])
def test_an_exported_page_says_its_language(prompt: str, language: str, tmp_path: Path) -> None:
    """And names fonts for Chinese."""
    store = Store(None)
    store.add([(Turn(prompt, prompt, id="0" * 32), 0)])
    page = History(store).export(tmp_path / "out.html").read_text(encoding="utf-8")
    assert f'<html lang="{language}">' in page and "Noto Sans CJK SC" in page
    store.close()


@pytest.mark.row("H25")
@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_without_a_server_the_nearest_recorded_question_is_named(road: str, tmp_path: Path) -> None:
    """In mode auto: the error of the server, and how the question differs from one that is on the tape."""
    tape = tmp_path / "tape.jsonl"
    with ScriptedServer(answer("a")) as server:
        url = f"{server.url}v1"
        ChatGLM(endpoint_url=url, tape=str(tape), temperature=0.5).invoke("Why is the sea blue?")
    llm = ChatGLM(endpoint_url=url, tape=str(tape), temperature=0.7, max_retries=0)
    with pytest.raises(ChatGLMError, match="No server answers") as raised:
        llm.invoke("Why is the sea blue?") if road == "invoke" else asyncio.run(
            llm.ainvoke("Why is the sea blue?")
        )
    assert raised.value.kind == "connect"
    assert "temperature" in str(raised.value) and "0.5" in str(raised.value) and "0.7" in str(raised.value)
    bare = ChatGLM(endpoint_url=url, max_retries=0)
    with pytest.raises(ChatGLMError) as control:
        bare.invoke("Why is the sea blue?")
    assert "tape" not in str(control.value)


@pytest.mark.row("H24")
def test_a_question_that_can_not_be_asked_fails_when_it_is_awaited() -> None:
    """Among others it is one failure, and the others are asked."""

    async def both(session: Session) -> list[Any]:
        asked = (session.aask("one"), session.aask("two", temperature=99), session.aask("three"))
        return await asyncio.gather(*asked, return_exceptions=True)

    with ScriptedServer(answer("ok")) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = f"{server.url}v1", "off"
        one, two, three = asyncio.run(both(session))
        assert one == three == "ok" and isinstance(two, ChatGLMError) and len(server.posts) == 2
        session.close()


@pytest.mark.row("H24")
def test_what_a_text_model_can_not_do_names_what_can() -> None:
    """Arguments and methods of chat models, as agents call them."""
    llm = ChatGLM()
    for refused, words in (
        (lambda: ChatGLM(streaming=True), "llm.stream("),
        (lambda: ChatGLM(tools=[]), "GLMChatModel"),
        (lambda: llm.bind_tools([]), "GLMChatModel"),
        (lambda: llm.with_structured_output({"title": "x", "type": "object"}), "response_format"),
    ):
        with pytest.raises(ParameterError) as raised:
            refused()
        assert words in str(raised.value) and "Did you mean" not in str(raised.value)


@pytest.mark.row("H24")
@pytest.mark.parametrize("dumper", ["SafeDumper", "Dumper", "CSafeDumper", "CDumper"])
def test_an_answer_in_yaml_is_its_text(dumper: str) -> None:
    """With each of PyYAML's writers, alone and among others, whatever its text; the control is another class."""
    kind = getattr(yaml, dumper, None)
    if kind is None:
        pytest.skip("PyYAML was built without libyaml")
    with ScriptedServer(answer("你好: yes\n- no")) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = f"{server.url}v1", "off"
        said = session.ask("hi")
        session.close()
    assert yaml.safe_load(yaml.dump({"a": [said]}, Dumper=kind)) == {"a": ["你好: yes\n- no"]}
    assert said.turn.prompt == "hi"
    strange = type("Strange", (str,), {})("x")
    with pytest.raises((yaml.YAMLError, TypeError)):
        yaml.safe_load(yaml.dump(strange, Dumper=kind))


CLOSING = """
import asyncio, gc, sys
from chatglm_magic import ChatGLM
llm, end = ChatGLM(endpoint_url=sys.argv[1]), sys.argv[2]
for _ in range(2):
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(llm.ainvoke("hi")))
    loop.close()
if end == "close":
    llm.close()
if end == "forget":
    del llm
gc.collect()
"""


@pytest.mark.row("H24")
@pytest.mark.parametrize("end", ["exit", "close", "forget"])
@pytest.mark.parametrize("path", ["", "v1"])
def test_a_loop_that_is_only_closed_leaves_no_complaint(path: str, end: str) -> None:
    """``loop.close()`` ends no generator, unlike ``asyncio.run``: nothing is printed, then or at the end."""
    with ScriptedServer(answer("ok") if path else legacy("ok")) as server:
        command = [sys.executable, "-c", CLOSING, server.url + path, end]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\nok\n", "")


def test_debug_logging_is_not_flooded() -> None:
    """A user's own DEBUG level brings no line for each rule of the Markdown parser."""
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from chatglm_magic.render.markdown import to_html\nto_html('# a\\n\\n* b')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "entering" not in done.stderr


def test_a_session_asks_with_a_template_as_ever() -> None:
    """Control: a plain prompt on ChatGLM's own protocol is sent and remembered as it is."""
    with ScriptedServer(legacy("a")) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url, "off"
        session.ask("q")
        assert session.llm.history == [["q", "a"]] and server.posts[0].body["prompt"] == "q"
        session.close()
