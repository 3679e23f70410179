"""Text that is made to cost time or to be read in two ways: it is linear, has a budget, or is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import process_time

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError, CommandError, IncompleteAnswerError, InvalidResponseError
from chatglm_magic.render.markdown import to_html
from chatglm_magic.store import History
from chatglm_magic.store.imports import read_turns
from chatglm_magic.values import Turn
from chatglm_magic.wire.text_filters import ThinkSplitter

from .support.servers import Script, ScriptedServer, chunk, raw, reply, sse
from .support.stores import make_turn, open_store


def nested(depth: int, inner: object = "deep") -> object:
    """Return a value in so many lists."""
    for _ in range(depth):
        inner = [inner]
    return inner


def ask(script: Script, way: str, path: str) -> str:
    """Ask a server that answers with a script."""
    with ScriptedServer(script) as server:
        llm = ChatGLM(endpoint_url=server.url + path)
        return llm.invoke("hi") if way == "sync" else asyncio.run(llm.ainvoke("hi"))


@pytest.mark.row("X6")
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("path", ["", "v1"])
@pytest.mark.parametrize("depth", [7, 600, 900, 100_000])
def test_an_error_that_is_nested_deep_is_an_error_of_ours(depth: int, path: str, way: str) -> None:
    """As a refusal, as a whole answer and in a stream; words that lie a few levels deep are shown."""
    body = json.dumps({"error": nested(depth)}) if depth < 1000 else '{"error": ' + "[" * depth + "]" * depth + "}"
    scripts = [reply(body, status=400), reply(body)] + ([sse([body])] if path else [])
    for script in scripts:
        with pytest.raises(ChatGLMError) as caught:
            ask(script, way, path)
        assert len(str(caught.value)) < 1200
        assert depth > 7 or "deep" in str(caught.value)


def split(piece: str, count: int) -> float:
    """Return the seconds of computing that so many pieces take in the splitter, which must lose none of them."""
    splitter = ThinkSplitter()
    began = process_time()
    told = [delta.text for _ in range(count) for delta in splitter.feed(piece)]
    told += [delta.text for delta in splitter.close()]
    took = process_time() - began
    assert "".join(told) == piece * count
    return took


@pytest.mark.row("X6")
@pytest.mark.parametrize("piece", ["\n", " ", "\n\n  \t"])
def test_blank_pieces_before_an_answer_cost_linear_time(piece: str) -> None:
    """Four times as many take about four times as long, by the processor's clock; quadratic work takes sixteen."""
    short = min(split(piece, 50_000) for _ in range(3))
    assert min(split(piece, 200_000) for _ in range(3)) < 10 * short


@pytest.mark.row("X6")
@pytest.mark.parametrize(
    ("language", "bit"), [("java", "a "), ("c", "\n"), ("c++", "\n "), ("csharp", "  a\n"), ("csharp", "a b c\n")]
)
def test_code_that_is_slow_to_colour_is_plain(language: str, bit: str) -> None:
    """Colouring has half a second of computing for an answer; all of the code is shown, honest code in colours."""
    lines = (bit * 20_000)[:20_000]
    code = lines if "\n" in bit else "\n".join(lines[at : at + 900] for at in range(0, 19_000, 900))
    began = process_time()
    html = to_html(f"```{language}\n{code}\n```\n\n```python\nprint(1)\n```")
    assert process_time() - began < 5
    assert html.count("a") >= code.count("a")
    honest = "int add(int first, int second) { return first + second; }\n" * 300
    assert '<span class="k' in to_html(f"```{language}\n{honest}```")


STRANGE = {
    "NaN": '{"choices": [{"index": 0, "delta": {"content": "b"}, "x": NaN}]}',
    "Infinity": '{"choices": [{"index": 0, "delta": {"content": "b"}, "x": -Infinity}]}',
    "twice": '{"choices": [{"index": 0, "delta": {"content": "b", "content": "c"}}]}',
}


@pytest.mark.row("X7")
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("name", STRANGE)
def test_an_event_is_read_as_strictly_as_a_whole_answer(name: str, way: str) -> None:
    """NaN, Infinity and a name twice are refused in both; what had come before is kept."""
    end = chunk(None, finish_reason="stop")
    with pytest.raises(IncompleteAnswerError) as broken:
        ask(sse([chunk("a"), STRANGE[name], end]), way, "v1")
    assert broken.value.partial == "a"
    with pytest.raises(InvalidResponseError):
        ask(reply(STRANGE[name].replace("delta", "message")), way, "v1")
    control = STRANGE[name].replace("NaN", "1").replace("-Infinity", "1").replace(', "content": "c"', "")
    assert ask(sse([chunk("a"), control, end]), way, "v1") == "ab"


@pytest.mark.row("X7")
def test_a_stored_nan_does_not_make_an_export_unreadable(tmp_path: Path) -> None:
    """Older versions stored them; an export of such a turn is imported again, without the number."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        turn = make_turn("hi", usage={"completion_tokens": float("nan"), "prompt_tokens": 3})
        store.put(turn, 0)
        assert "NaN" in json.dumps(turn.to_json()), "the control: it would be written as it is"
        exported = History(store).export(tmp_path / "out.jsonl")
    ((again, _),) = read_turns(exported)
    assert isinstance(again, Turn) and again.prompt == "hi"
    assert again.usage.get("prompt_tokens") == 3 and again.usage.get("completion_tokens") is None


@pytest.mark.row("X7")
def test_a_file_that_names_a_key_twice_is_not_imported(tmp_path: Path) -> None:
    """Which of both is meant, readers disagree about."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a", "prompt": "b"}\n', encoding="utf-8")
    with pytest.raises(CommandError, match="duplicate key"):
        read_turns(path)


@pytest.mark.row("X6")
def test_blanks_before_a_whole_answer_cost_linear_time() -> None:
    """A megabyte of blank lines in small blocks before the JSON is read in time."""
    body = b"\n" * 400_000 + json.dumps({"response": "ok", "history": [], "status": 200}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    began = process_time()
    assert ask(raw(head + body), "sync", "") == "ok"
    assert process_time() - began < 5
