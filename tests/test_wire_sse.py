"""Server-sent events come out the same, however their bytes are split."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.values import Delta
from chatglm_magic.wire.chatglm import ChatGLMReader
from chatglm_magic.wire.openai import OpenAIReader
from chatglm_magic.wire.sse import Event, SSEDecoder

STREAM = (
    "\ufeff: ping\r\n\r\nevent: delta\ndata: 入🤖\u2028\u0085\n\nid: 7\nretry: 3\n\n"
    "data:a\ndata\ndata:  b\r\rdata: \ufeffend\n\ndata: [DONE]\n\ndata: left"
).encode()
EVENTS = [
    Event("入🤖\u2028\u0085", "delta"),
    Event("a\n\n b"),
    Event("\ufeffend"),
    Event("[DONE]"),
    Event("left", cut=True),
]


def decode(data: bytes, size: int) -> list[Event]:
    decoder = SSEDecoder(2**26)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 97, 4093])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_events_do_not_depend_on_the_pieces(size: int, ends: str) -> None:
    """Every size of piece and every kind of line end gives the same events."""
    data = STREAM.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", ends.encode())
    assert decode(data, size) == EVENTS


def test_every_split_point() -> None:
    """One cut at any place changes nothing, also inside a character and between CR and LF."""
    for at in range(len(STREAM)):
        decoder = SSEDecoder(2**26)
        assert decoder.feed(STREAM[:at]) + decoder.feed(STREAM[at:]) + decoder.close() == EVENTS


def test_bad_utf8_is_replaced_and_marked() -> None:
    """Damage is visible in the event, never an exception."""
    (event,) = decode(b"data: a\xffb\n\n", 99)
    assert (event.data, event.damaged) == ("a\ufffdb", True)


def test_a_sent_replacement_character_is_no_damage() -> None:
    """A server may send U+FFFD itself."""
    (event,) = decode("data: \ufffd\n\n".encode(), 99)
    assert not event.damaged


LINES = st.sampled_from(
    [
        *(b"data: ", b"data:", b"data", b"event: x", b"id: 7", b"retry: 3", b": ping", b"\xef\xbb\xbf", b"[DONE]"),
        *(
            "入🤖\u2028\u0085".encode(),
            b"\xff",
            b"\r",
            b"\n",
            b"\r\n",
            b"\n\n",
            b'{"choices":[{"delta":{"content":"a"}}]}',
        ),
        *(b'{"choices":[]}', b'{"error":"x"}', b'"finish_reason":"stop"', b"<think>", b"null", b"[" * 50, b"\x00"),
    ]
)
STREAMS = st.one_of(st.binary(max_size=400), st.lists(LINES, max_size=40).map(b"".join))


def by_the_book(data: bytes) -> list[str]:
    """Read a stream a second way, slowly and all at once: what the standard says about data alone."""
    found: list[str] = []
    held: list[bytes] = []
    lines = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        name, _, value = line.partition(b":")
        if name == b"data":
            held.append(value.removeprefix(b" "))
        if not line and held:
            found.append(b"\n".join(held).decode(errors="replace"))
            held = []
    return found


def cut(data: bytes, choose: st.DataObject) -> list[bytes]:
    """Cut a stream into pieces at any places."""
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.parametrize("line", [b'{"a": 1}', b"error: x", b'{\n"a": 1\n}'])
def test_what_stands_among_an_events_data_does_not_cut_it(line: bytes) -> None:
    """The event is one, as the standard has it; what the standard passes over comes behind it."""
    data, behind = decode(b"data: one\n" + line + b"\ndata: two\n\n", 1)
    assert data == Event("one\ntwo") and behind.bare
    assert [event.data for event in decode(line + b"\ndata: one\n\n", 1)][1] == "one"


@given(STREAMS, st.data())
def test_any_bytes_split_anywhere_give_the_same_events(data: bytes, choose: st.DataObject) -> None:
    """No input crashes the decoder, no split changes what it says, and a second decoder says the same."""
    decoder = SSEDecoder(2**26)
    split = [event for piece in cut(data, choose) for event in decoder.feed(piece)] + decoder.close()
    assert split == decode(data, max(1, len(data)))
    assert [event.data for event in split if not (event.cut or event.bare)] == by_the_book(data)


def read(reader: Any, pieces: list[bytes]) -> tuple[list[Delta], str | None]:
    """Return what a reader makes of a stream, and the error's kind."""
    found: list[Delta] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
        found += reader.close()
        reader.check()
    except ChatGLMError as error:
        return found, error.kind
    return found, None


@given(STREAMS, st.data(), st.sampled_from(["text/event-stream", "application/json", ""]))
def test_any_answer_split_anywhere_reads_the_same(data: bytes, choose: st.DataObject, kind: str) -> None:
    """Whatever a server says, both readers give pieces or an error of ours, the same for every split."""
    headers = {"content-type": kind}
    for reader in (OpenAIReader, ChatGLMReader):
        assert read(reader(headers), cut(data, choose)) == read(reader(headers), [data])
