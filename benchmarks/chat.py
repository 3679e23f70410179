"""The chat model beside ``langchain-openai``: CPU for each streamed token, and many requests at once.

``python benchmarks/chat.py``; needs the extra ``rivals``. Both read the same bytes of one server in a process of
its own, through LangChain, and take turns in one run and in one loop, the only one that the rival works in.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fast_server import serving, text_of
from langchain_openai import ChatOpenAI
from timing import cpu, header, line, medians, seconds

from chatglm_magic import GLMChatModel

TOKENS, ROUNDS = 5000, 7
MANY, WAIT = 512, 50
TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "x", "parameters": {"type": "object", "properties": {}}},
}


def models(url: str) -> dict[str, Any]:
    """Return both models at one address."""
    theirs = ChatOpenAI(base_url=url, api_key="none", model="glm", max_retries=0, stream_usage=True)  # type: ignore[arg-type]
    return {"ours": GLMChatModel(endpoint_url=url, model="glm", max_retries=0), "langchain-openai": theirs}


def per_token(url: str, runner: asyncio.Runner) -> None:
    """CPU for each token of a stream at full speed, with and without a tool."""
    url, text = f"{url}/tokens/{TOKENS}/v1", text_of(TOKENS)
    both = models(url)

    def sync(model: Any) -> None:
        assert "".join(chunk.text for chunk in model.stream("x")) == text

    async def collect(model: Any) -> None:
        assert "".join([chunk.text async for chunk in model.astream("x")]) == text

    runs: dict[str, Any] = {}
    for name, model in both.items():
        runs[f"sync {name}"] = lambda model=model: cpu(lambda: sync(model))
        runs[f"async {name}"] = lambda model=model: cpu(lambda: runner.run(collect(model)))
    bound = both["ours"].bind(tools=[TOOL])
    runs["sync ours with a tool"] = lambda: cpu(lambda: sync(bound))
    found = {name: figure / TOKENS * 1e6 for name, figure in medians(ROUNDS, runs).items()}
    print(f"\nCPU for each token, {TOKENS} tokens, through LangChain, median of {ROUNDS}")
    for name, figure in found.items():
        line(name, f"{figure:.1f} µs")
    for road in ("sync", "async"):
        line(f"{road}: over langchain-openai", "", found[f"{road} ours"] / found[f"{road} langchain-openai"], 0.25)


def many(url: str, runner: asyncio.Runner) -> None:
    """512 requests at once to a server that takes 50 ms for each."""
    url = f"{url}/wait/{WAIT}/v1"
    prompts = [f"问题 {number}" for number in range(MANY)]

    async def ask(name: str) -> None:
        found = await models(url)[name].abatch(prompts, config={"max_concurrency": MANY})
        assert len(found) == MANY

    runs: dict[str, Any] = {
        name: lambda name=name: seconds(lambda: runner.run(ask(name))) for name in ("ours", "langchain-openai")
    }
    found = medians(ROUNDS, runs)
    print(f"\nabatch of {MANY} to a {WAIT} ms server, {MANY} at once, median of {ROUNDS}")
    for name, figure in found.items():
        line(name, f"{figure:.3f} s")
    line("over langchain-openai", "", found["ours"] / found["langchain-openai"], 0.5)


def main() -> None:
    """Print everything."""
    header()
    with serving() as url, asyncio.Runner() as runner:
        per_token(url, runner)
        many(url, runner)


if __name__ == "__main__":
    main()
