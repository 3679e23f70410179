"""Probabilities as servers give them, made into values; whatever else they send is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatglm_magic.llm.chunks import ChunkBuilder, merge_chunks
from chatglm_magic.values import Candidate, Delta, TokenLogprobs
from chatglm_magic.wire.openai import OpenAIReader
from chatglm_magic.wire.openai_reply import parse_logprobs

from ..support.logprobs import make_entry


def test_llama_cpps_ids_and_bytes_are_kept() -> None:
    """A part of a character keeps its bytes, a control token has none, and whole text needs none beside it."""
    top = [
        {"id": 107, "token": "\ufffd", "bytes": [175], "logprob": -0.25},
        {"id": 296, "token": "", "bytes": [229, 143], "logprob": -2},
        {"id": 2045, "token": "", "bytes": [], "logprob": -3.5},
        {"id": 7, "token": "的", "bytes": [231, 154, 132], "logprob": -4.0},
    ]
    (found,) = parse_logprobs(
        {"content": [{**top[0], "token": "路", "bytes": [232, 183, 175], "top_logprobs": top}]}
    )
    assert found.taken == Candidate("路", -0.25, 107)
    assert found.top == (
        Candidate("\ufffd", -0.25, 107, "af"),
        Candidate("", -2.0, 296, "e58f"),
        Candidate("", -3.5, 2045),
        Candidate("的", -4.0, 7),
    )
    assert [candidate.data for candidate in found.top] == [b"\xaf", b"\xe5\x8f", b"", "的".encode()]


@pytest.mark.parametrize(
    "odd",
    [
        *(None, [], 5, "x", {}, {"content": None}, {"content": {}}, {"content": [None, 5, "x", [], {}]}),
        {"content": [{"token": 5, "logprob": -1}]},
        {"content": [{"token": "x"}]},
        {"content": [{"token": "x", "logprob": "-1"}]},
        {"content": [{"token": "x", "logprob": True}]},
    ],
    ids=repr,
)
def test_what_has_another_shape_is_left_out(odd: Any) -> None:
    """No shape of an answer's probabilities breaks the answer."""
    assert parse_logprobs(odd) == ()
    reader = OpenAIReader({"content-type": "text/event-stream"})
    choice = {"index": 0, "delta": {"content": "hi"}, "logprobs": odd}
    body = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    assert [delta.text for delta in reader.feed(body)] == ["hi"]


@pytest.mark.parametrize(
    ("logprob", "kept"),
    [(-float("inf"), -1e4), (-9999.0, -9999.0), (-3.4028234663852886e38, -1e4), (1e-7, 0.0), (-(10**400), -1e4)],
)
def test_impossible_tokens_are_kept_as_such(logprob: float, kept: float) -> None:
    """A probability of nothing, in whatever words, is a finite logarithm; one above 1 is 1."""
    (found,) = parse_logprobs({"content": [{"token": "x", "logprob": logprob, "top_logprobs": [5, {}]}]})
    assert found == TokenLogprobs(Candidate("x", kept), ())


@pytest.mark.parametrize("given", ["x", {}, [256], [-1], ["a"], [1.5], None])
def test_bytes_that_are_none_are_left_out(given: Any) -> None:
    """The text stands for itself then."""
    (found,) = parse_logprobs({"content": [{"token": "x", "logprob": -1, "bytes": given}]})
    assert found.taken == Candidate("x", -1.0)


def test_streams_and_whole_answers_pass_them_on() -> None:
    """Each piece of a stream brings its tokens' odds, also one without text; a whole answer brings them all."""
    first, second = make_entry(("a", -0.5), [("a", -0.5)]), make_entry(("b", -0.25), [("b", -0.25)])
    stream = OpenAIReader({"content-type": "text/event-stream"})
    events = [
        {"delta": {"content": "a"}, "logprobs": {"content": [first]}},
        {"delta": {"content": ""}, "logprobs": {"content": [second]}},
        {"delta": {"content": "c"}, "logprobs": None},
        {"delta": {}, "finish_reason": "stop"},
    ]
    body = b"".join(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in events)
    deltas = [*stream.feed(body), *stream.close()]
    assert [[odds.taken.token for odds in delta.logprobs] for delta in deltas if delta.logprobs] == [["a"], ["b"]]
    assert "".join(delta.text for delta in deltas) == "ac"
    reader = OpenAIReader({"content-type": "application/json"})
    said = {"message": {"content": "ab"}, "finish_reason": "stop", "logprobs": {"content": [first, second]}}
    list(reader.feed(json.dumps({"choices": [said]}).encode()))
    assert [odds.taken.token for delta in reader.close() for odds in delta.logprobs] == ["a", "b"]


def test_chunks_that_are_added_up_keep_all_of_them() -> None:
    """LangChain adds chunks up in a stream, we do in a whole answer: neither loses a token's odds."""
    odds = [TokenLogprobs(Candidate(text, -1.0), (Candidate(text, -1.0),)) for text in "abc"]
    assembly = ChunkBuilder(())
    chunks = [assembly.feed(Delta(text=place.taken.token, logprobs=(place,))) for place in odds]
    found = [chunk for chunk in chunks if chunk is not None]
    assert (merge_chunks(found).generation_info or {})["logprobs"] == odds
    assert ((found[0] + found[1] + found[2]).generation_info or {})["logprobs"] == odds


def test_odds_survive_json() -> None:
    """What a tape writes as lists is the same odds when it is read."""
    odds = TokenLogprobs(
        Candidate("路", -0.25, 107), (Candidate("\ufffd", -0.25, 107, "af"), Candidate("x", -2.0))
    )
    assert TokenLogprobs.from_json(json.loads(json.dumps(odds))) == odds


@pytest.mark.parametrize(
    "wrong",
    [
        *([], [["x", -1.0]], [["x"], []], [["x", "-1"], []], [[5, -1.0], []], [["x", 0.5], []], [["x", -1.0], 5]),
        *([["x", float("nan")], []], [["x", -1.0, "7"], []], [["x", -1.0, 7, "zz"], []], [["x", -1.0], [["y"]]]),
    ],
    ids=repr,
)
def test_odds_that_were_changed_by_hand_are_refused(wrong: Any) -> None:
    """What is no token with its logarithm never gets into a figure."""
    with pytest.raises((TypeError, ValueError)):
        TokenLogprobs.from_json(wrong)
