"""Rows H9, H26 to H29 and H31: refusals as real servers word them, and what is asked again after one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatglm_magic.errors import ResponseError

from ..support.fault_requests import make_model
from ..support.fault_scripts import DONE, closing_body, event, piece, stop, streamed, whole
from ..support.four_roads import ROADS, ask, fact, roads
from ..support.servers import ScriptedServer, reply

WORDS = "提示词太长了，请缩短"
CHARSETS = ("GBK", "gb2312", "gb18030", "big5", '"GB18030"', "utf-16")


@pytest.mark.row("H9")
@roads
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
@pytest.mark.parametrize("charset", CHARSETS)
def test_a_refusal_in_a_declared_charset_is_readable(charset: str, dialect: str, road: str) -> None:
    """The server's words, and no replacement character."""
    words = WORDS if charset != "big5" else "提示詞太長了"
    body = json.dumps({"error": {"message": words}}, ensure_ascii=False).encode(charset.strip('"'))
    for status in (400, 500):
        script = reply(body, status=status, kind=f"application/json; charset={charset}")
        error = ask(script, road, dialect).error
        assert words in str(error) and "\ufffd" not in str(error)


@pytest.mark.row("H9")
@roads
def test_a_refusal_as_a_page_says_its_charset_itself(road: str) -> None:
    """A gateway's page in GBK declares that within; a cut character at its end is no letter."""
    page = f'<html><head><meta charset="gbk"><title>{WORDS}</title></head>'.encode("gbk")
    assert WORDS in str(ask(reply(page, status=502, kind="text/html"), road).error)
    cut = json.dumps({"error": WORDS}, ensure_ascii=False).encode("gbk")[:-3]
    error = ask(reply(cut, status=400, kind="text/plain; charset=gbk"), road).error
    assert WORDS[:-1] in str(error) and "\ufffd" not in str(error)


@pytest.mark.row("H9")
@pytest.mark.parametrize("charset", ["utf-16", "base64", "hex", "rot13", "idna", "undefined", "klingon", "utf-32"])
def test_a_charset_that_is_none_is_no_crash(charset: str) -> None:
    """The words are read as UTF-8 then, or as well as can be."""
    script = reply("bad model x", status=400, kind=f"text/plain; charset={charset}")
    error = ask(script, "invoke").error
    assert error is not None and "400" in str(error)


@pytest.mark.row("H2")
@pytest.mark.parametrize(
    "words", ["CUDA error: invalid token index", "参数频率惩罚超出范围", "missing tokenizer file"]
)
def test_words_that_only_sound_like_a_key_or_a_limit(words: str) -> None:
    """No advice that can't help."""
    assert ask(streamed(event({"error": words})), "invoke").failed("server_error")


@pytest.mark.row("H28")
@pytest.mark.parametrize(
    "words", ["temperature and top_p can't both be set (top_p=0.9)", "temperature 1.5: must be at least 0.01"]
)
def test_a_number_that_is_no_limit_is_not_sent(words: str) -> None:
    """Only a limit that is named as one."""
    ask(reply({"error": words}, status=400), "invoke", temperature=1.5).failed("bad_request")


ODDS = "Requested sample logprobs of 4096, which is greater than max allowed: 20"


@pytest.mark.row("H26")
@roads
def test_a_refusal_that_comes_as_an_event_is_one(road: str) -> None:
    """vLLM refuses a stream under 200: kind, status and advice are those of the code, and it is asked again."""
    refusal = streamed(event({"error": {"message": ODDS, "type": "BadRequestError", "code": 400}}))
    error = ask(refusal, road).failed("bad_request")
    assert isinstance(error, ResponseError) and error.status == 400 and "--dry-run" in str(error)
    good = streamed(piece("你好"), stop(), DONE)
    with ScriptedServer(refusal, good) as server:
        llm = make_model(server, "openai", model_kwargs={"logprobs": True, "top_logprobs": 4096})
        ROADS[road](llm).ok("你好")
        assert [post.body["top_logprobs"] for post in server.posts] == [4096, 20]


@pytest.mark.row("H26")
@roads
def test_a_refusal_that_comes_as_bare_json_is_one(road: str) -> None:
    """The same without its event, and with a code that stands for a status."""
    body = b'{"error":{"message":"no key","code":"1002"}}'
    error = ask(closing_body(body, kind="text/event-stream"), road).failed("auth")
    assert isinstance(error, ResponseError) and error.status == 401 and "1002" in str(error)


TOO_MANY = {
    "max_tokens=80000 cannot be greater than max_model_len=512. Please request fewer output tokens.": "512 tokens",
    "'max_tokens' or 'max_completion_tokens' is too large: 80000. This model's maximum context length is 512 "
    "tokens and your request has 10 input tokens (80000 > 512 - 10).": "512 tokens in all",
    "max_tokens is too large: 80000. This model supports at most 4096 completion tokens": "4096 tokens.",
    "max_tokens must be less than or equal to 8192": "8192 tokens.",
    "Invalid max_tokens value, the valid range of max_tokens is between 1 and 8192": "8192 tokens.",
}


@pytest.mark.row("H27")
@roads
@pytest.mark.parametrize("words", TOO_MANY)
def test_too_high_a_max_token_says_to_lower_it(words: str, road: str) -> None:
    """Not to shorten the prompt; as a refusal and as an event."""
    body = {"error": {"message": words, "code": 400}}
    for script in (reply(body, status=400), streamed(event(body))):
        error = ask(script, road, max_token=80000).failed("bad_request")
        assert "Lower max_token" in str(error) and TOO_MANY[words] in str(error)
        assert "Shorten the prompt" not in str(error)


ROOM = (
    "This model's maximum context length is 512 tokens. However, you requested 16 output tokens and your prompt "
)
TOO_LONG = {
    ROOM + "contains at least 513 input tokens, for a total of at least 529 tokens.": (529, 512),
    ROOM + "contains at least 513 input tokens. Please reduce it.": (513, 512),
    ROOM
    + "contains 8135 characters (more than 7680 characters, which is the upper bound for 512 input tokens).": (
        543,
        512,
    ),
    "This model's maximum context length is 512 tokens. However, you requested 600 tokens in the messages": (
        600,
        512,
    ),
}


@pytest.mark.row("H27")
@roads
@pytest.mark.parametrize("words", TOO_LONG)
def test_a_prompt_that_is_too_long_tells_its_tokens(words: str, road: str) -> None:
    """In the words of today's vLLM."""
    error = ask(reply({"error": {"message": words, "code": 400}}, status=400), road).failed("too_long")
    assert isinstance(error, ResponseError) and error.tokens == TOO_LONG[words]


LIMITS: list[tuple[str, dict[str, Any], str, Any]] = [
    ("stop: at most 4 stop strings are allowed", {"stop": list("abcde")}, "stop", list("abcd")),
    ("'stop' : max length is 1", {"stop": ["a", "b"]}, "stop", ["a"]),
    ("temperature must be in [0, 2], got 3.0", {"temperature": 3.0}, "temperature", 2),
    ("temperature: Input should be less than or equal to 1", {"temperature": 1.5}, "temperature", 1),
]


@pytest.mark.row("H28")
@roads
@pytest.mark.parametrize(("words", "fields", "key", "taken"), LIMITS)
def test_what_a_server_can_not_take_is_sent_as_near_as_can_be(
    words: str, fields: dict[str, Any], key: str, taken: Any, road: str
) -> None:
    """Its refusal names its limit: that is sent, and said."""
    refusal = reply({"error": {"message": words, "code": 400}}, status=400)
    good = streamed(piece("xy"), stop(), DONE)
    with ScriptedServer(refusal, good) as server:
        ROADS[road](make_model(server, "openai", **fields)).ok("xy")
        assert [post.body[key] for post in server.posts] == [fields[key], taken]
    with ScriptedServer(refusal, good) as server:
        result = make_model(server, "openai", **fields).generate(["hi"]).generations[0][0]
        assert key in str((result.generation_info or {})["changed"])
    with ScriptedServer(refusal) as server:
        ROADS[road](make_model(server, "openai", **fields)).failed("bad_request")
        assert len(server.posts) == 2, "once, and no more"


@pytest.mark.row("H28")
def test_stop_strings_that_were_not_sent_are_applied_all_the_same() -> None:
    """The fifth one ends the answer here."""
    refusal = reply({"error": {"message": "stop: at most 4 stop strings"}}, status=400)
    with ScriptedServer(refusal, streamed(piece("one"), piece("Etwo"), stop(), DONE)) as server:
        assert make_model(server, "openai", stop=list("ABCDE")).invoke("hi") == "one"


@pytest.mark.row("H29")
@roads
def test_an_empty_stream_is_asked_again_without_one(road: str) -> None:
    """ChatGLM3's api_server.py has one for each short answer; the whole answer is what was meant."""
    empty = streamed()
    with ScriptedServer(empty, reply(whole("openai"))) as server:
        ROADS[road](make_model(server, "openai")).ok("你好")
        assert [post.body["stream"] for post in server.posts] == [True, False]
        assert "stream_options" not in server.posts[1].body
    with ScriptedServer(empty, reply(whole("openai"))) as server:
        result = make_model(server, "openai").generate(["hi"]).generations[0][0]
        assert "stream" in str((result.generation_info or {})["changed"])


@pytest.mark.row("H29")
@roads
def test_a_stream_with_a_byte_in_it_is_not_asked_again(road: str) -> None:
    """Control: what the server may have begun is not begun twice."""
    ask(streamed(b": ping\n\n"), road).failed("incomplete")


MODELS = [
    "Invalid model name passed in model=x",
    "The model `x` does not exist. Valid aliases: glm-4",
    "model 'x' not found",
    "模型不存在，请检查模型代码。",
]


@pytest.mark.row("H31")
@roads
@pytest.mark.parametrize("words", MODELS)
def test_a_wrong_model_is_told_as_one(words: str, road: str) -> None:
    """With what to type, under 400 as under 404."""
    for status in (400, 404):
        error = ask(reply({"error": {"message": words}}, status=status), road, model="x").failed("not_found")
        assert "%chatglm_config model=NAME" in str(error)


@pytest.mark.row("H31")
def test_a_session_names_the_models_that_there_are() -> None:
    """One look at the server's list."""
    from chatglm_magic import Session

    refusal = reply({"error": {"message": MODELS[0]}}, status=400)
    with ScriptedServer(refusal, on_get=reply({"data": [{"id": "glm-4"}, {"id": "glm-z1"}]})) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = f"{server.url}v1", "off"
        with pytest.raises(ResponseError, match="The server has: glm-4, glm-z1"):
            session.ask("hi", model="x")
        session.close()


def test_facts_are_those_of_the_answer() -> None:
    """Control: an answer to which nothing happened has nothing to tell."""
    assert "changed" not in fact(streamed(piece("a"), stop(), DONE))
