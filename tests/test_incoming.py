"""An answer on its way in, without a network: how many headers and how many bytes are taken."""

from __future__ import annotations

import time
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.client.response import MAX_HEADER_CHARS, MAX_HEADER_COUNT, MAX_STREAM_BYTES, ResponseReader
from chatglm_magic.client.timeouts import Deadline, Timeouts
from chatglm_magic.errors import ChatGLMError, EndpointError, IncompleteAnswerError

EVENTS = [("Content-Type", "text/event-stream")]


def begin(headers: Any, **limits: float) -> ResponseReader:
    """Return an answer of which the headers have come."""
    call = ChatGLM(endpoint_url="http://127.0.0.1:1/v1").plan("q").request
    return ResponseReader(call, Deadline(Timeouts(**limits)), headers)


def test_a_hundred_headers_are_taken_and_not_one_more() -> None:
    """Nor one that is longer than Python's own client takes."""
    begin([(f"x-{n}", "") for n in range(MAX_HEADER_COUNT)])
    begin([("x", "y" * (MAX_HEADER_CHARS - 2))])
    for headers in ([(f"x-{n}", "") for n in range(MAX_HEADER_COUNT + 1)], [("x", "y" * (MAX_HEADER_CHARS - 1))]):
        with pytest.raises(EndpointError) as raised:
            begin(headers)
        assert raised.value.kind == "protocol"


def test_a_stream_is_read_up_to_its_limit_and_no_further() -> None:
    """Counted over all blocks, whatever is in them: 256 MiB."""
    incoming = begin(EVENTS)
    first, block = b"data:\n\n", b"data: " + b" " * ((32 << 20) - 8) + b"\n\n"
    for piece in (first, *[block] * (MAX_STREAM_BYTES // len(block) - 1), block[: -len(first)]):
        list(incoming.feed(piece))
    with pytest.raises(IncompleteAnswerError) as raised:
        list(incoming.feed(b"\n"))
    assert raised.value.kind == "too_large" and MAX_STREAM_BYTES == 256 << 20


def test_bytes_without_a_piece_of_the_answer_do_not_keep_it_alive() -> None:
    """Once the time for new text is over, comments that keep coming end it; a piece begins the time anew."""
    incoming = begin(EVENTS, content=0.2)
    piece = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    end = time.monotonic() + 20
    with pytest.raises(IncompleteAnswerError) as raised:
        while time.monotonic() < end:
            list(incoming.feed(b": still here\n\n"))
    assert raised.value.kind == "stalled"
    lively = begin(EVENTS, content=0.2)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        list(lively.feed(piece))


def test_a_whole_answer_has_one_time_for_all_of_it() -> None:
    """However lively it is."""
    incoming = begin(EVENTS, total=0.2)
    end = time.monotonic() + 20
    with pytest.raises(ChatGLMError) as raised:
        while time.monotonic() < end:
            list(incoming.feed(b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'))
    assert raised.value.kind == "total_timeout"
