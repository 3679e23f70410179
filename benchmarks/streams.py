"""Streams: CPU for each token beside rivals and over reading the bytes, a long event, many streams at once.

``python benchmarks/streams.py``; needs the extra ``rivals``. Both sides of a ratio read the same bytes from one
server in a process of its own. "Client" ends where LangChain begins; LangChain's share has lines of its own.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import httpx
import openai
import requests
from fast_server import serving, text_of
from httpx_sse import aconnect_sse, connect_sse
from langchain_openai import ChatOpenAI
from timing import cpu, header, line, medians, seconds

from chatglm_magic import ChatGLM

ROUNDS = 7
MIB = 1 << 20
STREAMS, LENGTH = 1000, 200
BODY = {"messages": [{"role": "user", "content": "x"}], "stream": True}


def read_sync(url: str) -> None:
    """Read a stream's bytes and no more."""
    with requests.post(url + "/chat/completions", json=BODY, stream=True) as response:
        while response.raw.read1(65536):
            pass


async def read_async(url: str) -> None:
    """Read a stream's bytes and no more."""
    async with aiohttp.ClientSession() as session, session.post(url + "/chat/completions", json=BODY) as response:
        while await response.content.readany():
            pass


def client_sync(llm: ChatGLM, text: str) -> None:
    """Read a stream's pieces with the client alone."""
    pieces = [delta.text for delta in llm._runtime.client.stream(llm.plan("x").request)]
    assert "".join(pieces) == text


async def client_async(llm: ChatGLM, text: str) -> None:
    """Read a stream's pieces with the client alone."""
    pieces = [delta.text async for delta in llm._runtime.aclient.stream(llm.plan("x").request)]
    assert "".join(pieces) == text


def chain_sync(llm: ChatGLM, text: str) -> None:
    """Read a stream through LangChain."""
    assert "".join(llm.stream("x")) == text


async def chain_async(llm: ChatGLM, text: str) -> None:
    """Read a stream through LangChain."""
    assert "".join([piece async for piece in llm.astream("x")]) == text


def httpx_sse_sync(url: str, text: str) -> None:
    """Read a stream's pieces with httpx-sse and the JSON of each event."""
    with (
        httpx.Client(timeout=60) as client,
        connect_sse(client, "POST", url + "/chat/completions", json=BODY) as source,
    ):
        events = [found.data for found in source.iter_sse()]
    assert "".join(map(piece_of, events)) == text


async def httpx_sse_async(url: str, text: str) -> None:
    """Read a stream's pieces with httpx-sse and the JSON of each event."""
    async with (
        httpx.AsyncClient(timeout=60) as client,
        aconnect_sse(client, "POST", url + "/chat/completions", json=BODY) as source,
    ):
        events = [found.data async for found in source.aiter_sse()]
    assert "".join(map(piece_of, events)) == text


def piece_of(data: str) -> str:
    """Return the text of an event."""
    return "" if data == "[DONE]" else json.loads(data)["choices"][0]["delta"]["content"]


def sdk_sync(url: str, text: str) -> None:
    """Read a stream's pieces with OpenAI's SDK."""
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model="glm", messages=BODY["messages"], stream=True)
        assert "".join([chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]) == text


async def sdk_async(url: str, text: str) -> None:
    """Read a stream's pieces with OpenAI's SDK."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        stream = await client.chat.completions.create(model="glm", messages=BODY["messages"], stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(pieces) == text


def beside_rivals(url: str, number: int) -> None:
    """CPU for each token, reading the bytes included, beside the clients that people use."""
    url, text = f"{url}/tokens/{number}/v1", text_of(number)
    llm, theirs = ChatGLM(endpoint_url=url), ChatOpenAI(base_url=url, api_key="none", model="glm", max_retries=0)

    async def langchain_openai_async() -> None:
        assert "".join([chunk.text async for chunk in theirs.astream("x")]) == text

    def langchain_openai_sync() -> None:
        assert "".join(chunk.text for chunk in theirs.stream("x")) == text

    runs: dict[str, Any] = {
        "sync ours": lambda: client_sync(llm, text),
        "sync ours, through LangChain": lambda: chain_sync(llm, text),
        "sync httpx-sse": lambda: httpx_sse_sync(url, text),
        "sync openai": lambda: sdk_sync(url, text),
        "sync langchain-openai": langchain_openai_sync,
        "async ours": lambda: runner.run(client_async(llm, text)),
        "async ours, through LangChain": lambda: runner.run(chain_async(llm, text)),
        "async httpx-sse": lambda: runner.run(httpx_sse_async(url, text)),
        "async openai": lambda: runner.run(sdk_async(url, text)),
        "async langchain-openai": lambda: runner.run(langchain_openai_async()),
    }
    with asyncio.Runner() as runner:
        found = medians(ROUNDS, {name: partial(cpu, run) for name, run in runs.items()})
    print(f"\nCPU for each token with reading the bytes, {number} tokens at full speed, median of {ROUNDS}")
    for name, figure in found.items():
        line(name, f"{figure / number * 1e6:.1f} µs")
    for road in ("sync", "async"):
        ours = found[f"{road} ours"]
        line(f"{road}: ours over openai", "", ours / found[f"{road} openai"], 0.15)
        line(f"{road}: ours over httpx-sse", "", ours / found[f"{road} httpx-sse"], 0.8)


def per_token(url: str, kind: str, number: int) -> None:
    """CPU for each token, sync and async."""
    url, text = f"{url}/{kind}/{number}/v1", text_of(number)
    llm = ChatGLM(endpoint_url=url)

    def run(coroutine: Callable[..., Any], *arguments: Any) -> Callable[[], float]:
        return lambda: cpu(lambda: asyncio.run(coroutine(*arguments)))

    found = medians(
        ROUNDS,
        {
            "sync read": lambda: cpu(lambda: read_sync(url)),
            "sync client": lambda: cpu(lambda: client_sync(llm, text)),
            "sync chain": lambda: cpu(lambda: chain_sync(llm, text)),
            "async read": run(read_async, url),
            "async client": run(client_async, llm, text),
            "async chain": run(chain_async, llm, text),
        },
    )
    micro = {name: figure / number * 1e6 for name, figure in found.items()}
    print(f"\nCPU for each token over reading the bytes, {number} tokens, {kind}, median of {ROUNDS}")
    for road in ("sync", "async"):
        base = micro[f"{road} read"]
        line(f"{road}: reading the bytes", f"{base:.1f} µs")
        line(f"{road}: the client, over that", "", micro[f"{road} client"] - base, 15, "µs")
        line(f"{road}: with LangChain's part, over that", "", micro[f"{road} chain"] - base, unit="µs")


def long_event(url: str) -> None:
    """One event of 1 to 8 MiB, beside ``requests.iter_lines`` for 1 MiB."""

    def ours(size: int) -> None:
        answer = ChatGLM(endpoint_url=f"{url}/event/{size}/v1").invoke("x")
        assert len(answer) == size // 3

    def theirs(size: int) -> None:
        address = f"{url}/event/{size}/v1/chat/completions"
        with requests.post(address, json=BODY, stream=True) as response:
            lines = [found for found in response.iter_lines() if found.startswith(b"data: {")]
        assert len(json.loads(lines[0][6:])["choices"][0]["delta"]["content"]) == size // 3

    sizes = (1, 2, 4, 8)
    runs = {f"{size} MiB": partial(seconds, partial(ours, size * MIB)) for size in sizes}
    found = medians(5, runs)
    print("\none event, median of 5")
    for name, figure in found.items():
        line(f"ChatGLM.invoke, {name}", f"{figure:.3f} s")
    line("8 MiB, in seconds", "", found["8 MiB"], 1.0, "s")
    # By CPU time: on a busy machine the wall time of 1 MiB, some 20 ms, is mostly noise.
    work = medians(15, {name: partial(cpu, partial(ours, size * MIB)) for name, size in (("1", 1), ("8", 8))})
    line("CPU of 8 MiB over 1 MiB (linear is 8)", "", work["8"] / work["1"])
    slow = seconds(lambda: theirs(MIB))
    line("requests.iter_lines, 1 MiB", f"{slow:.3f} s", slow / found["1 MiB"], unit="× ours")


def together(url: str) -> None:
    """A thousand streams, none of which begins before all have been asked for."""
    llm, text = ChatGLM(endpoint_url=f"{url}/together/{STREAMS}/{LENGTH}/v1"), text_of(LENGTH)

    async def one() -> bool:
        return "".join([piece async for piece in llm.astream("x")]) == text

    async def every() -> int:
        return sum(await asyncio.gather(*(one() for _ in range(STREAMS))))

    began, used = time.perf_counter(), time.process_time()
    whole = asyncio.run(every())
    took, used = time.perf_counter() - began, time.process_time() - used
    print(f"\n{STREAMS} streams of {LENGTH} tokens at once, astream")
    line("wall time", f"{took:.2f} s")
    line("CPU of the client for each token", f"{used / STREAMS / LENGTH * 1e6:.1f} µs")
    line("came out whole", f"{whole}/{STREAMS}")


def main() -> None:
    """Print everything."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = 4 * STREAMS if hard == resource.RLIM_INFINITY else min(4 * STREAMS, hard)
    if soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
    header()
    with serving() as url:
        beside_rivals(url, 5000)
        per_token(url, "tokens", 20000)
        per_token(url, "paced", 2000)
        long_event(url)
        together(url)


if __name__ == "__main__":
    main()
