"""What was recorded is given again, on every road, with no server at all."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.outputs import GenerationChunk

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import EndpointError, IncompleteAnswerError, ParameterError, TapeError

from ..support.clock import assert_within
from ..support.models import WAYS, Heard, ways
from ..support.servers import ScriptedServer, answer, chunk, sse
from ..support.tapes import both, count_pieces, delay, make_model, make_offline_model, read_lines, read_miss


async def _collected(llm: ChatGLM, prompt: str) -> list[str]:
    return [piece async for piece in llm.astream(prompt)]


ROADS = {
    "invoke": lambda llm: [llm.invoke("Hi 你好")],
    "ainvoke": lambda llm: [asyncio.run(llm.ainvoke("Hi 你好"))],
    "stream": lambda llm: list(llm.stream("Hi 你好")),
    "astream": lambda llm: asyncio.run(_collected(llm, "Hi 你好")),
    "generate": lambda llm: llm.generate(["Hi 你好", "other"]).model_dump(exclude={"run"}),
    "chain": lambda llm: (llm | (lambda text: text.upper())).invoke("Hi 你好"),
}


@both
@pytest.mark.parametrize("road", ROADS)
def test_an_answer_is_given_again_without_a_server(road: str, dialect: str, tmp_path: Path) -> None:
    """Each road gives the recorded answer, in the recorded pieces, while nobody listens at the address."""
    tape = tmp_path / "answers.jsonl"
    with ScriptedServer(count_pieces()) as server:
        first = ROADS[road](make_model(server, dialect, tape))
        asked = len(server.posts)
        again = ROADS[road](make_model(server, dialect, tape))
        assert len(server.posts) == asked > 0
    assert again == first
    assert ROADS[road](make_offline_model(dialect, tape)) == first
    with pytest.raises(EndpointError):  # the control: without the tape there is nobody
        ROADS[road](make_offline_model(dialect, None))


@both
@ways
def test_every_kind_of_batch_goes_over_the_tape(way: str, dialect: str, tmp_path: Path) -> None:
    """Fifty questions at once are recorded, and given again in their order with no server."""
    tape, prompts = tmp_path / "t.jsonl", [f"问 {n}" for n in range(50)]
    with ScriptedServer(count_pieces()) as server:
        first = WAYS[way](make_model(server, dialect, tape), prompts)
        assert len(server.posts) == 50
    assert len(read_lines(tape)) == 50
    assert WAYS[way](make_offline_model(dialect, tape), prompts) == first


@both
def test_a_batch_that_somebody_hears_goes_over_the_tape(dialect: str, tmp_path: Path) -> None:
    """With a callback, LangChain's whole road is taken; its answers come from the tape too."""
    tape, prompts = tmp_path / "t.jsonl", ["a", "b", "c"]
    with ScriptedServer(count_pieces()) as server:
        first = make_model(server, dialect, tape).batch(prompts)
    heard = Heard()
    assert make_offline_model(dialect, tape).batch(prompts, config={"callbacks": [heard]}) == first
    assert sorted(heard.ends) == sorted(first)


def _chunks(llm: ChatGLM, prompt: str) -> list[GenerationChunk]:
    return list(llm._stream(prompt))


def test_a_stream_is_given_again_as_the_same_chunks(tmp_path: Path) -> None:
    """Reasoning, finish reason, usage, model and what the server changed come in the chunks they came in."""
    tape = tmp_path / "t.jsonl"
    events: list[Any] = [
        chunk("", role="assistant"),
        chunk(None, reasoning_content="Let me "),
        chunk(None, reasoning_content="think."),
        *(chunk(text) for text in ("一", "二", " three")),
        chunk(None, finish_reason="length"),
        {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
    ]
    with ScriptedServer(sse(events)) as server:
        first = _chunks(make_model(server, "openai", tape), "q")
    again = _chunks(make_offline_model("openai", tape), "q")
    assert again == first
    assert [piece.text for piece in again if piece.text] == ["一", "二", " three"]
    (line,) = read_lines(tape)
    assert line["turn"]["finish_reason"] == "length" and line["turn"]["reasoning"] == "Let me think."


def test_the_odds_of_tokens_are_given_again(tmp_path: Path) -> None:
    """Token probabilities come back from the tape as they came from the server."""
    tape = tmp_path / "t.jsonl"
    told = {"token": "一", "logprob": -0.25, "id": 7, "top_logprobs": [{"token": "二", "logprob": -1.5, "id": 8}]}
    event = chunk("一")
    event["choices"][0]["logprobs"] = {"content": [told]}
    with ScriptedServer(sse([event, chunk(None, finish_reason="stop")])) as server:
        first = _chunks(make_model(server, "openai", tape, model_kwargs={"logprobs": True}), "q")
    again = _chunks(make_offline_model("openai", tape, model_kwargs={"logprobs": True}), "q")
    (odds,) = [piece.generation_info["logprobs"] for piece in again if "logprobs" in (piece.generation_info or {})]
    assert again == first and odds[0].taken.id == 7 and odds[0].top[0].token == "二"


def test_pieces_come_at_the_recorded_pace_where_that_is_wanted(tmp_path: Path) -> None:
    """With tape_timing the pieces are as far apart as they were; without it they come at once."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces(pieces=4, pause=0.1)) as server:
        list(make_model(server, "openai", tape).stream("q"))

    def took(arrived: list[float]) -> float:
        return arrived[-1] - arrived[0]

    async def arrivals(llm: ChatGLM) -> list[float]:
        return [time.monotonic() async for text in llm.astream("q") if text]

    slow = delay(tape, tmp_path / "slow.jsonl", 60)
    timed, at_once = make_offline_model("openai", tape, tape_timing=True), make_offline_model("openai", slow)
    for arrived in ([time.monotonic() for text in timed.stream("q") if text], asyncio.run(arrivals(timed))):
        assert took(arrived) > 0.25
        assert_within(took(arrived), 2)
    assert_within(took([time.monotonic() for text in at_once.stream("q") if text]), 0.2)
    assert_within(took(asyncio.run(arrivals(at_once))), 0.2)


def test_a_pace_from_elsewhere_holds_nobody_up_beyond_the_time_limit(tmp_path: Path) -> None:
    """A tape that says that a piece came after a year is waited for as long as a server would be."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        said = make_model(server, "openai", tape).invoke("q")
    text = tape.read_text(encoding="utf-8")
    seconds = read_lines(tape)[0]["pieces"][-1][0]
    tape.write_text(text.replace(f'[{seconds}, "', '[31536000, "'), encoding="utf-8")
    began = time.monotonic()
    llm = make_offline_model("openai", tape, tape_timing=True, timeout={"total": 0.3})
    assert llm.invoke("q") == said
    took = time.monotonic() - began
    assert took > 0.25
    assert_within(took, 3)


def test_stop_strings_that_are_applied_here_end_a_recorded_answer_too(tmp_path: Path) -> None:
    """An answer that a stop string ended is recorded as finished, and is never given where others would end it."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(answer("one ", "two ", "three ", "four")) as server:
        llm = make_model(server, "openai", tape)
        assert llm.invoke("q", stop=["thr"]) == "one two "
        assert llm.invoke("q", stop=["tw"]) == "one "
        assert llm.invoke("q") == "one two three four" and len(server.posts) == 3
    replaying = make_offline_model("openai", tape)
    assert replaying.invoke("q", stop=["thr"]) == "one two "
    assert replaying.invoke("q", stop=["tw"]) == "one "
    assert replaying.invoke("q") == "one two three four"


def test_stop_strings_that_the_server_is_not_told_of_are_part_of_a_question(tmp_path: Path) -> None:
    """Where a body's own ``stop`` hides them, an answer that one of them ended is not given for another."""
    tape, own = tmp_path / "t.jsonl", {"stop": ["never"]}
    with ScriptedServer(answer("one ", "two ", "three ", "four")) as server:
        llm = make_model(server, "openai", tape, model_kwargs=own)
        assert llm.invoke("q", stop=["two"]) == "one "
        assert llm.invoke("q", stop=["four"]) == "one two three "
        bodies = [post.body for post in server.posts]
        assert len(bodies) == 2 and bodies[0] == bodies[1]
    replaying = make_offline_model("openai", tape, model_kwargs=own)
    assert [replaying.invoke("q", stop=[text]) for text in ("two", "four")] == ["one ", "one two three "]
    assert "stop here" in read_miss(lambda: replaying.invoke("q", stop=["three"]))


def test_whole_answers_are_cut_anew_by_other_stop_strings(tmp_path: Path) -> None:
    """ChatGLM's own protocol is not told of stop strings: one recorded answer serves them all."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        assert make_model(server, "chatglm", tape).invoke("one two three", stop=["two"]) == "one "
    replaying = make_offline_model("chatglm", tape)
    assert replaying.invoke("one two three", stop=["three"]) == "one two "
    assert replaying.invoke("one two three") == "one two three 答 1"


def test_what_is_not_finished_is_not_recorded(tmp_path: Path) -> None:
    """A stream that breaks off, and one whose reader leaves, are no answers; one that was cut by length is."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(sse([chunk("half")], done=False), answer("a", "b", "c", pause=0.05)) as server:
        llm = make_model(server, "openai", tape)
        with pytest.raises(IncompleteAnswerError):
            llm.invoke("q")
        stream = llm.stream("q")
        assert next(piece for piece in stream if piece) == "a"
        stream.close()  # type: ignore[attr-defined]

        async def leave() -> None:
            async for piece in llm.astream("q"):
                if piece:
                    break

        asyncio.run(leave())
        assert not tape.read_bytes()
        assert llm.invoke("q") == "abc" and len(read_lines(tape)) == 1


def test_samples_are_told_apart_and_never_sent(tmp_path: Path) -> None:
    """The same question with other samples has other answers, each given again; the server sees no sample."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape)
        first = [llm.invoke("q", sample=n) for n in range(3)]
        assert len(set(first)) == 3 and llm.invoke("q") == first[0]
        assert llm.plan("q", sample=2).request.sample == 2
        assert all("sample" not in post.body for post in server.posts) and len(server.posts) == 3
    replaying = make_offline_model("openai", tape)
    assert [replaying.invoke("q", sample=n) for n in (2, 1, 0)] == first[::-1]
    assert replaying.batch(["q"], sample=1) == [first[1]]
    assert "sample: recorded 2, requested 3" in read_miss(lambda: replaying.invoke("q", sample=3))
    for wrong in (-1, 1.0, True, "1", None):
        with pytest.raises(ParameterError, match="sample must be a whole number"):
            replaying.invoke("q", sample=wrong)


def test_record_asks_anew_and_the_newest_answer_counts(tmp_path: Path) -> None:
    """In the mode record nothing is replayed, and what was recorded last is what is given later."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        for mode, said in (("auto", "q 答 1"), ("auto", "q 答 1"), ("record", "q 答 2"), ("record", "q 答 3")):
            assert make_model(server, "openai", tape, tape_mode=mode).invoke("q") == said
        assert make_model(server, "openai", tape).invoke("q") == "q 答 3" and len(server.posts) == 3
    assert len(read_lines(tape)) == 3 and make_offline_model("openai", tape).invoke("q") == "q 答 3"
    text = sorted(tape.read_text(encoding="utf-8").splitlines(keepends=True), reverse=True)
    tape.write_text("".join(text), encoding="utf-8")  # in whatever order the lines stand
    assert make_offline_model("openai", tape).invoke("q") == "q 答 3"


def test_the_environment_names_the_mode_where_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CHATGLM_MAGIC_TAPE_MODE beats the default, a mode that was set beats it, and a strange one is refused."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        monkeypatch.setenv("CHATGLM_MAGIC_TAPE_MODE", "replay")
        read_miss(lambda: make_model(server, "openai", tape).invoke("q"))
        assert server.posts == []
        make_model(server, "openai", tape, tape_mode="auto").invoke("q")
        monkeypatch.setenv("CHATGLM_MAGIC_TAPE_MODE", "play")
        with pytest.raises(ParameterError, match="must be auto, replay or record"):
            make_model(server, "openai", tape).invoke("q")
        assert len(server.posts) == 1


def test_answers_are_given_whatever_the_address_and_the_key(tmp_path: Path) -> None:
    """Two servers at two addresses, asked with two keys, share a tape."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as one, ScriptedServer(count_pieces()) as two:
        first = make_model(one, "openai", tape, api_key="key-of-the-first-server").invoke("q")
        second = make_model(
            two, "openai", tape, api_key="key-of-the-second-server", headers={"X-More": "more-of-it"}
        )
        assert second.invoke("q") == first and two.posts == []


def test_a_session_and_its_conversation_replay(tmp_path: Path) -> None:
    """Session.ask and aask give a whole conversation again, and a sweep's question with its sample."""
    tape = tmp_path / "t.jsonl"

    def talk(session: Session) -> list[str]:
        said = [session.ask("one"), session.ask("two")]
        said.append(session.submit(session.aask("three", kind="sweep", history=False, sample=2)).result(10))
        return [str(answer) for answer in said]

    with ScriptedServer(count_pieces()) as server:
        session = Session()
        session.settings.endpoint_url = server.url + "v1"
        session.settings.tape = str(tape)
        first = talk(session)
        assert len(server.posts) == 3 and len(server.posts[1].body["messages"]) == 3
    session = Session()
    session.settings.endpoint_url = "http://127.0.0.1:9/v1"
    session.settings.tape, session.settings.tape_mode = str(tape), "replay"
    assert talk(session) == first
    assert session.explicit_parameters() == {}
    with pytest.raises(TapeError, match="conversation before it: recorded 2 messages, requested 4"):
        session.ask("two")
    assert session.turns[-1].status == "error"


def test_settings_and_model_are_two_handles_on_the_tape(tmp_path: Path) -> None:
    """A change of the tape through one shows in the other; ``off`` is none, and a call can't set it."""
    session = Session()
    session.settings.tape_mode = "record"
    assert session.llm.tape is None and session.llm.tape_mode == "record"
    session.llm.tape = tmp_path / "t.jsonl"
    assert session.settings.tape == str(tmp_path / "t.jsonl")
    session.settings.tape_timing = True
    assert session.llm.tape_timing is True
    session.settings.tape = "off"
    assert session.llm.tape is None and session.settings.tape is None
    for wrong in ("", "  ", "a\0b"):
        with pytest.raises(ParameterError, match="tape must be the path of a file"):
            session.llm.tape = wrong
    with pytest.raises(ParameterError, match="tape can't be set for one call"):
        session.llm.invoke("q", tape="x.jsonl")


def test_a_relative_path_stays_where_it_was_first_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the folder afterwards does not begin another tape."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", Path("t.jsonl"))
        first = llm.invoke("q")
        monkeypatch.chdir(tmp_path / "other")
        assert llm.invoke("q") == first and len(server.posts) == 1
    assert (tmp_path / "t.jsonl").exists() and not (tmp_path / "other" / "t.jsonl").exists()
