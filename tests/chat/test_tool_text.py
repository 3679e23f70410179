"""Calls that a server left in an answer's text, in GLM's own words: read as calls, and nothing else is."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatglm_magic import GLMChatModel
from chatglm_magic.values import Delta
from chatglm_magic.wire.tool_arguments import ArgumentCaster, cast_arguments
from chatglm_magic.wire.tool_text import ToolTextReader

from .. import tool_rivals
from ..support.clock import is_linear
from ..support.scale import choose_count
from ..support.servers import ScriptedServer, chunk, sse
from .test_replies import TOOLS, ask, calls_of, on_each_road

PARIS = ("get_weather", {"city": "Paris"})


def block(*arguments: tuple[str, str], name: str = "get_weather", between: str = "\n") -> str:
    """Write a call as GLM-4.5 and later do."""
    parts = [f"<arg_key>{key}</arg_key>{between}<arg_value>{value}</arg_value>" for key, value in arguments]
    return between.join([f"<tool_call>{name}", *parts, "</tool_call>"])


def read(text: str, *places: int) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and the calls that a text gives, cut at these places."""
    reader = ToolTextReader(TOOLS)
    ends = sorted({0, *places, len(text)})
    found = [piece for at, end in itertools.pairwise(ends) for piece in reader.feed(Delta(text=text[at:end]))]
    found += reader.close()
    calls = [(call.name, call.arguments) for piece in found for call in piece.tool_calls]
    return "".join(piece.text for piece in found), calls


def read_at_each_split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """Return what a text gives, which is the same whole, cut at each place, and letter by letter."""
    expected = read(text)
    for place in range(len(text)):
        assert read(text, place) == expected, f"cut at {place}"
    assert read(text, *range(len(text))) == expected
    return expected


CALLS = {
    "GLM-4.5": (block(("city", "北京"), ("days", "3")), "", [("get_weather", {"city": "北京", "days": 3})]),
    "no line breaks": (block(("city", "Paris"), between=""), "", [PARIS]),
    "text before": ("Let me see.\n" + block(("city", "Paris")), "Let me see.\n", [PARIS]),
    "text behind": (block(("city", "Paris")) + "\nThat's all.", "\nThat's all.", [PARIS]),
    "parallel calls": (
        block(("city", "Paris")) + "\n" + block(("city", "Rome")),
        "",
        [PARIS, ("get_weather", {"city": "Rome"})],
    ),
    "no arguments": (block(name="tool_12"), "", [("tool_12", {})]),
    "a stray tag in the name": ("<tool_call>tool_12</arg_value>\n</tool_call>", "", [("tool_12", {})]),
    "two stray tags": ("<tool_call>tool_12</arg_key></arg_value></tool_call>", "", [("tool_12", {})]),
    "no opening tag of a value": (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\nParis</arg_value>\n</tool_call>",
        "",
        [PARIS],
    ),
    "no opening tag of the call": (
        "So:\nget_weather\n<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
        "So:\n",
        [PARIS],
    ),
    "no closing tag before the next": (
        "<tool_call>tool_12\n<tool_call>tool_12\n</tool_call>",
        "",
        [("tool_12", {})] * 2,
    ),
    "a number for a text": (block(("city", "12")), "", [("get_weather", {"city": "12"})]),
    "numbers and truth values": (
        block(("days", " 3 "), ("now", "True")),
        "",
        [("get_weather", {"days": 3, "now": True})],
    ),
    "tags within a value": (
        block(("city", "a </tool_call> <tool_call>tool_12 <arg_key>")),
        "",
        [("get_weather", {"city": "a </tool_call> <tool_call>tool_12 <arg_key>"})],
    ),
    "an unknown argument": (block(("when", '{"a": [1]}')), "", [("get_weather", {"when": {"a": [1]}})]),
    "special tokens at the end": (block(("city", "Paris")) + "\n<|observation|>", "", [PARIS]),
    "JSON inside": ('<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>', "", [PARIS]),
    "JSON whose arguments are text": (
        '<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>',
        "",
        [PARIS],
    ),
    "JSON with another key": (
        '<tool_call>{"name": "get_weather", "parameters": {"city": "Paris"}}</tool_call>',
        "",
        [PARIS],
    ),
    "JSON with a tag inside": (
        '<tool_call>get_weather\n{"city": "a</tool_call>b"}</tool_call>',
        "",
        [("get_weather", {"city": "a</tool_call>b"})],
    ),
    "GLM-4-9B": (
        'get_weather\n{"city": "Paris", "days": "3"}',
        "",
        [("get_weather", {"city": "Paris", "days": 3})],
    ),
    "GLM-4-9B, special token": ('get_weather\n{"city": "Paris"}<|observation|>', "", [PARIS]),
    "ChatGLM3": ("get_weather\n```python\ntool_call(city='Paris')\n```", "", [PARIS]),
}


@pytest.mark.row("K4")
@pytest.mark.parametrize("kind", CALLS)
def test_a_call_in_the_text_is_read_at_every_split(kind: str) -> None:
    """In each of GLM's manners, and with each of the faults that servers' parsers are known for."""
    text, left, expected = CALLS[kind]
    said, calls = read_at_each_split(text)
    assert said == left and [(name, json.loads(arguments)) for name, arguments in calls] == expected


CUT = {
    "within a value": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Par",
    "within a key": "<tool_call>get_weather\n<arg_key>ci",
    "behind an argument": "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value>",
    "behind the name": "<tool_call>get_weather",
    "within JSON": '<tool_call>get_weather\n{"city": "Par',
    "what is no argument": "<tool_call>get_weather\n<arg_key>city</arg_key> Paris\n</tool_call>",
}


@pytest.mark.row("K4")
@pytest.mark.parametrize("kind", CUT)
def test_a_call_that_is_cut_is_invalid_with_its_text(kind: str) -> None:
    """Near the limit of the context a block has no end; what there is of it is kept, and not run."""
    said, calls = read_at_each_split(CUT[kind])
    assert said == "" and calls == [("get_weather", CUT[kind].removeprefix("<tool_call>"))]


TEXTS = [
    "To call, GLM writes <tool_call>get_weather</tool_call> and so on.",
    'He said "<tool_call>tool_12</tool_call>" twice.',
    "tool_12\n</tool_call> is what you see.",
    'get_weather {"city": "Paris"}',
    'get_weather\n{"other": 1}',
    "Use `<tool_call>get_weather</tool_call>` to call it.",
    "```\n<tool_call>get_weather\n</tool_call>\n```\n",
    "~~~xml\n<tool_call>get_weather<arg_key>city</arg_key><arg_value>x</arg_value></tool_call>\n~~~",
    "The tag <tool_call> opens a call.",
    "<tool_call>",
    "<tool_call>get_",
    "<tool_call>other\n<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>",
    "<tool_call>get_weather tells the weather</tool_call>",
    "<tool_call>get_weather\nis how it begins.",
    '<tool_call>{"name": "other", "arguments": {}}</tool_call>',
    "get_weather",
    "get_weather is a tool.",
    "get_weather\nis a tool.",
    'get_weather\n{"city": "Paris"} is how it looks.',
    "get_weather\n```python\nprint(1)\n```",
    'First:\nget_weather\n{"city": "Paris"}',
    "a < b and c > d <|observation|>",
    "</tool_call> and </arg_value>",
]


@pytest.mark.row("K4")
def test_a_block_without_arguments_that_can_be_read_is_invalid() -> None:
    """A list for arguments, or arguments beside the name: no call is made of the wrapper."""
    for inside in ('{"name": "get_weather", "arguments": [1]}', '{"name": "get_weather", "city": "Paris"}'):
        said, ((name, arguments),) = read_at_each_split(f"<tool_call>{inside}</tool_call>")
        assert (said, name, arguments) == ("", "get_weather", f"<tool_call>{inside}")


@pytest.mark.row("K4")
@pytest.mark.parametrize("text", TEXTS)
def test_text_that_only_mentions_a_call_stays_text(text: str) -> None:
    """In code, for a tool that isn't bound, or in a sentence: not a letter is lost, and nothing is called."""
    assert read_at_each_split(text) == (text, [])


names = st.sampled_from(["city", "when", "地点", "a b"])
values = st.text(max_size=30).filter(lambda text: "</arg_value>" not in text and "\r" not in text)


@pytest.mark.row("K4")
@given(st.lists(st.dictionaries(names, values, max_size=3), min_size=1, max_size=3), st.data())
def test_calls_come_back_as_they_were_written(calls: list[dict[str, str]], data: st.DataObject) -> None:
    """Texts of every kind in the manner of GLM-4.5, cut anywhere: the same names, and the same values of texts."""
    text = "\n".join(block(*((key, value) for key, value in call.items())) for call in calls)
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=6))
    said, found = read(text, *places)
    assert said == "" and [name for name, _ in found] == ["get_weather"] * len(calls)
    for (_, arguments), call in zip(found, calls, strict=True):
        came = json.loads(arguments)
        assert came.keys() == call.keys() and came.get("city") == call.get("city")


TAGS = [
    "<tool_call>",
    "</tool_call>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<|user|>",
    "```",
    "`",
]
WORDS = ["other", "get_weathers", "\n", " ", "{", '{"name": "other"', "<", "</", "text ", "文字"]
prose = st.lists(st.sampled_from([*TAGS, *WORDS]), max_size=30).map("".join)


@pytest.mark.row("K4")
@given(prose, st.lists(st.integers(0, 200), max_size=6))
def test_no_call_is_invented_and_no_text_lost(text: str, places: list[int]) -> None:
    """Tags in any order without a bound tool's name: the text comes out as it went in."""
    assert read(text, *(place for place in places if place < len(text))) == (text, [])


@pytest.mark.row("K4")
@given(
    st.lists(st.sampled_from([*TAGS, *WORDS, "get_weather", "tool_12", block(("city", "x"))]), max_size=20).map(
        "".join
    )
)
def test_pieces_make_no_difference(text: str) -> None:
    """Tags, names and calls in any order: the same text and the same calls, whole or letter by letter."""
    assert read(text, *range(len(text))) == read(text)


@pytest.mark.row("K4", "K5")
@on_each_road
def test_the_message_says_that_its_calls_were_in_the_text(road: str) -> None:
    """A server without a parser ends with ``stop`` and leaves the block in the content, after its thinking."""
    text = "I need a tool.</think>Let me see. " + block(("city", "Paris"), ("days", "3"))
    events = [chunk(text[at : at + 7]) for at in range(0, len(text), 7)]
    message = ask(sse([*events, chunk(None, finish_reason="stop")]), road)
    assert message.text == "Let me see. " and calls_of(message) == [("get_weather", {"city": "Paris", "days": 3})]
    assert message.additional_kwargs["reasoning_content"] == "I need a tool."
    assert message.response_metadata["changed"] == [
        "tool_calls: 1 read from the answer's text, where the server left them"
    ]


@pytest.mark.row("K4", "K5")
@on_each_road
def test_a_call_within_thinking_is_not_made(road: str) -> None:
    """Where only the end of thinking is marked: the block is part of the thought again, in its place."""
    thought = f"I could say\n{block(('city', 'Paris'))}\nbut not now."
    events = [chunk(thought[at : at + 7]) for at in range(0, len(thought), 7)]
    message = ask(sse([*events, chunk("</think>ok"), chunk(None, finish_reason="stop")]), road)
    assert calls_of(message) == [] and message.text == "ok"
    assert message.additional_kwargs["reasoning_content"].replace("\n", "") == thought.replace("\n", "")
    assert "changed" not in message.response_metadata


@pytest.mark.row("K4")
@on_each_road
def test_nothing_is_called_that_must_not_be(road: str) -> None:
    """With ``tool_choice="none"``, and behind a stop string."""
    said = f"Well. STOP\n{block(('city', 'Paris'))}"
    for size in (1, 7, 1000):
        events = [chunk(said[at : at + size]) for at in range(0, len(said), size)]
        message = ask(sse([*events, chunk(None, finish_reason="stop")]), road, stop=["STOP"])
        assert calls_of(message) == [] and message.text == "Well. "
    with ScriptedServer(sse([chunk(block(("city", "Paris"))), chunk(None, finish_reason="stop")])) as server:
        model: Any = GLMChatModel(endpoint_url=f"{server.url}v1").bind(tools=TOOLS, tool_choice="none")
        assert model.invoke("hi").tool_calls == [] and "get_weather" in model.invoke("hi").text


@pytest.mark.row("K4")
@on_each_road
def test_a_cut_block_is_an_invalid_call_of_the_message(road: str) -> None:
    """Its text is in the call, and not in the answer."""
    events = [chunk("<tool_call>get_weather\n<arg_key>ci"), chunk(None, finish_reason="length")]
    message = ask(sse(events), road)
    (call,) = message.invalid_tool_calls
    assert calls_of(message) == [] and message.text == ""
    assert (call["name"], call["args"]) == ("get_weather", "get_weather\n<arg_key>ci")


@pytest.mark.row("K4")
@on_each_road
@pytest.mark.parametrize("how", ["kept", "no tools"])
def test_reading_can_be_switched_off(how: str, road: str) -> None:
    """``tool_text="keep"`` leaves a block where it is; so does a request without tools."""
    events = [chunk(block(("city", "Paris"))), chunk(None, finish_reason="stop")]
    fields: dict[str, Any] = {"tool_text": "keep"} if how == "kept" else {"tools": False}
    message = ask(sse(events), road, **fields)
    assert message.text == block(("city", "Paris")) and calls_of(message) == []


def read_letter_by_letter(text: str) -> str:
    """Return all that a reader says of a text, with what it takes for calls."""
    reader = ToolTextReader(TOOLS)
    found = [piece for letter in text for piece in reader.feed(Delta(text=letter))] + reader.close()
    return "".join(piece.text for piece in found) + "".join(reader.blocks)


@pytest.mark.row("K4", "X6")
def test_a_call_without_end_is_read_in_linear_time() -> None:
    """A server that sends a value without end, letter by letter, is not looked through again and again."""
    size = choose_count(1, 5)
    for text in (
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>" + "x" * 60_000 * size,
        "<tool_call>get_weather<arg_key>" + "x" * 60_000 * size,
        '<tool_call>get_weather\n{"city": "' + "</tool_call>" * 4_000 * size,
        "<tool_call>" + " " * 12_000 * size,
        "<tool_call>get_weather" + "</arg_value>" * 1_000 * size,
        "<tool_call>tool_12</tool_call>\n" + "<|a|> " * 2_000 * size,
        "<tool_call>tool_12</tool_call>" + " " * 12_000 * size,
        'get_weather\n{"city": "' + "x" * 50_000 * size,
    ):
        assert is_linear(read_letter_by_letter, text), text[:40]
        assert len(text) - 12_010 * size <= len(read_letter_by_letter(text)) <= len(text)


@pytest.mark.row("K4", "K3")
@pytest.mark.parametrize("stream", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize("case", tool_rivals.CASES, ids=lambda case: case.name)
def test_faults_of_servers_parsers_are_mended(case: tool_rivals.Case, stream: bool) -> None:
    """Those of which the documentation has a table: the call that was meant, or an invalid one."""
    assert tool_rivals.judge(case, tool_rivals.ask_ours, stream=stream).startswith("✓")


ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "city": st.text(max_size=8) | st.integers(-99, 99),
        "days": st.integers(-9, 9) | st.integers(-9, 9).map(str) | st.just("many"),
        "now": st.booleans() | st.sampled_from(["true", "False", "perhaps", ""]),
        "other": st.recursive(st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner, max_size=2)),
    },
)
SCHEMA = TOOLS[0]["function"]["parameters"]


@pytest.mark.row("K3")
@given(ARGUMENTS, st.booleans(), st.lists(st.integers(0, 80), max_size=5))
def test_streamed_arguments_are_cast_as_whole_ones_are(values: Any, spaced: bool, places: list[int]) -> None:
    """Cut anywhere: what doesn't fit the schema is cast where it can be, all else is as it came."""
    text = json.dumps(values, ensure_ascii=False, indent=2 if spaced else None)
    ends = sorted({0, len(text), *(place for place in places if place < len(text))})
    caster = ArgumentCaster(SCHEMA)
    came = "".join(caster.feed(text[at:end]) for at, end in itertools.pairwise(ends)) + caster.close()
    assert json.loads(came) == cast_arguments(values, SCHEMA)
    assert caster.changed == (cast_arguments(values, SCHEMA) != values) and (caster.changed or came == text)


@pytest.mark.row("K3")
@given(st.text('{}[]":,\\ abn1', max_size=20))
def test_what_is_no_object_goes_through(text: str) -> None:
    """Nothing is lost or added, however broken the arguments are."""
    caster = ArgumentCaster(SCHEMA)
    assert "".join(map(caster.feed, text)) + caster.close() == text
