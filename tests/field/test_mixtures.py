"""Rows H1 to H8, mixed: whatever order and split such events come in, no text is lost in silence."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.wire import openai
from chatglm_magic.wire.text_filters import resolve_thinking

TEXT = st.text("ab 你好\n`", min_size=1, max_size=6)


def line(value: Any) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def choice(number: int, **said: Any) -> bytes:
    return line({"choices": [{"index": number, "finish_reason": None} | said], "error": None})


SHAPES = {
    "delta": lambda text, number: choice(number, delta={"content": text}),
    "message": lambda text, number: choice(number, message={"content": text}),
    "text": lambda text, number: choice(number, text=text),
    "parts": lambda text, number: choice(number, delta={"content": [{"type": "text", "text": text}]}),
    "refusal": lambda text, number: choice(number, delta={"content": None, "refusal": text}),
    "bare": lambda text, number: choice(number, delta={"content": text}).removeprefix(b"data: "),
    "no error": lambda text, number: line(
        {"choices": [{"index": number, "delta": {"content": text}}], "error": {"code": 0, "message": ""}}
    ),
}
SILENT = (b": ping\n\n", b"event: x\n\n", b"\n", line({"choices": []}), choice(0, delta={}), b"junk\n")
WHOLE = (
    line({"choices": [{"index": 3, "delta": {}, "finish_reason": "stop"}]}),
    b"data: [DONE]\n\n",
    b"data: [done]\n\n",
    line({"choices": [{"index": 0, "finish_reason": "length"}]}) + b"data: DONE\n\ndata: <junk>\n\n",
)
BROKEN = (
    b"",
    b'error: {"code":400,"message":"no"}\n\n',
    b'{"error":{"message":"no"}}\n',
    line({"text": "no", "error_code": 50001}),
    line({"code": 1302, "msg": "no"}),
    line({"choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}]}),
    line({"choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]}) + b"data: [DONE]\n\n",
    b"data: {oops\n\n",
)

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(SHAPES)), TEXT, st.integers(0, 9)),
        st.tuples(st.just(""), st.sampled_from(SILENT), st.just(0)),
    ),
    max_size=8,
)


@given(EVENTS, st.one_of(st.sampled_from(WHOLE), st.sampled_from(BROKEN)), st.data())
def test_no_text_is_lost_in_silence(events: list[tuple[str, Any, int]], end: bytes, choose: st.DataObject) -> None:
    """All text comes out in its order; an answer that did not end well is an error, and never passes as whole."""
    data, expected = b"data: \n\n", ""
    for shape, text, number in events:
        data += SHAPES[shape](text, number) if shape else text
        expected += text if shape else ""
    data += end
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=6)))
    reader, found, error = openai.OpenAIReader({"content-type": "text/event-stream"}), [], None
    try:
        for begin, over in zip([0, *cuts], [*cuts, len(data)], strict=True):
            for delta in reader.feed(data[begin:over]):
                found.append(delta)
        found += reader.close()
        reader.check()
    except ChatGLMError as failed:
        error = failed
    assert "".join(delta.text for delta in resolve_thinking(found)) == expected
    assert (error is None) == (end in WHOLE)
