"""The one request of a lens: what it sends, what it makes of the answers of many servers, what it keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import LocalServer, lens
from chatglm_magic.errors import ChatGLMError, InvalidResponseError, ParameterError, ResponseError
from chatglm_magic.lenses.report import lens_html, lens_text
from chatglm_magic.session.draft import Draft
from chatglm_magic.values import Turn
from chatglm_magic.widgets.lens_box import LensBox

from ..support.logprobs import (
    ANSWER,
    LlamaServer,
    make_entry,
    make_event,
    open_local_session,
    open_session,
    stream_events,
)
from ..support.servers import answer, chunk, legacy, reply, sse

V1 = "v1"


@pytest.fixture(scope="module")
def builtin() -> Iterator[LocalServer]:
    """The built-in model."""
    with LocalServer() as running:
        yield running


def test_one_request_asks_for_probabilities() -> None:
    """The request is an ordinary question with two more keys and, since nobody chose a length, 128 tokens."""
    with LlamaServer(ANSWER) as server:
        found = lens("say hi", open_session(server.url + V1), temperature=0.5)
        (post,) = server.posts
    assert post.path == "/v1/chat/completions"
    assert post.body["messages"] == [{"role": "user", "content": "say hi"}]
    assert post.body["logprobs"] is True and post.body["top_logprobs"] == 4096
    assert post.body["max_tokens"] == 128 and post.body["temperature"] == 0.5
    assert found.text == "Hi you" and found.turn.sent["top_logprobs"] == 4096 and found.temperature == 0.5
    assert len(found) == 2 and [position.token for position in found] == ["Hi", " you"]


def test_a_chosen_length_is_kept() -> None:
    """max_token of the call or of the session, and max_tokens by any other name, are left as they are."""
    with LlamaServer(ANSWER) as server:
        session = open_session(server.url + V1)
        lens("a", session, max_token=7, top=5)
        session.settings.max_token = 9
        lens("b", session)
        lens("c", open_session(server.url + V1), max_completion_tokens=11)
        bodies = [post.body for post in server.posts]
    assert [body.get("max_tokens") for body in bodies] == [7, 9, None]
    assert bodies[2]["max_completion_tokens"] == 11 and bodies[0]["top_logprobs"] == 5


def test_re_shaping_sends_nothing() -> None:
    """However often temperature and top_p are moved, and whatever is shown, the server has seen one request."""
    with LlamaServer(ANSWER) as server:
        found = lens("x", open_session(server.url + V1))
        assert len(server.posts) == 1
        for step in range(50):
            shapes = found.reshape(step / 10, step / 50, step)
            assert all(shape.entropy.low >= 0 for shape in shapes)
            assert all(position.bars(shape) for position, shape in zip(found, shapes, strict=True))
        assert found._repr_html_() and len(found.to_dataframe(2.0, 0.5)) == 7
        assert len(server.posts) == 1


def test_the_taken_token_need_not_be_among_the_most_likely() -> None:
    """As vLLM gives it: it stands behind the named ones, its rank unknown, its own probability known."""
    with LlamaServer(ANSWER) as server:
        first, second = lens("x", open_session(server.url + V1))
    assert (first.taken, first.ranked, len(first.candidates)) == (0, 3, 3)
    assert (second.taken, second.ranked, len(second.candidates)) == (3, 3, 4)
    assert second.candidates[3].token == " you"
    assert second.tail is not None and second.tail.ceiling == -4.0
    assert second.reshape().probability(3) == pytest.approx((math.exp(-5),) * 2, rel=1e-3)
    assert second.reshape(1.0, 0.5).survives(3) is False and second.reshape(1.0, 0.9).survives(3) is None
    assert second.bars()[-1].kind == "tail"


def test_a_taken_token_that_is_named_apart_finds_its_rank() -> None:
    """One that is likelier than the last of the named ones is put among them."""
    place = make_entry(("b", -1.5), [("a", -0.5), ("c", -2.5)])
    with LlamaServer(stream_events(make_event("b", place))) as server:
        (found,) = lens("x", open_session(server.url + V1))
    assert [candidate.token for candidate in found.candidates] == ["a", "b", "c"]
    assert (found.taken, found.ranked) == (1, 3) and found.reshape(1.0, 0.7).survivors == (2, 2)


LIMITS = [
    "Requested sample logprobs of 4096, which is greater than max allowed: 20",
    "Invalid value for 'top_logprobs': must be less than or equal to 20.",
    "top_logprobs must be between 0 and 20",
]


@pytest.mark.parametrize("words", LIMITS)
def test_a_limit_that_is_named_is_kept_to(words: str) -> None:
    """A refusal that names the server's limit is followed by one request with it, which the turn tells of."""
    with LlamaServer(reply({"error": {"message": words}}, status=400), ANSWER) as server:
        found = lens("x", open_session(server.url + V1))
        assert [post.body["top_logprobs"] for post in server.posts] == [4096, 20]
    assert found.turn.changed == ("top_logprobs: 4096 refused, 20 taken",)
    assert len(found) == 2 and not found.complete


def test_a_limit_is_kept_to_once() -> None:
    """A server that goes on to refuse is not asked a third time; so is one that names no limit below the wish."""
    refusal = reply({"error": {"message": "top_logprobs 4096 is above 20, or 5"}}, status=400)
    with LlamaServer(refusal) as server:
        with pytest.raises(ResponseError, match=r"llama\.cpp, vLLM"):
            lens("x", open_session(server.url + V1))
        assert len(server.posts) == 2
    with LlamaServer(reply({"error": {"message": "logprobs is not supported"}}, status=400)) as server:
        with pytest.raises(ResponseError, match=r"not supported.*%chatglm_serve"):
            lens("x", open_session(server.url + V1))
        assert len(server.posts) == 1


def test_an_ordinary_question_is_not_asked_again_for_a_number() -> None:
    """Without top_logprobs of its own a refused question stays refused, whatever numbers stand in the words."""
    with LlamaServer(reply({"error": {"message": "logprobs: 20"}}, status=400)) as server:
        with pytest.raises(ResponseError):
            open_session(server.url + V1).ask("x")
        assert len(server.posts) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answer("Hi"), "gave none"),
        (stream_events(make_event("Hi", make_entry(("Hi", -0.5)))), "only those of the tokens it took"),
        (sse([chunk("Hi") | {"logprobs": "x"}, chunk(None, finish_reason="stop")]), "gave none"),
    ],
)
def test_an_answer_without_probabilities_is_told(script: Any, words: str) -> None:
    """The error says which servers have them; the answer's text is not lost."""
    with LlamaServer(script) as server, pytest.raises(InvalidResponseError, match=words) as caught:
        lens("x", open_session(server.url + V1))
    assert caught.value.kind == "no_logprobs" and caught.value.partial == "Hi"
    assert "%chatglm_serve" in str(caught.value)


def test_an_empty_answer_is_told() -> None:
    """There is nothing to look at."""
    with LlamaServer(answer()) as server, pytest.raises(InvalidResponseError) as caught:
        lens("x", open_session(server.url + V1))
    assert caught.value.kind == "empty_reply"


def test_chatglms_own_protocol_has_none() -> None:
    """Nothing is sent; the message says what to type."""
    with LlamaServer(legacy()) as server:
        with pytest.raises(ParameterError, match=rf"endpoint_url={server.url}v1.*%chatglm_serve"):
            lens("x", open_session(server.url))
        assert server.asked == []


@pytest.mark.parametrize("wrong", [{"top": 0}, {"top": -1}, {"top": True}, {"top": 2.5}, {"vocabulary": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is sent."""
    with LlamaServer(ANSWER) as server:
        with pytest.raises(ParameterError, match="1 or more"):
            lens("x", open_session(server.url + V1), **wrong)
        assert server.asked == []


def test_the_conversation_stays_as_it_is() -> None:
    """A lens is recorded, but no later question is sent with it; with history=True it sees the turns before."""
    with LlamaServer(answer("one"), ANSWER, ANSWER, answer("two")) as server:
        session = open_session(server.url + V1)
        session.ask("q1")
        lens("q2", session)
        lens("q3", session, history=True)
        session.ask("q4")
        asked = [[message["content"] for message in post.body["messages"]] for post in server.posts]
    assert asked == [["q1"], ["q2"], ["q1", "one", "q3"], ["q1", "one", "q4"]]
    assert [turn.kind for turn in session.turns] == ["chat", "lens", "lens", "chat"]
    assert [turn.kind for turn in session.history] == ["chat", "lens", "lens", "chat"]


def test_an_unrecorded_lens_leaves_no_turn() -> None:
    """record=False keeps none."""
    with LlamaServer(ANSWER) as server:
        session = open_session(server.url + V1)
        assert len(lens("x", session, record=False)) == 2
        assert session.turns == ()


def test_a_view_is_told_while_the_answer_arrives() -> None:
    """It sees the text grow and the end of it."""

    class Watching:
        def __init__(self) -> None:
            self.texts: list[str] = []
            self.ended: Turn | None = None

        def update(self, draft: Draft) -> None:
            self.texts.append(draft.text)

        def close(self, turn: Turn) -> None:
            self.ended = turn

    with LlamaServer(ANSWER) as server:
        watching = Watching()
        found = lens("x", open_session(server.url + V1), view=watching)
    assert watching.ended == found.turn and {"Hi", "Hi you"} <= set(watching.texts)


def whole_vocabulary(count: int, **more: Any) -> list[Any]:
    """One token's candidates: ``count`` of them, alike, which add up to 1 unless told otherwise."""
    logprob = more.get("logprob", -math.log(count))
    return [(f"t{n}", logprob) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "options", "complete"),
    [
        (300, {}, True),
        (300, {"top": 301}, True),
        (300, {"top": 300}, False),  # as many as were asked for: there may be more
        (300, {"top": 300, "vocabulary": 300}, True),
        (300, {"vocabulary": 301}, False),
        (200, {}, False),  # no byte-level vocabulary is so small
        (20, {}, False),
    ],
)
def test_a_whole_vocabulary_is_told_from_a_part(count: int, options: dict[str, Any], complete: bool) -> None:
    """A server that names fewer than it was asked for, and all of the mass, has named all it knows."""
    place = make_entry(("t0", -math.log(count)), whole_vocabulary(count))
    with LlamaServer(stream_events(make_event("t0", place), make_event("t0", place))) as server:
        found = lens("x", open_session(server.url + V1), **options)
    assert found.complete is complete
    assert all((position.tail is None) is complete for position in found)


def test_a_list_that_was_cut_short_is_not_whole() -> None:
    """Neither where mass is missing, nor where the places differ, nor where the server says that it took fewer."""
    short = make_entry(("t0", -6.0), whole_vocabulary(300, logprob=-6.0))
    long, longer = (make_entry(("t0", -math.log(n)), whole_vocabulary(n)) for n in (300, 301))
    for events in ((make_event("t0", short),), (make_event("t0", long), make_event("t0", longer))):
        with LlamaServer(stream_events(*events)) as server:
            assert not lens("x", open_session(server.url + V1)).complete
    choice = {"message": {"content": "t0"}, "finish_reason": "stop", "logprobs": {"content": [long]}}
    cut = reply({"choices": [choice]}, X_ChatGLM_Changed="top_logprobs=4096->300")
    with LlamaServer(cut) as server:
        found = lens("x", open_session(server.url + V1))
    assert len(found) == 1 and not found.complete


def test_the_built_in_model_names_every_token(builtin: LocalServer) -> None:
    """The whole vocabulary at each place, so that all is exact; the text of the places is the answer."""
    found = lens("what is top_p?", open_local_session(builtin), temperature=0)
    assert found.complete and found.turn.changed == ()
    assert {len(position.candidates) for position in found} == {found.vocabulary} and found.vocabulary > 2000
    assert "".join(position.token for position in found) == found.text
    assert all(position.taken == 0 and position.tail is None for position in found)
    assert all(position.entropy.is_exact for position in found)
    assert all(shape.entropy == (0, 0) for shape in found.reshape())


@pytest.mark.row("H38")
def test_a_character_in_several_tokens_says_so(builtin: LocalServer) -> None:
    """The server tells only of the last token of such a character: its bytes stand there, and what is missing."""
    parts = []
    for seed in range(60):  # at this heat parts of characters are common
        found = lens("讲个笑话", open_local_session(builtin), temperature=2, top_p=0.95, seed=seed, max_token=24)
        parts = [p for p in found if p.hidden and "\ufffd" not in p.token and p.candidates[p.taken].raw]
        if parts:
            break
    assert parts
    for position in parts:
        own, whole = position.candidates[position.taken], position.token.encode()
        assert whole.endswith(own.data) and position.hidden == len(whole) - len(own.data) > 0
        assert position.token in found.text
        assert "\\x" in position.bars()[0].label or position.taken > 0
    lines = lens_text(found).splitlines()
    assert "not reported in full" in lines[0]
    untold = [p.index for p in found if p.hidden]
    told = [int(line.split()[0]) for line in lines[1:] if " unknown " in line]
    assert told == [index + 1 for index in untold if index < 24]
    page = lens_html(found)
    assert page.count("repeating-linear-gradient") == len(untold) and ": unknown." in page
    box = LensBox(found)
    assert [n for n, mark in enumerate(box.view.marks) if mark == "?"] == untold
    assert "unknown" in box.view.tips[untold[0]]
    box.close()


@pytest.mark.parametrize("mode", ["auto", "replay"])
def test_a_lens_replays_from_a_tape_without_a_server(mode: str, tmp_path: Path) -> None:
    """Once recorded, the same lens comes from the tape: every place, candidate and figure; also after a limit."""
    tape = tmp_path / "answers.jsonl"
    refusal = reply({"error": {"message": LIMITS[0]}}, status=400)
    with LlamaServer(refusal, ANSWER) as server:
        url = server.url + V1
        session = open_session(url)
        session.llm.tape = tape
        recorded = lens("x", session, temperature=0.5)
        assert len(server.posts) == 4, "a refusal, the answer, and two requests whose probabilities these are"
    closed = open_session(url)
    closed.llm.tape, closed.llm.tape_mode = tape, mode
    found = lens("x", closed, temperature=0.5)
    assert found.positions == recorded.positions and found.text == recorded.text
    assert found.turn.changed == recorded.turn.changed
    if mode == "replay":
        with pytest.raises(ChatGLMError, match="top_logprobs"):
            lens("x", closed, top=5, temperature=0.5)
