"""The codecs at their edges, as pure functions: bytes in, pieces of an answer out."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from chatglm_magic.errors import IncompleteAnswerError, InvalidResponseError
from chatglm_magic.strictjson import strict_json
from chatglm_magic.values import ModelInput
from chatglm_magic.wire import chatglm, dialect_of, openai
from chatglm_magic.wire.body import MAX_BODY_BYTES, MAX_STEP_BYTES, BodyBuffer, Decompressor, sanitize_line
from chatglm_magic.wire.error_response import find_message, parse_error_response
from chatglm_magic.wire.openai_reply import parse_logprobs
from chatglm_magic.wire.sse import SSEDecoder
from chatglm_magic.wire.text_filters import StopFilter, ThinkSplitter


def part(*pieces: str) -> tuple[str, str]:
    """Return (reasoning, answer) of a text that comes in pieces."""
    splitter = ThinkSplitter()
    deltas = [delta for piece in pieces for delta in splitter.feed(piece)] + splitter.close()
    return "".join(d.reasoning for d in deltas), "".join(d.text for d in deltas)


THOUGHTS = {
    "<think>a</think>\n\n  code": ("a", "  code"),
    "<think>a</think>x\n": ("a", "x\n"),
    "\n <think>a</think>\n": ("a", ""),
    "<think></think>x": ("", "x"),
    "<think>a": ("a", ""),
    "<think>a</thin": ("a</thin", ""),
    "<thin": ("", "<thin"),
    "<thinking>x": ("", "<thinking>x"),
    "x<think>a</think>": ("", "x<think>a</think>"),
    "<think>a</think>b<think>c</think>": ("a", "b<think>c</think>"),
}


@pytest.mark.parametrize("text", THOUGHTS)
def test_a_thought_is_parted_from_the_answer_wherever_it_is_cut(text: str) -> None:
    """Whole, letter by letter, and in two pieces at every place; blanks of the answer stay."""
    assert part(text) == part(*text) == THOUGHTS[text]
    for at in range(len(text)):
        assert part(text[:at], text[at:]) == THOUGHTS[text]


STOPS = {
    ("aENDb", ("END",)): "a",
    ("aEN", ("END",)): "aEN",
    ("a STOP b END", ("END", "STOP")): "a ",
    ("xabcd", ("abcde", "bc")): "xa",
    ("xabcde", ("abcde", "bc")): "x",
    ("aaab", ("aab",)): "a",
    ("ab", ("", "c")): "ab",
    ("a.b", (".",)): "a",
    ("END", ("END",)): "",
}


@pytest.mark.parametrize(("text", "stop"), STOPS)
def test_the_earliest_stop_text_ends_an_answer_wherever_it_is_cut(text: str, stop: tuple[str, ...]) -> None:
    """One that began earlier wins over one that is whole sooner."""

    def cut(*pieces: str) -> str:
        held = StopFilter(stop)
        return "".join(held.feed(piece) for piece in pieces) + held.close()

    expected = STOPS[text, stop]
    assert cut(text) == cut(*text) == expected
    for at in range(len(text)):
        assert cut(text[:at], text[at:]) == expected


def test_an_event_may_be_as_long_as_the_limit_and_not_longer() -> None:
    """Counted over lines and blocks, so that a line without an end is noticed while it comes."""
    whole = b"data: 1234567890\n\n"
    for size in (1, 3, len(whole)):
        decoder = SSEDecoder(32)
        blocks = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert [event.data for block in blocks for event in decoder.feed(block)] == ["1234567890"]
    for endless in (b"x" * 8, b"data: x\n", b": comment without an end "):
        decoder = SSEDecoder(32)
        with pytest.raises(IncompleteAnswerError) as raised:
            for _ in range(40):
                decoder.feed(endless)
        assert raised.value.kind == "too_large"
    decoder = SSEDecoder(32)
    for _ in range(40):
        decoder.feed(b": a comment\n\ndata: x\n\n")  # what was handed out is not held


def test_events_are_told_apart_however_their_lines_end() -> None:
    """CR, LF, both, also when they are cut between the two; one blank behind the colon goes."""
    for end in ("\n", "\r\n", "\r"):
        stream = f"event: a{end}data:  x{end}data:y{end}{end}data: z{end}{end}".encode()
        for size in (1, 2, 3, 100):
            decoder = SSEDecoder(1000)
            blocks = [stream[at : at + size] for at in range(0, len(stream), size)]
            events = [event for block in blocks for event in decoder.feed(block)] + decoder.close()
            assert [(event.name, event.data) for event in events] == [("a", " x\ny"), ("message", "z")]


@pytest.mark.parametrize("make", [gzip.compress, zlib.compress])
def test_a_compressed_body_is_undone_in_pieces_and_must_have_an_end(make: Any) -> None:
    """At most 256 KiB at a time; what breaks off is incomplete, what is damaged is said so."""
    plain = b"0123456789" * 100_000
    packed = make(plain)
    undone = Decompressor("gzip")
    pieces = list(undone.feed(packed))
    undone.close()
    assert b"".join(pieces) == plain and max(map(len, pieces)) <= MAX_STEP_BYTES
    broken = Decompressor("deflate")
    list(broken.feed(packed[:-9]))
    with pytest.raises(IncompleteAnswerError):
        broken.close()
    with pytest.raises(InvalidResponseError):
        list(Decompressor("gzip").feed(b"not compressed"))
    with pytest.raises(InvalidResponseError):
        Decompressor("br")
    assert list(Decompressor(" Identity ").feed(b"x")) == [b"x"] and not Decompressor("").is_compressed
    Decompressor("gzip").close()  # nothing came at all: another error will say so


def test_json_is_read_strictly() -> None:
    """A key that stands twice, NaN and Infinity are refused; all else is as Python reads it."""
    for wrong in ('{"a": 1, "a": 2}', '{"x": {"a": 1, "a": 1}}', "NaN", "[Infinity]", "-Infinity", "{", ""):
        with pytest.raises(ValueError):
            strict_json(wrong)
    assert strict_json('{"a": {"a": 1}, "b": [1.5, null]}') == {"a": {"a": 1}, "b": [1.5, None]}


def test_a_body_may_be_as_long_as_the_limit_and_not_longer() -> None:
    """64 MiB, counted over all blocks."""
    body = BodyBuffer({})
    block = b" " * 2**20
    for _ in range(MAX_BODY_BYTES // len(block)):
        body.feed(block)
    with pytest.raises(InvalidResponseError) as raised:
        body.feed(b"x")
    assert raised.value.kind == "too_large"


def read(*choices: dict[str, Any], several: bool = False, **more: Any) -> str:
    """Return the text of an answer whose events have these choices."""
    reader = openai.OpenAIReader({"content-type": "text/event-stream"}, several=several)
    events = [{"choices": [choice], **more} for choice in choices]
    data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return "".join(delta.text for delta in [*reader.feed(data.encode()), *reader.close()])


def test_only_the_first_of_several_answers_is_read() -> None:
    """A server that sends two at once does not mix them; one without a number is the first."""
    said = [{"index": n % 2, "delta": {"content": letter}} for n, letter in enumerate("axbycz")]
    assert read(*said, several=True) == "abc"
    assert read({"delta": {"content": "a"}}, {"index": None, "delta": {"content": "b"}}) == "ab"


@pytest.mark.parametrize(
    ("reason", "end"), [("stop", ""), (None, "data: [DONE]\n\n"), ("stop", "data: [DONE]\n\n")]
)
def test_a_stream_is_whole_when_it_says_so(reason: str | None, end: str) -> None:
    """By its finish reason or by its last event; without either it broke off."""
    event = json.dumps({"choices": [{"delta": {"content": "x"}, "finish_reason": reason}]})
    reader = openai.OpenAIReader({"content-type": "text/event-stream"})
    said = [*reader.feed(f"data: {event}\n\n{end}".encode()), *reader.close()]
    reader.check()
    assert "".join(delta.text for delta in said) == "x"


def test_a_stream_that_does_not_say_that_it_is_whole_broke_off() -> None:
    """Also if its last event is whole."""
    for data in (b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', b": comment\n\n", b""):
        reader = openai.OpenAIReader({"content-type": "text/event-stream"})
        list(reader.feed(data))
        list(reader.close())
        with pytest.raises(IncompleteAnswerError):
            reader.check()


def ask_zai(**params: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    model_input = ModelInput("q", (("a", "b"),), params)
    return openai.encode(model_input, server="zai")


def test_zai_is_asked_within_its_ranges() -> None:
    """Temperature 0 is its do_sample, above 1 it is 1; it takes one stop text; no usage is asked for."""
    body, changed = ask_zai(temperature=1.5, stop=("x", "y"), max_token=5)
    assert (body["temperature"], body["stop"], body["max_tokens"]) == (1.0, ["x"], 5) and len(changed) == 2
    assert "stream_options" not in body
    for temperature in (0.0, 0.5, 1.0):
        body, changed = ask_zai(temperature=temperature, stop=("x",))
        assert body.get("temperature") == (temperature or None) and ("do_sample" in body) is (temperature == 0)
        assert len(changed) == (temperature == 0)
    other, changed = openai.encode(ModelInput("q", (), {"temperature": 1.5, "stop": ("x", "y")}))
    assert (other["temperature"], other["stop"], changed) == (1.5, ["x", "y"], ())
    assert other["stream_options"] == {"include_usage": True}


def test_zai_is_sent_no_two_messages_of_one_role_in_a_row() -> None:
    """They are joined, where both are plain text; other servers get them as they are."""
    two = ({"role": "user", "content": "x"}, {"role": "user", "content": "y"})
    seen = ({"role": "user", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "y"}]})
    model_input = ModelInput("", (), {}, two)
    assert openai.request_messages(model_input, merge_roles=True) == [{"role": "user", "content": "x\n\ny"}]
    assert openai.request_messages(model_input) == list(two)
    assert openai.request_messages(ModelInput("", (), {}, seen), merge_roles=True) == list(seen)
    assert two[0]["content"] == "x", "the caller's own messages stay as they were"


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        ("request (300 tokens) exceeds the available context size (200 tokens), try", (300, 200)),
        ("The input (300 tokens) is longer than the model's context length (200 tokens).", (300, 200)),
        ("history take 300 tokens, which leaves no room for an answer within max_length 200", (300, 200)),
        (
            "You passed 300 input tokens and requested 9. However, the model's context length is only 200",
            (300, 200),
        ),
        ("maximum context length is 200 tokens. However, you requested 300 tokens", (300, 200)),
        ("maximum context length of 200 tokens. You requested a total of 300 tokens", (300, 200)),
        ("This is too long", None),
    ],
)
def test_how_much_too_long_a_question_was_is_read_from_the_servers_words(
    words: str, tokens: tuple[int, int] | None
) -> None:
    """(asked for, room for), whichever the server says first."""
    error = parse_error_response(400, {}, json.dumps({"error": {"message": words}}).encode(), "http://x/")
    assert error.kind == "too_long" and error.tokens == tokens
    assert ("100 tokens too many" in str(error)) is (tokens is not None)


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        *((code, "", "redirect") for code in (301, 302, 303, 307, 308)),
        *((code, "", "auth") for code in (401, 403)),
        *((code, "", "not_found") for code in (404, 405)),
        *((400, "exceeds max length", "too_long"), (413, "", "too_long"), (422, "too long", "too_long")),
        *((429, "", "rate_limit"), (429, '{"error": {"code": "1113"}}', "no_money")),
        *((503, "Loading model", "loading"), (503, "", "server_error"), (500, "", "server_error")),
        *((400, "", "bad_request"), (418, "", "bad_request"), (499, "too long", "bad_request")),
    ],
)
def test_what_a_status_means(status: int, words: str, kind: str) -> None:
    """With the server's own words before our advice."""
    error = parse_error_response(status, {"retry-after": "7"}, words.encode(), "http://x/v1")
    assert (error.kind, error.status, error.retry_after) == (kind, status, "7")
    assert str(error).startswith(f"The server answered {status}: ")


def test_the_dialect_follows_from_the_path() -> None:
    """A slash at its end and a query make no difference."""
    for url in ("http://x/v1", "http://x/v1/", "http://x/api/paas/v4", "http://x/v1/chat/completions?a=/b"):
        assert dialect_of(url) == "openai"
    for url in ("http://x", "http://x/", "http://x/v1/x", "http://x/?next=/v1", "http://x/#/v1"):
        assert dialect_of(url) == "chatglm"


def test_an_address_is_completed_from_base_or_full_url() -> None:
    """The query stays with the question and is no part of the base."""
    for given in ("http://x/v1", "http://x/v1/", "http://x/v1/chat/completions"):
        assert openai.url(given) == "http://x/v1/chat/completions"
        assert openai.base_url(given + "?a=1") == "http://x/v1"
    assert openai.url("http://x/v1?a=1") == "http://x/v1/chat/completions?a=1"


def test_a_zero_is_the_lowest_value_in_chatglms_own_protocol() -> None:
    """Its servers read 0 as unset; what was changed is told."""
    body, changed = chatglm.encode(ModelInput("q", (), {"temperature": 0.0, "top_p": 0.0, "max_token": 3}))
    assert (body["temperature"], body["top_p"], body["max_length"]) == (0.01, 0.01, 3) and len(changed) == 2
    body, changed = chatglm.encode(ModelInput("q", (), {}))
    assert (body["temperature"], body["top_p"], body["max_length"], changed) == (0.1, 0.7, 20000, ())


def test_probabilities_that_make_no_sense_are_left_out() -> None:
    """No number, not a number, a truth value; one above 1 is 1, one of nothing is very small."""

    def odd(logprob: Any) -> dict[str, Any]:
        return {"token": "x", "logprob": logprob}

    for wrong in (float("nan"), None, "0", True):
        assert parse_logprobs({"content": [odd(wrong)]}) == ()
    for given, kept in ((0.5, 0.0), (-9999, -9999.0), (float("-inf"), -1e4), (-(10**400), -1e4)):
        assert parse_logprobs({"content": [odd(given)]})[0].taken.logprob == kept


def test_a_servers_words_become_one_harmless_line() -> None:
    """Cut at the limit, with no control character; found in whichever shape of an error they stand."""
    assert sanitize_line("a\x1b[2Jb\r\n\u202ec", 300) == "a [2Jb c" and sanitize_line("x" * 9, 8) == "x" * 8 + "…"
    assert sanitize_line("x" * 8, 8) == "x" * 8
    shapes: list[Any] = [
        *(
            {"error": {"message": "m"}},
            {"error": "m"},
            {"detail": "m"},
            {"message": "m"},
            {"msg": "m"},
            ["m"],
            "m",
        ),
    ]
    assert {find_message(shape) for shape in shapes} == {"m"}
    assert find_message({"detail": [{"loc": ["body", "x"], "msg": "m"}, {"msg": "n"}]}) == "body.x: m; n"
    assert find_message({"error": None, "other": "m"}) is None
