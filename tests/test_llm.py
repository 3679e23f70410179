"""``ChatGLM`` against a scripted server: what it sends, what it gives back, how it fails."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import socket
import threading
import time

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError, EndpointError, IncompleteAnswerError, ParameterError, ResponseError

from .support.clock import assert_within
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, hang, legacy, raw, reply, sse

ORIGINAL = {
    "endpoint_url": "http://127.0.0.1:8000/",
    "model_kwargs": None,
    "max_token": 20000,
    "temperature": 0.1,
    "history": [],
    "top_p": 0.7,
    "with_history": False,
}


def test_fields_and_defaults_of_the_original() -> None:
    """Old code finds every field with its old default."""
    llm = ChatGLM()
    assert {name: getattr(llm, name) for name in ORIGINAL} == ORIGINAL
    assert llm._llm_type == "chat_glm"


def test_invoke_posts_the_original_body() -> None:
    """The body is the one langchain_community sent."""
    with ScriptedServer(legacy("北京")) as server:
        assert ChatGLM(endpoint_url=server.url).invoke("hi") == "北京"
        assert server.posts[0].body == {
            "prompt": "hi",
            "temperature": 0.1,
            "history": [],
            "max_length": 20000,
            "top_p": 0.7,
        }


def test_call_beats_model_kwargs_beats_fields() -> None:
    """The order of the original holds, and any further key goes through."""
    with ScriptedServer(legacy()) as server:
        llm = ChatGLM(endpoint_url=server.url, temperature=0.2, model_kwargs={"temperature": 0.3, "a": 1})
        llm.invoke("x")
        llm.invoke("x", temperature=0.4, b=2)
        assert [post.body["temperature"] for post in server.posts] == [0.3, 0.4]
        assert server.posts[1].body | {"a": 1, "b": 2} == server.posts[1].body


def test_history_is_kept_when_asked_for_and_always_sent() -> None:
    """with_history may be switched on later; history goes along even when it is off."""
    with ScriptedServer(legacy("ok")) as server:
        llm = ChatGLM(endpoint_url=server.url, history=[("a", "b")])
        llm.invoke("c")
        assert server.posts[0].body["history"] == [["a", "b"]] and llm.history == [["a", "b"]]
        llm.with_history = True
        llm.invoke("d")
        assert llm.history == [["a", "b"], ["d", "ok"]]


def test_v1_streams_with_usage_and_reason() -> None:
    """A stream's chunks are its pieces; what is no text stands in generation_info."""
    with ScriptedServer(answer("你", "好", usage={"completion_tokens": 2})) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1")
        assert "".join(llm.stream("hi")) == "你好"
        info = llm.generate(["hi"]).generations[0][0].generation_info
        assert info == {"model": "test-glm", "finish_reason": "stop", "usage": {"completion_tokens": 2}}
        assert "temperature" not in server.posts[0].body


def test_v1_sends_what_was_assigned_and_unsets_with_none() -> None:
    """An assignment is a wish, None takes it back."""
    with ScriptedServer(answer("ok")) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", top_p=0.5)
        llm.temperature = 0.0
        llm.invoke("a")
        llm.temperature = None
        llm.invoke("a")
        assert [post.body.get("temperature") for post in server.posts] == [0.0, None]
        assert server.posts[0].body["top_p"] == 0.5


def test_async_is_the_same_road() -> None:
    """ainvoke and astream give what invoke and stream give."""

    async def both(llm: ChatGLM) -> tuple[str, list[str]]:
        return await llm.ainvoke("hi"), [piece async for piece in llm.astream("hi")]

    with ScriptedServer(answer("你", "好")) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", stop=["好"])
        whole, pieces = asyncio.run(both(llm))
        assert whole == "".join(pieces) == "".join(llm.stream("hi")) == "你"


@pytest.mark.row("G3")
@pytest.mark.parametrize("name", ["temperature", "top_p", "max_token"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "hot", -1, 10**9 + 0.5])
def test_a_wrong_number_is_refused_with_its_name(name: str, value: object) -> None:
    """No wrong number is sent: not at construction, not by assignment, not in a call."""
    with ScriptedServer(legacy()) as server:
        llm = ChatGLM(endpoint_url=server.url)
        for attempt in (
            lambda: ChatGLM(**{name: value}),
            lambda: setattr(llm, name, value),
            lambda: llm.invoke("x", **{name: value}),
        ):
            with pytest.raises(ParameterError, match=name):
                attempt()
        assert server.posts == []


@pytest.mark.row("G3")
@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"temperature": 0}, {"temperature": 0.01}),
        ({"top_p": 0}, {"top_p": 0.01}),
        ({"temperature": 3}, {"temperature": 3}),
        ({"max_token": 10**9}, {"max_length": 10**9}),
    ],
)
def test_a_zero_is_never_read_as_unset(values: dict[str, float], sent: dict[str, float]) -> None:
    """ChatGLM's own servers read 0 as "unset": the lowest value goes out instead."""
    with ScriptedServer(legacy()) as server:
        ChatGLM(endpoint_url=server.url).invoke("x", **values)
        assert {name: server.posts[0].body[name] for name in sent} == sent


def test_a_misspelt_name_is_refused_with_the_right_one() -> None:
    """max_tokens=5 must not be dropped in silence."""
    with pytest.raises(ParameterError, match="Did you mean max_token"):
        ChatGLM(max_tokens=5)
    with pytest.raises(ParameterError, match="Did you mean temperature"):
        ChatGLM().temprature = 1


@pytest.mark.row("G4")
@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "file:///etc/passwd",
        "ftp://host/",
        "http://user:pass@127.0.0.1/",
        "http://127.0.0.1:8000/ x",
        "http://127.0.0.1:8000/\r\nX: y",
        "http://",
        "http://127.0.0.1:99999/",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """A wrong address is an error of ours, before anything is sent, and never shows a password."""
    with pytest.raises(ChatGLMError) as caught:
        ChatGLM(endpoint_url=url).invoke("x")
    assert caught.value.kind in ("bad_url", "parameter") and "pass" not in str(caught.value).replace(
        "password", ""
    )


@pytest.mark.row("G4")
def test_ipv6_and_slashes_are_fine() -> None:
    """A base with and without its slash, and the full URL, ask the same path."""
    with ScriptedServer(answer("ok")) as server:
        for ending in ("v1", "v1/", "v1/chat/completions"):
            ChatGLM(endpoint_url=server.url + ending).invoke("x")
        assert {post.path for post in server.posts} == {"/v1/chat/completions"}
    with pytest.raises(EndpointError) as caught:
        ChatGLM(endpoint_url="http://[::1]:1/", max_retries=0).invoke("x")
    assert caught.value.kind == "connect"


@pytest.mark.row("G5")
@pytest.mark.parametrize("key", ["sk-canary\n", "sk-canary\r\nX: y", "“sk-canary”", "sk-canary密"])
def test_a_key_that_cant_be_sent_is_not_shown(key: str) -> None:
    """requests and aiohttp would print such a key in their own errors."""
    with ScriptedServer(legacy()) as server:
        for ask in (
            lambda llm: llm.invoke("x"),
            lambda llm: asyncio.run(llm.ainvoke("x")),
        ):
            with pytest.raises(EndpointError) as caught:
                ask(ChatGLM(endpoint_url=server.url, api_key=key))
            assert caught.value.kind == "bad_header" and "canary" not in repr(caught.value)
        assert server.asked == []


@pytest.mark.row("G6")
@pytest.mark.parametrize(
    "headers", [{"X-A": "b\r\nHost: evil"}, {"X-A\r\nB": "c"}, {"Host": "evil"}, {"Content-Length": "1"}]
)
def test_headers_that_break_the_request_are_refused(headers: dict[str, str]) -> None:
    """No header can smuggle in another, or change whom and how much is sent."""
    with ScriptedServer(legacy()) as server:
        with pytest.raises(ChatGLMError) as caught:
            ChatGLM(endpoint_url=server.url, headers=headers).invoke("x")
        assert caught.value.kind == "bad_header" and server.asked == []


@pytest.mark.row("G10")
@pytest.mark.parametrize("dialect", ["chatglm", "openai"])
def test_a_users_callback_that_fails_leaves_the_answer_alone(
    dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that raises, or is slow, costs no text."""
    from langchain_core.callbacks import BaseCallbackHandler

    class Bad(BaseCallbackHandler):
        def on_llm_new_token(self, *args: object, **kwargs: object) -> None:
            time.sleep(0.01)
            raise RuntimeError("mine")

    script = legacy("你好") if dialect == "chatglm" else answer("你", "好")
    with ScriptedServer(script) as server:
        llm = ChatGLM(endpoint_url=server.url + ("" if dialect == "chatglm" else "v1"))
        assert "".join(llm.stream("x", config={"callbacks": [Bad()]})) == "你好"


def test_a_key_goes_to_its_own_origin_alone() -> None:
    """Neither another endpoint of a call nor a new endpoint_url gets the key."""
    with ScriptedServer(legacy()) as own, ScriptedServer(legacy()) as other:
        llm = ChatGLM(endpoint_url=own.url, api_key="sk-canary")
        llm.invoke("x")
        llm.invoke("x", endpoint_url=other.url)
        llm.endpoint_url = other.url
        llm.invoke("x")
        assert own.posts[0].headers["authorization"] == "Bearer sk-canary"
        assert all("authorization" not in post.headers for post in other.posts) and len(other.posts) == 2


def test_the_environments_key_belongs_to_the_configured_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATGLM_API_KEY is not sent where CHATGLM_ENDPOINT_URL does not point."""
    with ScriptedServer(legacy()) as own, ScriptedServer(legacy()) as other:
        monkeypatch.setenv("CHATGLM_API_KEY", "sk-canary")
        monkeypatch.setenv("ZAI_API_KEY", "sk-zai")
        monkeypatch.setenv("CHATGLM_ENDPOINT_URL", own.url)
        ChatGLM(endpoint_url=own.url).invoke("x")
        ChatGLM(endpoint_url=other.url).invoke("x")
        assert own.posts[0].headers["authorization"] == "Bearer sk-canary"
        assert "authorization" not in other.posts[0].headers


def test_a_key_is_in_no_repr_dump_or_pickle() -> None:
    """What can be printed, saved or sent to a worker holds no key."""
    llm = ChatGLM(api_key="sk-canary")
    copied = copy.deepcopy(llm)
    assert copied.api_key is not None and copied.api_key.get_secret_value() == "sk-canary"
    assert b"sk-canary" not in pickle.dumps(llm)
    for text in (repr(llm), str(llm), llm.model_dump_json(), str(llm._identifying_params)):
        assert "canary" not in text


def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy without no_proxy must not see prompts for this machine; other hosts do use it (the control)."""
    with ScriptedServer(legacy()) as server, ScriptedServer(reply("{}", status=502)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        llm = ChatGLM(endpoint_url=server.url)
        llm.invoke("x")
        asyncio.run(llm.ainvoke("x"))
        assert len(server.posts) == 2 and proxy.asked == []
        with pytest.raises(ResponseError):
            ChatGLM(endpoint_url="http://glm.invalid/", max_retries=0).invoke("x")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("script", "kind", "posts"),
    [
        (reply({"error": "Unauthorized"}, status=401), "auth", 1),
        (reply({"detail": "Not Found"}, status=404), "not_found", 1),
        (reply({"detail": [{"loc": ["body", "prompt"], "msg": "required"}]}, status=422), "bad_request", 1),
        (reply("Internal Server Error", status=500, kind="text/plain"), "server_error", 1),
        (reply({"error": {"message": "Loading model"}}, status=503), "loading", 3),
        (reply("<html><title>Log in</title></html>", kind="text/html"), "not_a_model_server", 1),
        (raw(b""), "server_closed", 1),
        (raw(b"nonsense\r\n\r\n"), "protocol", 1),
        (reply("", status=302, Location="http://127.0.0.1:1/"), "redirect", 1),
    ],
    ids=["401", "404", "422", "500", "503", "html", "closed", "garbage", "redirect"],
)
@pytest.mark.parametrize("dialect", ["chatglm", "openai"])
@pytest.mark.parametrize("road", ["sync", "async"])
def test_each_fault_has_its_kind_and_its_number_of_posts(
    script: object, kind: str, posts: int, dialect: str, road: str
) -> None:
    """Faults are typed, never foreign, and a question is not sent again unless the server said to wait."""
    with ScriptedServer(script) as server:  # type: ignore[arg-type]
        llm = ChatGLM(endpoint_url=server.url + ("" if dialect == "chatglm" else "v1"))
        with pytest.raises(ChatGLMError) as caught:
            llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
        assert caught.value.kind == kind, caught.value
        assert len(server.posts) == posts
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("road", ["sync", "async"])
def test_a_server_that_is_not_there(road: str) -> None:
    """A closed port is said in one line that tells how to start a server."""
    llm = ChatGLM(endpoint_url="http://127.0.0.1:1/v1")
    with pytest.raises(EndpointError, match="%chatglm_serve") as caught:
        llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
    assert caught.value.kind == "connect"


@pytest.mark.parametrize("road", ["sync", "async"])
def test_a_stream_that_breaks_keeps_its_text(road: str) -> None:
    """What was received is in the error."""
    with ScriptedServer(sse([chunk("你好"), chunk("世")], done=False)) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1")
        with pytest.raises(IncompleteAnswerError) as caught:
            llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
        assert (caught.value.kind, caught.value.partial) == ("incomplete", "你好世")
        assert len(server.posts) == 1


def dripping(start: bytes) -> Script:
    """Begin a chunked answer with these bytes, and let single ones follow until the client leaves."""

    def script(connection: socket.socket, asked: Asked) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + start)
        for _ in range(1500):
            connection.sendall(b"a")
            time.sleep(0.02)

    return script


@pytest.mark.parametrize("road", ["sync", "async"])
def test_single_bytes_outside_of_the_answer_have_a_limit_too(road: str) -> None:
    """A line before a chunk, and what follows the last chunk, may come byte by byte, but not for ever."""
    piece = b"data: " + json.dumps(chunk("ok", finish_reason="stop")).encode() + b"\n\n"
    chunked = b"%x\r\n%b\r\n" % (len(piece), piece)
    done = b"e\r\ndata: [DONE]\n\n\r\n"
    with (
        ScriptedServer(dripping(chunked + done + b"0\r\nX: ")) as trailing,
        ScriptedServer(dripping(chunked + b"5;")) as stalled,
    ):
        began = time.monotonic()
        llm = ChatGLM(endpoint_url=trailing.url + "v1")
        assert (llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))) == "ok"
        llm = ChatGLM(endpoint_url=stalled.url + "v1", timeout={"idle": 0.4, "content": 0.4})
        with pytest.raises(IncompleteAnswerError) as caught:
            llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
        assert caught.value.kind in ("idle_timeout", "stalled") and caught.value.partial == "ok"
        assert_within(time.monotonic() - began, 3)


@pytest.mark.parametrize("road", ["sync", "async"])
def test_waiting_has_limits(road: str) -> None:
    """A server that says nothing is given up after first_byte, one that falls silent after idle."""
    hold = threading.Event()
    with (
        ScriptedServer(hang()) as silent,
        ScriptedServer(sse([chunk("ab"), chunk("c")], hold=hold)) as stalled,
    ):
        for server, limit in ((silent, "first_byte"), (stalled, "idle")):
            llm = ChatGLM(endpoint_url=server.url + "v1", timeout={limit: 0.4})
            began = time.monotonic()
            with pytest.raises(ChatGLMError) as caught:
                llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
            assert caught.value.kind == f"{limit}_timeout"
            assert_within(time.monotonic() - began, 1.2)
        assert caught.value.partial == "ab"


def test_a_refused_stream_option_is_left_out() -> None:
    """transformers serve refuses stream_options with a 422: the question is then asked without it."""
    refuse = reply({"detail": "Unsupported fields in the request: {'stream_options'}"}, status=422)
    with ScriptedServer(refuse, answer("ok")) as server:
        assert ChatGLM(endpoint_url=server.url + "v1").invoke("x") == "ok"
        assert "stream_options" not in server.posts[1].body


def test_breaking_out_of_a_stream_closes_its_connection() -> None:
    """An abandoned answer does not keep the server busy."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk("a"), chunk("b")], hold=hold)) as server:
        stream = ChatGLM(endpoint_url=server.url + "v1").stream("x")
        next(stream)
        del stream
        server.wait_closed(server.posts[0], 1.0)


def test_a_cancelled_task_closes_its_connection() -> None:
    """Cancelling is heard by the server within a second."""
    hold = threading.Event()

    async def cancelled(llm: ChatGLM) -> None:
        task = asyncio.create_task(llm.ainvoke("x"))
        await asyncio.to_thread(server.wait_posts)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(sse([chunk("a"), chunk("b")], hold=hold)) as server:
        asyncio.run(cancelled(ChatGLM(endpoint_url=server.url + "v1")))
        server.wait_closed(server.posts[0], 1.0)


def test_headers_go_to_their_own_origin_and_into_no_repr() -> None:
    """Headers may hold a key: they follow the rule of keys."""
    with ScriptedServer(legacy()) as own, ScriptedServer(legacy()) as other:
        llm = ChatGLM(endpoint_url=own.url, headers={"X-Auth": "canary"})
        llm.invoke("x")
        llm.invoke("x", endpoint_url=other.url)
        assert own.posts[0].headers["x-auth"] == "canary" and "x-auth" not in other.posts[0].headers
        assert "canary" not in repr(llm) and b"canary" not in pickle.dumps(llm)


@pytest.mark.parametrize("road", ["sync", "async"])
def test_no_key_can_be_reached_from_an_error(road: str) -> None:
    """A library's error knows its request; ours does not lead there, and no frame shows the headers."""
    import traceback

    with ScriptedServer(raw(b"")) as server:
        llm = ChatGLM(endpoint_url=server.url, api_key="sk-canary-0123456789")
        with pytest.raises(ChatGLMError) as caught:
            llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))
        assert caught.value.__context__ is None and caught.value.__cause__ is None
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert "canary" not in "".join(frames.format())
    bad = ChatGLM(api_key="sk-canary\n")
    with pytest.raises(ChatGLMError) as caught:
        bad.invoke("x")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "canary" not in "".join(frames.format())


def test_a_copy_has_observers_of_its_own() -> None:
    """A copy of the session's model is another model."""
    seen: list[str] = []
    llm = ChatGLM()
    llm._runtime.observers.append(lambda name, value: seen.append(name))
    for copied in (llm.model_copy(), copy.copy(llm), copy.deepcopy(llm)):
        copied.temperature = 1.5
    assert seen == [] and llm.temperature == 0.1


@pytest.mark.parametrize("stop", ["END", ["END"]])
def test_a_stop_text_is_one_text(stop: object) -> None:
    """A text is not taken for its letters."""
    with ScriptedServer(answer("No END of it")) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1")
        assert llm.invoke("x", stop=stop) == "No "
        assert server.posts[0].body["stop"] == ["END"]


def test_a_value_that_is_no_json_is_an_error_of_ours() -> None:
    """Nothing is sent, and the advice is about the value."""
    with ScriptedServer(legacy()) as server:
        for value in ({1}, float("nan")):
            with pytest.raises(ParameterError, match="model_kwargs"):
                ChatGLM(endpoint_url=server.url, model_kwargs={"x": value}).invoke("x")
        assert server.posts == []
