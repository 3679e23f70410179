"""What happens seldom: a certificate that is not there, no file left to open, headers without end."""

from __future__ import annotations

import _thread
import asyncio
import os
import resource
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.client import probe as probing
from chatglm_magic.client.async_client import RESERVED_FILE_DESCRIPTORS, AsyncClient, ConnectionPools
from chatglm_magic.client.probe import probe
from chatglm_magic.client.response import ResponseReader
from chatglm_magic.client.sync_client import BridgedClient
from chatglm_magic.client.timeouts import Deadline, Timeouts
from chatglm_magic.errors import (
    ChatGLMError,
    EndpointError,
    IncompleteAnswerError,
    InvalidResponseError,
    ParameterError,
)
from chatglm_magic.wire import chatglm, openai
from chatglm_magic.wire.body import Decompressor

from .support.clock import assert_within
from .support.inside import find_frame
from .support.local_servers import wait_for
from .support.servers import Asked, ScriptedServer, answer, chunk, legacy, raw, reply, sse

ROADS = ["sync", "async"]


def ask(llm: ChatGLM, road: str) -> str:
    return llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))


@contextmanager
def files_at_most(count: int) -> Iterator[None]:
    """Let this process open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("road", ROADS)
def test_certificates_that_are_not_there(road: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bundle that is gone is named; an empty folder of certificates trusts nobody."""
    for place, words in ((tmp_path / "gone.pem", "REQUESTS_CA_BUNDLE"), (tmp_path, "No server answers")):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(place))
        with pytest.raises(EndpointError, match=words):
            ask(ChatGLM(endpoint_url="https://127.0.0.1:1/", max_retries=0), road)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/#top", "http://.example/"])
def test_addresses_that_no_client_can_ask(url: str, road: str) -> None:
    """A mark of a place in a page, a name with an empty part."""
    with pytest.raises(EndpointError) as caught:
        ask(ChatGLM(endpoint_url=url, max_retries=0), road)
    assert caught.value.kind in ("bad_url", "connect")


def test_more_questions_than_files() -> None:
    """Who waits too long for a connection is told what to do; the others are answered."""
    hold = threading.Event()
    files = max(150, len(os.listdir("/proc/self/fd")) + 30)
    room = files - RESERVED_FILE_DESCRIPTORS
    with ScriptedServer(answer("first"), sse([chunk("o"), chunk("k", finish_reason="stop")], hold=hold)) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", timeout={"first_byte": 2.0})

        async def crowd() -> list[str | BaseException]:
            with files_at_most(files):  # it is looked at when the first connection is made
                assert await llm.ainvoke("x") == "first"
            asked = [asyncio.create_task(llm.ainvoke("x")) for _ in range(room + 2)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            hold.set()
            return await asyncio.gather(*asked, return_exceptions=True)

        found = asyncio.run(crowd())
    errors = [item for item in found if isinstance(item, ChatGLMError)]
    assert {error.kind for error in errors} == {"pool_timeout"} and found.count("ok") == room


def test_the_bridge_hands_over_the_same_pieces() -> None:
    """Where urllib3 is another package, a question of the caller's thread goes over the loop's client."""
    with ScriptedServer(answer("a", "b")) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1")
        client = AsyncClient()
        bridge, call = BridgedClient(lambda: client), llm.plan("x").request
        assert "".join(delta.text for delta in bridge.stream(call)) == "ab" == llm.invoke("x")
        assert server.posts[0].body == server.posts[1].body
        client.close()


@contextmanager
def no_file_left() -> Iterator[None]:
    """Open files until no more can be."""
    kept: list[int] = []
    with files_at_most(max(int(name) for name in os.listdir("/proc/self/fd")) + 8):
        try:
            with suppress(OSError):
                while True:
                    kept.append(os.dup(0))
            yield
        finally:
            for number in kept:
                os.close(number)


@pytest.mark.parametrize("road", ROADS)
def test_no_file_left_to_open(road: str) -> None:
    """A process that has all its files open says so."""
    with ScriptedServer(legacy("ok")) as server:
        llm = ChatGLM(endpoint_url=server.url, max_retries=0)
        other = ChatGLM(endpoint_url=f"http://127.0.0.2:{server.port}/", max_retries=0)

        async def again() -> None:
            await llm.ainvoke("x")  # whatever has to be imported is
            with no_file_left():
                await llm.ainvoke("x", endpoint_url=other.endpoint_url)

        def sync() -> None:
            llm.invoke("x")
            with no_file_left():
                other.invoke("x")

        with pytest.raises(EndpointError) as caught:
            sync() if road == "sync" else asyncio.run(again())
        assert caught.value.kind == "pool_timeout"


def test_too_many_headers_on_the_asynchronous_road() -> None:
    """A hundred are enough; the head of an answer has an end."""
    lines = b"".join(b"X-%d: a\r\n" % number for number in range(150))
    with ScriptedServer(raw(b"HTTP/1.1 200 OK\r\n" + lines + b"Content-Length: 2\r\n\r\n{}")) as server:
        with pytest.raises(EndpointError) as caught:
            ask(ChatGLM(endpoint_url=server.url), "async")
        assert caught.value.kind == "protocol"


def test_a_stream_without_end_is_cut() -> None:
    """256 MiB of comments are no answer, however small they came."""
    call = ChatGLM(endpoint_url="http://127.0.0.1:1/v1").plan("x").request
    small = zlib.compress((b": " + b"a" * (2**20 - 3) + b"\n") * 64)
    incoming = ResponseReader(call, Deadline(Timeouts()), [("Content-Type", "text/event-stream")])
    with pytest.raises(IncompleteAnswerError) as caught:
        for _ in range(5):
            for plain in Decompressor("deflate").feed(small):
                list(incoming.feed(plain))
    assert caught.value.kind == "too_large"


def test_another_process_has_its_own_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the parent's connections are neither asked over nor closed."""

    async def forked() -> None:
        pools = ConnectionPools()
        parents = await pools.for_running_loop()
        monkeypatch.setattr(os, "getpid", lambda: 1)
        assert await pools.for_running_loop() is not parents and not parents.session.closed
        monkeypatch.undo()
        pools.close()  # made by "another process"
        await asyncio.sleep(0)
        await parents.session.close()

    asyncio.run(forked())


def test_a_table_of_sockets_that_cant_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system keeps none, nobody is warned."""
    monkeypatch.setattr(probing, "SOCKET_TABLES", ("/nowhere",))
    assert not probing.is_open_to_others("http://127.0.0.1:8000/")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("v1", 401, "requires a key"),
        ("v1", 503, "still loading"),
        ("", 401, "requires a key"),
        ("", 200, "not as ChatGLM"),
    ],
)
def test_a_look_says_what_it_found(path: str, status: int, words: str) -> None:
    """Each answer to a look has its sentence."""
    with ScriptedServer(answer(), on_get=reply({"detail": "x"}, status=status)) as server:
        assert words in probe(server.url + path, "openai" if path else "chatglm", {}).text


def test_what_langchain_asks_about_secrets() -> None:
    """The field that is one, and where it could come from."""
    assert ChatGLM().lc_secrets == {"api_key": "CHATGLM_API_KEY"}


def test_a_prompt_beside_the_prompt() -> None:
    """A second prompt is an error of ours, not of Python's."""
    with pytest.raises(ParameterError, match="prompt"):
        ChatGLM().invoke("x", prompt="y")


def test_a_status_that_is_a_word() -> None:
    """Whatever is not a success is none."""
    reader = chatglm.ChatGLMReader({})
    reader.feed(b'{"response": "out of memory", "status": "failed"}')
    with pytest.raises(InvalidResponseError, match="out of memory"):
        list(reader.close())


def test_compressed_bytes_one_by_one() -> None:
    """A body that is not compressed passes; one that is may come in any pieces."""
    assert list(Decompressor("identity").feed(b"ab")) == [b"ab"]
    undo = Decompressor("gzip")
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"abc") + packer.flush()
    assert b"".join(plain for at in range(len(packed)) for plain in undo.feed(packed[at : at + 1])) == b"abc"
    undo.close()


def test_an_event_that_is_no_object() -> None:
    """A number says nothing, and breaks nothing."""
    reader = openai.OpenAIReader({"content-type": "text/event-stream"})
    assert list(reader.feed(b"data: 3\n\ndata: [DONE]\n\n")) == [] and reader.done


def test_an_answers_head_has_an_end() -> None:
    """Libraries refuse a swollen head themselves, or not: here it ends in any case."""
    call = ChatGLM(endpoint_url="http://127.0.0.1:1/").plan("x").request
    for headers in ([(f"X-{number}", "a") for number in range(101)], [("X", "a" * 65536)]):
        with pytest.raises(EndpointError) as caught:
            ResponseReader(call, Deadline(Timeouts()), headers)
        assert caught.value.kind == "protocol"


def test_prompts_are_a_list() -> None:
    """A string would be asked letter by letter."""
    with pytest.raises(ParameterError, match="list"):
        asyncio.run(ChatGLM().agenerate("abc"))  # type: ignore[arg-type]


def test_an_address_that_cant_be_parsed_holds_no_secret() -> None:
    """It is taken as it is, and refused when it is asked."""
    llm = ChatGLM(endpoint_url="http://[::1")
    with pytest.raises(EndpointError) as caught:
        llm.invoke("x")
    assert caught.value.kind == "bad_url"


def test_bytes_without_text_use_up_the_whole_time() -> None:
    """The whole time is over also while bytes come, and what it means depends on how far the answer is."""
    clock = Deadline(Timeouts(total=0.01))
    with pytest.raises(IncompleteAnswerError) as caught:
        while True:
            clock.on_bytes(content=True)
    assert caught.value.kind == "total_timeout"


def test_an_interrupt_between_two_reads_is_noticed() -> None:
    """One that comes just before a read begins, and so does not break it off, still ends the question soon."""

    def interrupt(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        wait_for(lambda: find_frame("client/sync_client.py:readinto"), 10)
        _thread.interrupt_main()  # marks an interrupt, as a signal does, and wakes nobody
        with suppress(OSError):
            connection.recv(1)

    with ScriptedServer(interrupt) as server:
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            "".join(ChatGLM(endpoint_url=server.url + "v1", timeout=20).stream("x"))
        assert_within(time.monotonic() - began, 5)
