"""Whose probabilities a lens shows: the model's own, those after a temperature, or what nobody can tell."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import Session, lens
from chatglm_magic.errors import ParameterError
from chatglm_magic.lenses import Lens
from chatglm_magic.lenses.logprobs_kind import PROBE_PROMPT
from chatglm_magic.lenses.report import caption, lens_html, lens_text
from chatglm_magic.values import Candidate, TokenLogprobs, Turn
from chatglm_magic.widgets.lens_box import LensBox

from ..support.logprobs import make_entry, make_event, open_session, stream_events
from ..support.servers import Asked, ScriptedServer, reply

SIZE = 300
"""Tokens of the model: more than there are bytes, so that a whole list is taken for one."""

LOGITS = {f"t{number}": -0.04 * number + math.sin(number) for number in range(SIZE)}
SAMPLINGS = [(0.5, 1.0), (1.0, 1.0), (2.0, 1.0)]

Served = Callable[[dict[str, Any]], dict[str, float]]


def softmax(logits: dict[str, float], temperature: float = 1.0) -> dict[str, float]:
    """Return the probabilities after a temperature; greedy at 0."""
    highest = max(logits.values())
    scaled = {token: (logit - highest) / (temperature or 1.0) for token, logit in logits.items()}
    total = math.fsum(math.exp(value) for value in scaled.values())
    return {token: math.exp(value) / total for token, value in scaled.items()}


TRUTH = softmax(LOGITS)


def raw(body: dict[str, Any]) -> dict[str, float]:
    """What vLLM tells: the model's own, whatever was asked for."""
    return TRUTH


def tempered(body: dict[str, Any]) -> dict[str, float]:
    """What SGLang tells: after the temperature."""
    return softmax(LOGITS, body.get("temperature", 0.8))


def processed(body: dict[str, Any]) -> dict[str, float]:
    """What vLLM tells with processed_logprobs: after temperature and top_p; what was cut is next to nothing."""
    found = tempered(body)
    kept: dict[str, float] = {}
    for token in sorted(found, key=lambda token: -found[token]):
        if sum(kept.values()) >= body.get("top_p", 1.0):
            break
        kept[token] = found[token]
    total = math.fsum(kept.values())
    return {token: kept.get(token, 0.0) / total for token in found}


def strange(body: dict[str, Any]) -> dict[str, float]:
    """What no server should tell: another model's at each temperature."""
    return softmax({token: math.cos(number * body["temperature"]) for number, token in enumerate(LOGITS)})


def serve(served: Served, most: int = SIZE) -> Callable[[socket.socket, Asked], None]:
    """Answer with one token, and the probabilities that a server tells of it."""

    def script(connection: socket.socket, asked: Asked) -> None:
        told = served(asked.body)
        named = sorted(told, key=lambda token: -told[token])[: min(most, asked.body["top_logprobs"])]
        top = [(token, math.log(told[token]) if told[token] > 0 else -9999.0) for token in named]
        stream_events(make_event(top[0][0], make_entry(top[0], top)))(connection, asked)

    return script


def look(server: ScriptedServer, **options: Any) -> Lens:
    """Look once at a server, in a session of its own."""
    session = open_session(f"{server.url}v1")
    try:
        return lens("x", session, show=False, **options)
    finally:
        session.close()


@pytest.mark.parametrize(("temperature", "top_p"), SAMPLINGS)
@pytest.mark.parametrize(("served", "kind"), [(raw, "raw"), (tempered, "tempered"), (processed, "tempered")])
def test_every_kind_is_brought_back_to_the_models_own(
    served: Served, kind: str, temperature: float, top_p: float
) -> None:
    """Within a millionth of the truth, at each temperature, and re-shaped to others."""
    with ScriptedServer(serve(served)) as server:
        found = look(server, temperature=temperature, top_p=top_p)
    assert found.logprobs_kind == kind and found.complete
    position = found.at(0)
    for wished in (0.3, 1.0, 1.7):
        truth, shape = softmax(LOGITS, wished), position.reshape(wished)
        for place, candidate in enumerate(position.candidates):
            share = shape.share(place)
            assert share.is_exact and share.low == pytest.approx(truth[candidate.token], abs=1e-6)
    assert found.reshape()[0].share(0).low == pytest.approx(max(softmax(LOGITS, temperature).values()), abs=1e-6)


@pytest.mark.parametrize(("temperature", "top_p"), SAMPLINGS)
@pytest.mark.parametrize("served", [raw, tempered, processed])
def test_with_twenty_tokens_named_the_bounds_hold_the_truth(
    served: Served, temperature: float, top_p: float
) -> None:
    """Whatever is not named, its mass stays a range that the truth lies in; tighter than nothing known."""
    with ScriptedServer(serve(served, 20)) as server:
        found = look(server, temperature=temperature, top_p=top_p, vocabulary=SIZE, top=20)
    assert not found.complete
    position = found.at(0)
    for wished in (0.3, 1.0, 1.7):
        truth, shape = softmax(LOGITS, wished), position.reshape(wished)
        for place, candidate in enumerate(position.candidates):
            share = shape.share(place)
            assert share.low - 1e-6 <= truth[candidate.token] <= share.high + 1e-6
        named = {candidate.token for candidate in position.candidates}
        rest = math.fsum(share for token, share in truth.items() if token not in named)
        assert shape.tail_share.low - 1e-6 <= rest <= shape.tail_share.high + 1e-6
        assert shape.share(0).high < 1.0


@pytest.mark.parametrize(
    ("served", "options"),
    [
        (processed, {"temperature": 0.5, "top_p": 0.7}),
        (processed, {"temperature": 0.5}),
        (processed, {"temperature": 0.5, "top_p": 1.0, "top_k": 5}),
        (tempered, {}),
        (strange, {"temperature": 0.5, "top_p": 1.0}),
    ],
    ids=["cut by top_p", "perhaps cut", "cut by top_k", "at the server's own temperature", "another model's"],
)
def test_what_can_not_be_told_is_shown_and_not_reshaped(served: Served, options: dict[str, Any]) -> None:
    """The figures are the server's; text, page and widget say so, and the sliders are off."""
    with ScriptedServer(serve(served)) as server:
        found = look(server, **options)
    assert found.logprobs_kind == "unknown"
    best = max(found.at(0).logprobs)
    assert found.reshape()[0].share(0).low == pytest.approx(math.exp(best), abs=1e-3)
    for settings in ({"temperature": 1.0}, {"top_p": 0.5}, {"top_k": 3}):
        with pytest.raises(ParameterError, match="can't be detected"):
            found.reshape(**settings)
        with pytest.raises(ParameterError, match="logprobs=raw"):
            found.to_dataframe(**settings)
    assert len(found.to_dataframe()) == SIZE
    assert all("of unknown kind" in shown for shown in (caption(found), lens_text(found), lens_html(found)))
    box = LensBox(found)
    assert box.view.fixed
    assert "The sliders are off" in box.children[1].value
    box.close()


def test_the_sliders_are_on_where_it_is_known() -> None:
    """The control; what was undone is said."""
    with ScriptedServer(serve(tempered)) as server:
        found = look(server, temperature=0.5, top_p=1.0)
    assert "the server's temperature undone" in caption(found)
    box = LensBox(found)
    assert not box.view.fixed and "off" not in box.children[1].value
    box.close()


def test_greedy_probabilities_are_the_models_own() -> None:
    """At temperature 0 nothing is scaled, whatever the server does otherwise."""
    with ScriptedServer(serve(tempered)) as server:
        found = look(server, temperature=0, top_p=1.0)
    assert found.at(0).reshape(1.0).share(0).low == pytest.approx(max(TRUTH.values()), abs=1e-6)


def test_it_is_found_out_once_for_a_server_and_model() -> None:
    """Two requests for one token where the probabilities are raw, three where they aren't; then none."""
    for served, probes in ((raw, 2), (tempered, 3)):
        with ScriptedServer(serve(served)) as server:
            session = open_session(f"{server.url}v1")
            for _ in range(3):
                lens("x", session, show=False, temperature=0.5, top_p=1.0)
            assert len(server.posts) == 3 + probes
            short = [asked.body for asked in server.posts if asked.body.get("max_tokens") == 1]
            assert len(short) == probes and {body["temperature"] for body in short} == {0.5, 1.0}
            assert [turn.prompt for turn in session.turns] == ["x"] * 3, "no turn is made of these"
            assert PROBE_PROMPT not in {turn.prompt for turn in session.history.all}
            session.close()


VOCABULARY = 151_552
FLAT = {f"t{number}": -2.0 * number for number in range(5)} | dict.fromkeys(map(str, range(VOCABULARY - 5)), -9.5)
"""Five tokens that stand out of all others, which are alike."""


@pytest.mark.parametrize("temperature", [0.002, 0.01, 0.1, 0.5])
def test_bounds_hold_the_truth_at_low_temperatures(temperature: float) -> None:
    """Where the probabilities of the unnamed are below the smallest number, their logarithms bound them still."""
    logits = {token: logit / temperature for token, logit in FLAT.items()}
    total = math.log(math.fsum(math.exp(value) for value in logits.values()))
    named = [(token, logits[token] - total) for token in list(FLAT)[:5]]

    def script(connection: socket.socket, asked: Asked) -> None:
        stream_events(make_event("t0", make_entry(named[0], named)))(connection, asked)

    with ScriptedServer(script) as server:
        found = look(server, temperature=temperature, logprobs="tempered", vocabulary=VOCABULARY, top=5)
    truth = 1 / math.fsum(math.exp(logit) for logit in FLAT.values())
    share = found.at(0).reshape(1.0).share(0)
    assert share.low - 1e-9 <= truth <= share.high + 1e-9 and not share.is_exact


def test_nearly_greedy_probabilities_can_not_be_told() -> None:
    """Some servers take a temperature below a thousandth for 0, and some don't."""
    with ScriptedServer(serve(tempered)) as server:
        assert look(server, temperature=0.0005, top_p=1.0).logprobs_kind == "unknown"


def test_a_temperature_that_the_server_changed_is_not_undone() -> None:
    """Which one it took instead, its refusal says, and not what it does later."""

    def script(connection: socket.socket, asked: Asked) -> None:
        if asked.body["temperature"] > 1:
            reply({"error": {"message": "temperature must be at most 1.0"}}, status=400)(connection, asked)
        else:
            serve(tempered)(connection, asked)

    with ScriptedServer(script) as server:
        found = look(server, temperature=1.5, top_p=1.0)
        assert found.logprobs_kind == "unknown" and found.turn.changed
        assert look(server, temperature=0.7, top_p=1.0).logprobs_kind == "tempered"


def test_a_server_that_is_busy_is_asked_the_next_time() -> None:
    """What could not be found out is not remembered."""
    busy = [True]

    def script(connection: socket.socket, asked: Asked) -> None:
        if asked.body.get("max_tokens") == 1 and busy[0]:
            reply({"error": {"message": "slow down"}}, status=429)(connection, asked)
        else:
            serve(raw)(connection, asked)

    with ScriptedServer(script) as server:
        session = open_session(f"{server.url}v1")
        session.llm.max_retries = 0
        assert lens("x", session, show=False, temperature=0.5).logprobs_kind == "unknown"
        busy[0] = False
        assert lens("x", session, show=False, temperature=0.5).logprobs_kind == "raw"
        session.close()


@pytest.mark.parametrize("owner", ["llamacpp", "library"])
def test_a_server_that_says_who_it_is_is_believed(owner: str) -> None:
    """llama.cpp and Ollama: nothing is sent to find it out."""
    listed = {"data": [{"id": "m", "owned_by": owner}]}
    with ScriptedServer(serve(raw), on_get=reply(listed)) as server:
        assert look(server, temperature=0.5).logprobs_kind == "raw"
        assert len(server.posts) == 1


def test_a_wish_counts_and_costs_nothing() -> None:
    """logprobs= overrides what would be found out; other words are refused before anything is sent."""
    with ScriptedServer(serve(tempered)) as server:
        for wish in ("raw", "tempered"):
            found = look(server, temperature=0.5, logprobs=wish)
            assert found.logprobs_kind == wish
        assert len(server.posts) == 2
        with pytest.raises(ParameterError, match="auto, raw or tempered"):
            look(server, logprobs="mine")
        assert len(server.posts) == 2


def test_a_server_that_fails_at_it_leaves_it_unknown() -> None:
    """The lens is there all the same."""
    good, bad = serve(raw), reply({"error": {"message": "no"}}, status=500)

    def script(connection: socket.socket, asked: Asked) -> None:
        (bad if asked.body.get("max_tokens") == 1 else good)(connection, asked)

    with ScriptedServer(script) as server:
        assert look(server, temperature=0.5).logprobs_kind == "unknown"


def think_then_answer(connection: socket.socket, asked: Asked) -> None:
    """Tell of the tokens of thinking too, as vLLM's reasoning parsers do."""
    words = ["Hm", " hm", "</think>", "Bl", "ue"]
    events = []
    for number, word in enumerate(words):
        event = make_event(None, make_entry((word, -0.5), [(word, -0.5), ("x", -1.0)]))
        event["choices"][0]["delta"] = (
            {"reasoning_content": word} if number < 2 else {"content": word if number > 2 else ""}
        )
        events.append(event)
    stream_events(*events)(connection, asked)


def test_a_lens_begins_at_the_answer(tmp_path: Path) -> None:
    """What was thought is folded away before it; in text and page too."""
    with ScriptedServer(think_then_answer) as server:
        found = look(server, temperature=1, logprobs="raw")
    assert (found.turn.reasoning, found.text, found.answer_start) == ("Hm hm", "Blue", 3)
    assert "3 positions of thinking" in lens_text(found) and "Hm" not in lens_text(found)
    assert "Thinking: 3 positions" in lens_html(found)
    box = LensBox(found)
    thinking, answer = box.view.html.split("Tokens of the answer")
    assert "Thinking: 3 positions" in thinking and ">Hm<" in thinking and ">Bl<" in answer and box.index >= 3
    box.select_position(0)
    assert "Hm" in box.heading.value
    box.close()


def make_lens(reasoning: str, answer: str, *tokens: str | bytes) -> Lens:
    """Return a lens of an answer whose tokens these are; bytes are parts of characters."""
    told = [
        Candidate(token, -0.1) if isinstance(token, str) else Candidate("\ufffd", -0.1, None, token.hex())
        for token in tokens
    ]
    turn = Turn(prompt="x", answer=answer, reasoning=reasoning)
    return Lens.from_turn(turn, [TokenLogprobs(candidate, (candidate,)) for candidate in told], 1)


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (make_lens("Hm hm", "", "<think>", "Hm", " hm"), 3),
        (make_lens("Hm hm", "Blue", "<think>", "\n", "Hm", " hm", "</", "think", ">", "\n\n", "Bl", "ue"), 7),
        (make_lens("Hm", "Say </think>.", "Say", " </think>", "."), 0),
        (make_lens("Red", "Red is a colour", "Red", " is", " a", " colour"), 0),
        (make_lens("好", "蓝", "好".encode()[:2], "好".encode()[2:], "</think>", "蓝"), 3),
        (make_lens("", "Blue", "Bl", "ue"), 0),
    ],
    ids=["cut in thinking", "tags", "an answer with the tag", "alike", "parts of characters", "no thinking"],
)
def test_the_answer_begins_where_the_thinking_ends(found: Lens, start: int) -> None:
    """By the bytes of the tokens, with and without tags; a server may tell of the answer alone."""
    assert found.answer_start == start


def test_a_server_that_tells_of_the_answer_alone_has_no_border() -> None:
    """There are thoughts, but no place of theirs."""

    def script(connection: socket.socket, asked: Asked) -> None:
        thought = make_event(None)
        thought["choices"][0] = {"index": 0, "delta": {"reasoning_content": "Hm hm"}}
        entry = make_entry(("Bl", -0.5), [("Bl", -0.5), ("x", -1.0)])
        stream_events(thought, make_event("Bl", entry))(connection, asked)

    with ScriptedServer(script) as server:
        found = look(server, temperature=1, logprobs="raw")
    assert found.answer_start == 0 and "thinking" not in lens_text(found)


def test_the_magic_takes_the_wish() -> None:
    """``--logprobs`` is an option of the line."""
    from chatglm_magic.magics.lens import run_lens

    with ScriptedServer(serve(tempered)) as server:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        seen = run_lens(session, "--logprobs tempered -t 0.5 hi", {})
        assert seen.lens is not None and seen.lens.logprobs_kind == "tempered" and len(server.posts) == 1
        session.close()
