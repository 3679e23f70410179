"""``timeout``, ``max_retries`` and ``thinking``: how long, how often, and how hard."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError, IncompleteAnswerError, ParameterError, ResponseError

from ..support.clock import assert_within
from ..support.models import both, make_model, reply_with
from ..support.servers import Asked, ScriptedServer, answer, chunk, hang, reply, sse

ROADS: dict[str, Callable[[ChatGLM], str]] = {
    "sync": lambda llm: llm.invoke("x"),
    "async": lambda llm: asyncio.run(llm.ainvoke("x")),
}
roads = pytest.mark.parametrize("road", ROADS)


def failing(llm: ChatGLM, road: str, within: float) -> ChatGLMError:
    """Ask; return the error, which must come within so many seconds."""
    began = time.monotonic()
    with pytest.raises(ChatGLMError) as caught:
        ROADS[road](llm)
    assert_within(time.monotonic() - began, within)
    return caught.value


@both
@roads
@pytest.mark.parametrize("timeout", [0.2, {"first_byte": 0.2}, {"total": 0.2}])
def test_field_timeout(dialect: str, road: str, timeout: Any) -> None:
    """A server that says nothing is given up after so many seconds, of all waiting or of this."""
    with ScriptedServer(hang()) as server:
        error = failing(make_model(server, dialect, timeout=timeout), road, 0.7)
        assert error.kind == ("total_timeout" if "total" in str(timeout) else "first_byte_timeout")
        server.wait_closed(server.posts[0], 1.0)


@roads
@pytest.mark.parametrize(
    ("timeout", "kind", "says_more"),
    [
        (0.5, "idle_timeout", False),
        (0.5, "stalled", True),
        ({"idle": 0.5}, "idle_timeout", False),
        ({"content": 0.5}, "stalled", True),
        ({"total": 0.5}, "total_timeout", True),
    ],
)
def test_field_timeout__within_an_answer(road: str, timeout: Any, kind: str, says_more: bool) -> None:
    """A stream that falls silent, that says nothing new, or that takes too long, is given up with its text."""

    def script(connection: socket.socket, asked: Asked) -> None:
        sse([chunk("ab")], done=False)(_Unshut(connection), asked)
        for _ in range(600):
            time.sleep(0.05)
            if says_more:
                connection.sendall(b": still here\n\n")

    with ScriptedServer(script) as server:
        error = failing(make_model(server, "openai", timeout=timeout), road, 1.0)
        both_at_once = {"idle_timeout", "stalled"} if timeout == 0.5 and not says_more else {kind}
        assert isinstance(error, IncompleteAnswerError) and error.kind in both_at_once and error.partial == "ab"


class _Unshut:
    """A connection whose end is not announced."""

    def __init__(self, connection: socket.socket) -> None:
        self.sendall = connection.sendall

    def shutdown(self, how: int) -> None:
        """Do nothing."""


@both
def test_field_timeout__of_a_call(dialect: str) -> None:
    """A call's own limit takes the place of the object's."""
    with ScriptedServer(hang()) as server, pytest.raises(ChatGLMError) as caught:
        make_model(server, dialect, timeout=20).invoke("x", timeout=0.2)
    assert caught.value.kind == "first_byte_timeout"


@both
@roads
def test_field_timeout__holds_for_retries_too(dialect: str, road: str) -> None:
    """A server that asks to wait longer than there is time is not waited for."""
    with ScriptedServer(reply("busy", status=429, Retry_After="30")) as server:
        assert failing(make_model(server, dialect, timeout={"total": 5}), road, 0.7).kind == "rate_limit"
        assert len(server.posts) == 1


@pytest.mark.parametrize(
    "wrong", [0, -1, True, float("nan"), float("inf"), "soon", {"read": 3}, {"idle": 0}, {"idle": None}, [1]]
)
def test_field_timeout__is_seconds(wrong: Any) -> None:
    """What isn't a number of seconds, and a limit that does not exist, is refused with the field's name."""
    llm = ChatGLM()
    for attempt in (
        lambda: ChatGLM(timeout=wrong),
        lambda: setattr(llm, "timeout", wrong),
        lambda: llm.invoke("x", timeout=wrong),
    ):
        with pytest.raises(ParameterError, match="timeout"):
            attempt()


@both
@roads
@pytest.mark.parametrize(("fields", "posts"), [({}, 3), ({"max_retries": 0}, 1), ({"max_retries": 4}, 5)])
def test_field_max_retries(dialect: str, road: str, fields: dict[str, int], posts: int) -> None:
    """A server that is busy is asked so many times again: twice unless it is said."""
    with ScriptedServer(reply("busy", status=503, Retry_After="0.01")) as server:
        assert failing(make_model(server, dialect, **fields), road, 5).kind == "server_error"
        assert len(server.posts) == posts


@both
def test_field_max_retries__are_told(dialect: str) -> None:
    """An answer that came at the third attempt says so."""
    busy = reply("busy", status=429, Retry_After="0.01")
    with ScriptedServer(busy, busy, reply_with("ok")) as server:
        found = make_model(server, dialect).generate(["x"]).generations[0][0]
        assert found.text == "ok" and (found.generation_info or {})["retries"] == 2


ZAI, OLLAMA, OTHER = "http://api.z.ai/api/paas/v4", "http://ollama.invalid:11434/v1", "http://vllm.invalid/v1"
SWITCH_ON, SWITCH_OFF = {"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}
TEMPLATE_ON = {"chat_template_kwargs": {"enable_thinking": True}}
TEMPLATE_OFF = {"chat_template_kwargs": {"enable_thinking": False}}
KEYS = ("thinking", "reasoning_effort", "chat_template_kwargs")


@roads
@pytest.mark.parametrize(
    ("url", "name", "wish", "keys"),
    [
        *((url, "glm-4.6", None, {}) for url in (ZAI, OLLAMA, OTHER)),
        (ZAI, "glm-4.6", "off", SWITCH_OFF),
        (ZAI, "glm-5.2", "on", SWITCH_ON),
        *((ZAI, "glm-5.2", level, SWITCH_ON | {"reasoning_effort": level}) for level in ("high", "max")),
        (ZAI, "glm-5.3", "off", {"reasoning_effort": "low"}),
        (OLLAMA, "glm4", "off", {"reasoning_effort": "none"}),
        *((OLLAMA, "glm4", level, {"reasoning_effort": level}) for level in ("low", "high")),
        (OTHER, "glm-5", "off", TEMPLATE_OFF),
        (OTHER, "glm-5", "on", TEMPLATE_ON),
        *((OTHER, "other", level, TEMPLATE_ON | {"reasoning_effort": level}) for level in ("low", "high", "max")),
    ],
)
def test_field_thinking(
    road: str, url: str, name: str, wish: Any, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each openai server is asked in its own words; a proxy on loopback stands for the servers."""
    with ScriptedServer(answer("ok")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ROADS[road](ChatGLM(endpoint_url=url, model=name, thinking=wish)) == "ok"
        assert proxy.posts[0].path == url + "/chat/completions"
        assert {key: proxy.posts[0].body[key] for key in KEYS if key in proxy.posts[0].body} == keys


@roads
def test_field_thinking__shows_a_refusal(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that can't be told not to think says so, and its words arrive."""
    words = "This model always engages in thinking and cannot be disabled; please use low, high, or max"
    with ScriptedServer(reply({"error": {"code": "1210", "message": words}}, status=400)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(ResponseError, match=words) as caught:
            ROADS[road](ChatGLM(endpoint_url=ZAI, model="glm-6", thinking="off"))
        assert (caught.value.kind, caught.value.status, len(proxy.posts)) == ("bad_request", 400, 1)


def test_field_thinking__is_one_of_five_words() -> None:
    """Another word is refused with those that exist, also for one call."""
    for attempt in (lambda: ChatGLM(thinking="hard"), lambda: ChatGLM().invoke("x", thinking="hard")):
        with pytest.raises(ParameterError, match="thinking must be off, on, low, high or max"):
            attempt()


def test_field_thinking__is_no_part_of_the_text() -> None:
    """What the model thought stands beside the answer, in whichever way the server hands it over."""
    events = {
        "a key": [chunk(None, reasoning_content="Hm"), chunk("ok")],
        "vLLM's key": [chunk(None, reasoning="Hm"), chunk("ok")],
        "tags": [chunk("<think>H"), chunk("m</think>"), chunk("\n\nok")],
    }
    for said in events.values():
        assert thought_and_said(said) == ("Hm", "ok")


def thought_and_said(said: list[Any]) -> tuple[str | None, str]:
    with ScriptedServer(sse([*said, chunk(None, finish_reason="stop")])) as server:
        found = make_model(server, "openai").generate(["x"]).generations[0][0]
    return (found.generation_info or {}).get("reasoning"), found.text


@pytest.mark.parametrize(
    ("text", "parts"),
    [("<think>Hm", ("Hm", "")), ("<thi", (None, "<thi")), ("a<think>b</think>", (None, "a<think>b</think>"))],
)
def test_field_thinking__in_tags_that_do_not_close(text: str, parts: tuple[str | None, str]) -> None:
    """A thought that was cut off is one; half a tag, and a tag inside the answer, are the answer's own words."""
    assert thought_and_said([chunk(letter) for letter in text]) == parts
