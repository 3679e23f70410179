"""Whole answers: ``invoke``, ``batch`` and ``abatch`` beside ``langchain_community`` and the bare HTTP clients.

``python benchmarks/calls.py``; needs ``langchain-community`` for its lines. Every figure is a median of rounds
in which the rivals take turns, against one server in a process of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import requests
from fast_server import serving
from timing import header, line, medians, original, seconds

from chatglm_magic import ChatGLM

CALLS, ROUNDS = 300, 9
MANY, AT_ONCE, WAIT = 512, 64, 0.05
FEW = 32
"""So many of the original's serial calls are measured, and the rest is counted up."""
BODY = {"prompt": "hi", "temperature": 0.1, "history": [], "max_length": 20000, "top_p": 0.7}


def one_call(url: str, rival: Any) -> None:
    """One call on loopback, to a server that answers at once."""
    ours, session = ChatGLM(endpoint_url=url + "/"), requests.Session()

    def bare() -> str:
        reply: str = session.post(url + "/", json=BODY).json()["response"]
        return reply

    def each(ask: Any) -> Any:
        return lambda: seconds(lambda: [ask() for _ in range(CALLS)]) / CALLS

    runs = {"ChatGLM.invoke": each(lambda: ours.invoke("hi")), "bare requests.Session": each(bare)}
    if rival:
        theirs = rival(endpoint_url=url + "/")
        runs["langchain_community"] = each(lambda: theirs.invoke("hi"))
        assert theirs.invoke("hi") == ours.invoke("hi") == bare()
    found = medians(ROUNDS, runs)
    print(f"\none call, loopback, median of {ROUNDS} rounds of {CALLS}")
    for name, figure in found.items():
        line(name, f"{figure * 1e3:.3f} ms")
    mine = found["ChatGLM.invoke"]
    line("ours over the bare session", "", mine / found["bare requests.Session"], 1.5)
    if rival:
        line("ours over langchain_community", "", mine / found["langchain_community"], 0.85)


def batch(url: str, rival: Any) -> None:
    """512 questions, 64 at once, to a server that takes 50 ms for each."""
    url = f"{url}/wait/{WAIT * 1e3:.0f}"
    ours, prompts = ChatGLM(endpoint_url=url), [f"问题 {number}" for number in range(MANY)]

    def run() -> None:
        assert len(ours.batch(prompts, config={"max_concurrency": AT_ONCE})) == MANY

    floor = MANY / AT_ONCE * WAIT
    found = medians(5, {"ours": lambda: seconds(run)})["ours"]
    print(f"\nbatch of {MANY} to a {WAIT * 1e3:.0f} ms server, {AT_ONCE} at once, median of 5")
    line("floor", f"{floor:.2f} s")
    line("ChatGLM.batch", f"{found:.2f} s", found / floor, 1.6, "× the floor")
    if rival:
        theirs = rival(endpoint_url=url)
        serial = seconds(lambda: theirs.batch(prompts[:FEW])) / FEW * MANY
        line(f"langchain_community (from {FEW})", f"{serial:.1f} s", serial / found, unit="× ours")


def abatch(url: str, rival: Any) -> None:
    """512 questions, all at once, to the same server; each run begins without a connection."""
    url = f"{url}/wait/{WAIT * 1e3:.0f}"
    prompts = [f"问题 {number}" for number in range(MANY)]

    async def ask_ours() -> None:
        llm = ChatGLM(endpoint_url=url)
        assert len(await llm.abatch(prompts, config={"max_concurrency": MANY})) == MANY

    async def ask_bare() -> None:
        async def one(session: aiohttp.ClientSession, prompt: str) -> str:
            async with session.post(url, json=BODY | {"prompt": prompt}) as response:
                reply: str = (await response.json())["response"]
                return reply

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=MANY)) as session:
            assert len(await asyncio.gather(*(one(session, prompt) for prompt in prompts))) == MANY

    found = medians(
        ROUNDS,
        {
            "ours": lambda: seconds(lambda: asyncio.run(ask_ours())),
            "bare": lambda: seconds(lambda: asyncio.run(ask_bare())),
        },
    )
    print(f"\nabatch of {MANY} to a {WAIT * 1e3:.0f} ms server, {MANY} at once, median of {ROUNDS}")
    line("bare aiohttp", f"{found['bare']:.3f} s")
    line("ChatGLM.abatch", f"{found['ours']:.3f} s", found["ours"] / found["bare"], 1.5, "× bare")
    if rival:

        async def ask_theirs() -> None:
            await rival(endpoint_url=url).abatch(prompts[:FEW], config={"max_concurrency": MANY})

        serial = seconds(lambda: asyncio.run(ask_theirs())) / FEW * MANY
        line(f"langchain_community (from {FEW})", f"{serial:.1f} s", serial / found["ours"], unit="× ours")


def main() -> None:
    """Print everything."""
    rival = original()
    header()
    if rival is None:
        print("langchain-community is not installed: its lines are left out")
    with serving() as url:
        one_call(url, rival)
        batch(url, rival)
        abatch(url, rival)


if __name__ == "__main__":
    main()
