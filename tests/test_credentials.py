"""Keys and headers: whose they are, and what is left of one that a server repeats."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.credentials import mask, secrets_in
from chatglm_magic.errors import ChatGLMError, ResponseError, TapeError

from .support.canary import KEY, has_leaked
from .support.servers import ScriptedServer, answer, chunk, legacy, reply, sse

HEX = "3f9c1e7ab2d84c06"
GIVEN = {
    "api_key": {"api_key": KEY},
    "Bearer": {"headers": {"Authorization": f"Bearer {KEY}"}},
    "bearer": {"headers": {"Authorization": f"bearer {KEY}"}},
    "Token": {"headers": {"Authorization": f"Token {KEY}"}},
    "Basic": {"headers": {"Authorization": "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()}},
    "one cookie": {"headers": {"Cookie": f"session={KEY}"}},
    "a cookie among others": {"headers": {"Cookie": f"theme=dark; session={KEY}; lang=zh"}},
    "any header": {"headers": {"X-Team": KEY}},
}
"""The ways in which a key is given."""
SPELLINGS = {
    "as it is": KEY,
    "in capitals": KEY.upper(),
    "percent-encoded": quote(KEY, safe=""),
    "every byte percent-encoded": "".join(f"%{ord(char):02X}" for char in KEY),
}


def refuse(words: str, status: int = 401) -> ScriptedServer:
    """Return a server that refuses every question with these words."""
    return ScriptedServer(reply({"error": {"message": words}}, status=status))


def shows_a_run(error: BaseException) -> bool:
    """Tell whether an error shows more than four characters of the key in a row, percent-encoded or not."""
    text = unquote(str(error)).lower()
    return any(KEY[at : at + 5].lower() in text for at in range(len(KEY) - 4))


def ask(llm: ChatGLM, way: str) -> str:
    """Ask in one of two ways."""
    return llm.invoke("hi") if way == "sync" else asyncio.run(llm.ainvoke("hi"))


@pytest.mark.row("X2")
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("given", GIVEN)
def test_no_error_repeats_a_key(given: str, spelling: str, way: str) -> None:
    """However the key was given and however the server spells it, no run of more than four letters is shown."""
    with refuse(f"the key {SPELLINGS[spelling]} is not ours") as server:
        with pytest.raises(ResponseError) as caught:
            ask(ChatGLM(endpoint_url=f"{server.url}v1", **GIVEN[given]), way)
        with pytest.raises(ResponseError) as control:
            ask(ChatGLM(endpoint_url=f"{server.url}v1"), way)
    assert shows_a_run(control.value) and SPELLINGS[spelling] in str(control.value)
    assert not shows_a_run(caught.value) and "is not ours" in str(caught.value)


@pytest.mark.row("X2")
@pytest.mark.parametrize("before", range(470, 502, 3))
def test_a_key_that_a_cut_goes_through_is_masked(before: int) -> None:
    """The server's words are cut at 500 characters; what is left of a key there is taken out."""
    with refuse("x" * before + " " + KEY) as server:
        with pytest.raises(ResponseError) as caught:
            ChatGLM(endpoint_url=server.url, api_key=KEY).invoke("hi")
        with pytest.raises(ResponseError) as control:
            ChatGLM(endpoint_url=server.url).invoke("hi")
    assert shows_a_run(control.value) == (before < 495)
    assert not shows_a_run(caught.value)


@pytest.mark.row("X2")
def test_the_store_keeps_no_part_of_a_key_that_a_server_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of an error nor of an answer: not in memory, not in the file."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    said = chunk(f"Your key is {KEY}.", reasoning_content=f"Hm, {KEY}") | {"model": f"glm-{KEY}"}
    stream = sse([said, chunk(None, finish_reason=KEY)])
    refused = reply({"error": {"message": "x" * 475 + KEY}}, status=401)
    with ScriptedServer(stream, refused) as server:
        session = Session()
        session.settings.endpoint_url = f"{server.url}v1"
        session.llm.api_key = KEY
        answered = session.ask("hi")
        with pytest.raises(ResponseError):
            session.ask("hi again")
        turns = session.turns
        session.close()
    assert (
        answered == f"Your key is {KEY[:3]}…."
        and "answer: an API key that the server repeated was removed" in turns[0].changed
    )
    assert not has_leaked(answered, turns, [turn.to_json() for turn in turns])
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert b"hi again" in b"".join(files) and not has_leaked(*files)


@pytest.mark.row("X2")
@pytest.mark.parametrize("size", [1, 3, 7, 100])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_key_in_pieces_is_taken_out_of_an_answer(way: str, size: int) -> None:
    """A chunk may end anywhere in it; what only begins like it stays, and nothing else is changed."""
    text = f"sk- is how {KEY[:9]} begins; {KEY} and {KEY}{KEY}, {KEY[:-1]}"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    with ScriptedServer(answer(*pieces)) as server:
        told = ask(ChatGLM(endpoint_url=f"{server.url}v1", api_key=KEY), way)
        control = ask(ChatGLM(endpoint_url=f"{server.url}v1"), way)
    assert control == text
    assert told == text.replace(KEY, f"{KEY[:3]}…")


@pytest.mark.parametrize("end", [1, 2, 3, 9])
def test_an_answer_that_is_stopped_lacks_nothing_that_only_begins_like_a_key(end: int) -> None:
    """What was streamed so far has all that came, but for what would be the middle of a key."""
    hold = threading.Event()
    events = chunk(f"it ends in {KEY[:end]}"), chunk(" and goes on", finish_reason="stop")
    with ScriptedServer(sse(events, hold=hold)) as server:
        stream = ChatGLM(endpoint_url=f"{server.url}v1", api_key=KEY).stream("hi")
        told = next(stream)
        hold.set()
        assert told == f"it ends in {KEY[: min(end, 3)]}"
        assert told + "".join(stream) == f"it ends in {KEY[:end]} and goes on"


@pytest.mark.row("X2")
def test_a_cookie_in_a_prompt_reaches_no_tape(tmp_path: Path) -> None:
    """Each cookie's value counts as a secret, as does each header's."""
    with ScriptedServer(legacy("said")) as server:
        llm = ChatGLM(
            endpoint_url=server.url, tape=tmp_path / "t.jsonl", headers={"Cookie": f"a=b; session={KEY}"}
        )
        with pytest.raises(TapeError) as caught:
            llm.invoke(f"what is {KEY}?")
        assert caught.value.kind == "secret" and not has_leaked(caught.value) and server.posts == []
        assert llm.invoke("what is love?") == "said"


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        ({"Authorization": f"Bearer {HEX}"}, [HEX]),
        ({"Authorization": HEX}, [HEX]),
        ({"Proxy-Authorization": f"Custom {HEX}"}, [HEX]),
        ({"Authorization": f'Digest username="me", response="{HEX}"'}, [HEX]),
        ({"Cookie": f"a={HEX}; b=x"}, [HEX]),
        ({"X-Key": f"key {HEX}"}, [HEX]),
        ({"X-Small": "abc"}, []),
    ],
)
def test_what_counts_as_a_secret(headers: dict[str, str], secrets: list[str]) -> None:
    """A value without its scheme, each cookie, each parameter; nothing of three characters."""
    assert set(secrets) <= set(secrets_in(headers))
    assert all(len(secret) > 3 for secret in secrets_in(headers))


def test_what_is_to_be_typed_next_is_never_masked() -> None:
    """A key that holds words of ours does not garble the advice; text without it stays as it is."""
    advice = "Set the key with %chatglm_config api_key, or the variable CHATGLM_API_KEY."
    assert mask(advice, ["chatglm-api_key-config"]) == advice
    assert mask("nothing of it", [KEY]) == "nothing of it"
    assert mask(f"short {HEX[:6]} and long {KEY}", [HEX[:6], KEY]) == f"short … and long …{KEY[-4:]}"


ORIGINS = ("http://127.0.0.1:1/", "http://127.0.0.1:2/")


@contextmanager
def switching(llm: ChatGLM) -> Iterator[None]:
    """Have another thread give the model one origin with its key and header, then the other, without a pause."""
    over = threading.Event()

    def switch() -> None:
        while not over.is_set():
            for number, url in enumerate(ORIGINS):
                llm.endpoint_url = url
                llm.headers = {"X-Team": f"team-{number}"}
                llm.api_key = f"key-{number}"

    thread = threading.Thread(target=switch)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)


@pytest.mark.row("X3")
def test_no_plan_mixes_two_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread switches endpoint, key and headers, each request has those of its own origin or none."""
    monkeypatch.delenv("CHATGLM_API_KEY", raising=False)
    llm = ChatGLM(endpoint_url=ORIGINS[0])
    mixed, seen = [], set()
    with switching(llm):
        for _ in range(10_000):
            call = llm.plan("hi").request
            own = ORIGINS.index(call.url)
            seen.add((own, len(call.headers)))
            wanted = {"X-Team": f"team-{own}", "Authorization": f"Bearer key-{own}"}
            mixed += [dict(call.headers)] if not wanted.items() >= call.headers.items() else []
    assert mixed == []
    assert {own for own, count in seen if count == 2} == {0, 1}, "both origins were asked with their keys"


def test_copies_keep_a_key_with_its_origin() -> None:
    """A copy with another endpoint does not take the key along; a key given with it is for that endpoint."""
    llm = ChatGLM(endpoint_url=ORIGINS[0], api_key=KEY, headers={"X-Team": "blue"})
    moved = llm.model_copy(update={"endpoint_url": ORIGINS[1]})
    assert not moved.plan("hi").request.headers
    given = llm.model_copy(update={"endpoint_url": ORIGINS[1], "api_key": None})
    assert not given.plan("hi").request.headers
    assert llm.plan("hi").request.headers == {"X-Team": "blue", "Authorization": f"Bearer {KEY}"}
    sent = pickle.dumps(llm)
    assert KEY.encode() not in sent and b"blue" not in sent
    assert not pickle.loads(sent).plan("hi").request.headers  # noqa: S301


@pytest.mark.row("X2")
def test_facts_of_an_answer_hold_no_key() -> None:
    """Model, finish reason, what was changed, and names within the usage."""
    event = chunk("yes") | {"model": f"glm-{KEY}", "usage": {"prompt_tokens": 1, KEY: 2, "x": {"y": KEY}}}
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    head += f"X-ChatGLM-Changed: {KEY}\r\nConnection: close\r\n\r\n"

    def script(connection: object, asked: object) -> None:
        events = "".join(f"data: {json.dumps(e)}\n\n" for e in (event, chunk(None, finish_reason=KEY)))
        connection.sendall((head + events + "data: [DONE]\n\n").encode())  # type: ignore[attr-defined]
        connection.shutdown(1)  # type: ignore[attr-defined]

    with ScriptedServer(script) as server:
        told = ChatGLM(endpoint_url=f"{server.url}v1", api_key=KEY).generate(["hi"])
        control = ChatGLM(endpoint_url=f"{server.url}v1").generate(["hi"])
    assert has_leaked(control) and not has_leaked(told)


def test_an_error_that_is_no_servers_is_masked_too() -> None:
    """A header that can't be sent is named, and its value is not repeated."""
    with pytest.raises(ChatGLMError) as caught:
        ChatGLM(endpoint_url=ORIGINS[0], headers={"X-Team": KEY + "\n"}).invoke("hi")
    assert "X-Team" in str(caught.value) and not has_leaked(caught.value)


@pytest.mark.row("X2")
def test_what_a_server_changed_holds_no_key_beside_what_was_changed_here() -> None:
    """Both come in one piece where the answer is one: temperature 0 is sent as 0.01."""
    whole = {"response": "yes", "history": [], "status": 200}
    with ScriptedServer(reply(whole, X_ChatGLM_Changed=f"key={KEY}")) as server:
        told = ChatGLM(endpoint_url=server.url, api_key=KEY, temperature=0).generate(["hi"])
        control = ChatGLM(endpoint_url=server.url, temperature=0).generate(["hi"])
    assert has_leaked(control) and not has_leaked(told)
    assert "0 sent as 0.01" in str(told) and "key=" in str(told)
