"""Headers: which can be sent, and how a key in one is kept out of what goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError, EndpointError

from .support.canary import KEY
from .support.servers import ScriptedServer, chunk, legacy, reply, sse

UNSENDABLE = ["\n", "\r", "\r\nX-Evil: 1", "\0", "\x01", "\x0b", "\x1f", "\x7f", "“", "é", "\u2028", "钥"]


@pytest.mark.parametrize("odd", UNSENDABLE)
@pytest.mark.parametrize("where", ["api_key", "value", "name"])
def test_a_header_with_a_character_that_cant_be_sent_is_refused(where: str, odd: str) -> None:
    """Before anything is sent, whatever holds it, and without the value in the message."""
    fields = {
        "api_key": {"api_key": KEY + odd},
        "value": {"headers": {"X-Trace": KEY + odd}},
        "name": {"headers": {f"X{odd}Y": KEY}},
    }[where]
    with ScriptedServer(legacy("ok")) as server:
        with pytest.raises(EndpointError) as raised:
            ChatGLM(endpoint_url=server.url, **fields).invoke("q")
        assert raised.value.kind == "bad_header" and KEY not in str(raised.value) and server.asked == []


@pytest.mark.parametrize("name", ["Host", "HOST", "content-length", "Transfer-Encoding", "connection"])
def test_a_header_that_frames_the_request_is_the_clients_own(name: str) -> None:
    """Whatever its case: a wrong one would let a second request be smuggled in."""
    with pytest.raises(EndpointError, match="set by the client itself") as raised:
        ChatGLM(headers={name: "x"}).plan("q")
    assert raised.value.kind == "bad_header"


def test_every_sendable_character_is_sent() -> None:
    """The control: blanks and signs of ASCII reach the server as they are."""
    value = "".join(map(chr, range(33, 127))) + " x\ty".replace("\t", " ")
    with ScriptedServer(legacy("ok")) as server:
        ChatGLM(endpoint_url=server.url, headers={"X-Trace": value}).invoke("q")
        assert server.posts[0].headers["x-trace"] == value


@pytest.mark.parametrize("manner", ["sync", "async"])
@pytest.mark.parametrize("field", ["api_key", "Authorization", "X-API-Key", "Bearer in X-API-Key"])
def test_a_key_that_the_server_repeats_is_shown_by_its_last_letters_alone(field: str, manner: str) -> None:
    """Without the word Bearer too, in a refusal and in a stream that breaks off; the words around it stay."""
    headers = {"Authorization": f"Bearer {KEY}", "X-API-Key": KEY, "Bearer in X-API-Key": f"Bearer {KEY}"}
    name = field.removeprefix("Bearer in ")
    fields = {"api_key": KEY} if field == "api_key" else {"headers": {name: headers[field]}}
    words = f"the key {KEY} is not ours"
    for script in (reply({"error": {"message": words}}, status=401), sse([chunk("x"), {"error": words}])):
        with ScriptedServer(script) as server:
            llm = ChatGLM(endpoint_url=server.url + "v1", **fields)
            with pytest.raises(ChatGLMError) as raised:
                llm.invoke("q") if manner == "sync" else asyncio.run(llm.ainvoke("q"))
            assert KEY not in str(raised.value) and f"the key …{KEY[-4:]} is not ours" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "shown"), [("EMPTY-KEY-16-ch.", "…"), ("abcd", "…"), ("EMPTY-KEY-17-char", "…char")]
)
def test_of_a_short_key_nothing_is_shown(value: str, shown: str) -> None:
    """Four letters of a long one tell keys apart; of a short one they would be too much."""
    refuse = reply({"error": {"message": f"no: {value}!"}}, status=401)
    with ScriptedServer(refuse) as server, pytest.raises(ChatGLMError) as raised:
        ChatGLM(endpoint_url=server.url + "v1", api_key=value).invoke("q")
    assert f"no: {shown}!" in str(raised.value)


def test_a_value_that_is_too_short_for_a_key_stays_in_the_text() -> None:
    """Three letters are found in many a word."""
    refuse = reply({"error": {"message": "the one"}}, status=401)
    with ScriptedServer(refuse) as server, pytest.raises(ChatGLMError, match="the one"):
        ChatGLM(endpoint_url=server.url + "v1", api_key="one").invoke("q")
