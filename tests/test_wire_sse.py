"""Server-sent events come out the same, however their bytes are split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.data())
def test_any_bytes_split_anywhere_give_the_same_events(data: bytes, choose: st.DataObject) -> None:
    """No input crashes the decoder, and no split changes what it says."""
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    decoder = SSEDecoder(2**26)
    split = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
    assert split == decode(data, max(1, len(data)))
