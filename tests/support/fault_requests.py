"""Asking a scripted server by either road, and what came of it."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeVar

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .servers import ScriptedServer

DIALECTS = ("chatglm", "openai")
ROADS = ("sync", "async")

T = TypeVar("T")
Seen = Callable[[str], object]


Row = Callable[..., None]


def _rows(*dialects: str) -> pytest.MarkDecorator:
    cases = [pytest.param(dialect, road, id=f"{dialect}-{road}") for dialect in dialects for road in ROADS]
    return pytest.mark.parametrize(("dialect", "road"), cases)


both = _rows(*DIALECTS)
"""A row that holds in both dialects, on both roads."""

v1 = _rows("openai")
"""A row about streams, on both roads."""


def both_waiting(row: Row) -> Row:
    """As ``both``, for a row that does little but wait: its four cases are run together."""
    return both(_together(row, DIALECTS))


def v1_waiting(row: Row) -> Row:
    """As ``v1``, for a row that does little but wait."""
    return v1(_together(row, ("openai",)))


def _together(row: Row, dialects: Sequence[str]) -> Row:
    """Run all cases of a row when one is called that has not been run; each case tells its own end."""
    ends: dict[tuple[str, str], Future[None]] = {}

    def run(end: Future[None], values: dict[str, Any]) -> None:
        try:
            end.set_result(row(**values))
        except BaseException as error:
            end.set_exception(error)

    @functools.wraps(row)
    def case(*, dialect: str, road: str, **fixtures: Any) -> None:
        if (dialect, road) not in ends:
            ends.update({key: Future() for key in product(dialects, ROADS)})
            for (other, by), end in ends.items():
                values = fixtures | {"dialect": other, "road": by}
                threading.Thread(target=run, args=(end, values), daemon=True).start()
            wait(ends.values())  # the fixtures are this case's, and end with it
        ends.pop((dialect, road)).result()

    return case


@dataclass
class Heard:
    """Each connection that was tried, and each name that was looked up."""

    connects: list[Any] = field(default_factory=list)
    names: list[Any] = field(default_factory=list)

    def at(self, port: int) -> list[Any]:
        """Return the hosts that were tried at a port."""
        return [where[0] for where in tuple(self.connects) if where[1:2] == (port,)]


@dataclass
class Outcome:
    """What a caller had of one question: the text as it came, and how it ended."""

    text: str = ""
    error: ChatGLMError | None = None
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def ok(self, text: str, of: object = "") -> dict[str, Any]:
        """Assert that exactly this text came; return what is no text."""
        if self.error is not None or self.text != text:  # an assert would compare megabytes letter by letter
            pytest.fail(f"{of}: {self} is not OK with {len(text)} letters, {text[:80]!r}")
        return self.info

    def failed(self, kind: str, partial: str = "", of: object = "") -> ChatGLMError:
        """Assert an error of this kind which has kept exactly this text; return it."""
        if self.error is None or (self.error.kind, self.error.partial) != (kind, partial):
            pytest.fail(f"{of}: {self} is not {kind} with {partial[:80]!r} kept")
        assert partial.startswith(self.text), f"{of}: the caller saw {self.text[:80]!r}"
        assert "\n" not in str(self.error), of
        return self.error

    def __str__(self) -> str:
        if self.error is None:
            return f"OK with {len(self.text)} letters, {self.text[:80]!r}"
        kept = self.error.partial
        return f"{self.error.kind} with {len(kept)} letters kept, {kept[:80]!r} ({str(self.error)[:300]})"


class _Info(BaseCallbackHandler):
    """Adds up what a stream's chunks carry besides their text."""

    run_inline = True

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def on_llm_new_token(self, token: str, *, chunk: Any = None, **kwargs: Any) -> None:
        news = dict(getattr(chunk, "generation_info", None) or {})
        if "reasoning" in news:
            news["reasoning"] = self.found.get("reasoning", "") + news["reasoning"]
        self.found |= news


def make_model(server: ScriptedServer | str, dialect: str, **fields: Any) -> ChatGLM:
    """Return a model that asks this server, or address, in this dialect."""
    url = server if isinstance(server, str) else server.url
    return ChatGLM(endpoint_url=url + ("v1" if dialect == "openai" else ""), **fields)


def send(
    server: ScriptedServer | str,
    dialect: str,
    road: str,
    prompt: str = "hi",
    *,
    seen: Seen | None = None,
    **fields: Any,
) -> Outcome:
    """Stream one answer; ``seen`` is told each piece of text. A foreign exception goes through."""
    return send_with(make_model(server, dialect, **fields), road, prompt, seen=seen)


def send_with(llm: ChatGLM, road: str, prompt: str = "hi", *, seen: Seen | None = None) -> Outcome:
    """Stream one answer of this model."""
    return send_in_turn(llm, road, prompt, seen=seen)[0]


def send_in_turn(
    llm: ChatGLM, road: str, *prompts: str, seen: Seen | None = None, between: Callable[[], object] | None = None
) -> list[Outcome]:
    """Stream one answer after the other, in one thread or on one loop; ``between`` is called in between."""
    if road == "async":
        return asyncio.run(_aturns(llm, prompts, seen, between))
    found = []
    for prompt in prompts:
        if found and between:
            between()
        found.append(_once(llm, prompt, seen))
    return found


async def _aturns(
    llm: ChatGLM, prompts: Sequence[str], seen: Seen | None, between: Callable[[], object] | None
) -> list[Outcome]:
    found: list[Outcome] = []
    for prompt in prompts:
        if found and between:
            await asyncio.to_thread(between)
        found.append(await asend(llm, prompt, seen))
    return found


def _once(llm: ChatGLM, prompt: str, seen: Seen | None) -> Outcome:
    outcome, info, pieces = Outcome(), _Info(), []
    began = time.monotonic()
    try:
        with closing(llm.stream(prompt, config={"callbacks": [info]})) as stream:  # type: ignore[type-var]
            for piece in stream:
                pieces.append(piece)
                if seen and piece:
                    seen(piece)
    except ChatGLMError as error:
        outcome.error = error
    return _settled(outcome, info, pieces, began)


async def asend(llm: ChatGLM, prompt: str = "hi", seen: Seen | None = None) -> Outcome:
    """Stream one answer on the running loop."""
    outcome, info, pieces = Outcome(), _Info(), []
    began = time.monotonic()
    try:
        async with aclosing(llm.astream(prompt, config={"callbacks": [info]})) as stream:  # type: ignore[type-var]
            async for piece in stream:
                pieces.append(piece)
                if seen and piece:
                    seen(piece)
    except ChatGLMError as error:
        outcome.error = error
    return _settled(outcome, info, pieces, began)


def _settled(outcome: Outcome, info: _Info, pieces: list[str], began: float) -> Outcome:
    outcome.seconds = time.monotonic() - began
    outcome.text, outcome.info = "".join(pieces), info.found
    return outcome


def read_whole(llm: ChatGLM, road: str, prompt: str = "hi") -> Outcome:
    """Ask for one whole answer, without the cost of LangChain's own streaming for each piece."""
    began = time.monotonic()
    try:
        result = llm.generate([prompt]) if road == "sync" else asyncio.run(llm.agenerate([prompt]))
    except ChatGLMError as error:
        return Outcome(error=error, seconds=time.monotonic() - began)
    (found,) = result.generations[0]
    return Outcome(found.text, None, found.generation_info or {}, time.monotonic() - began)


def send_many(llm: ChatGLM, road: str, prompts: Sequence[str], width: int = 16) -> list[Outcome]:
    """Stream one answer to each prompt, some at a time; the order is kept."""
    if road == "sync":
        with ThreadPoolExecutor(max_workers=width) as threads:
            return list(threads.map(lambda prompt: _once(llm, prompt, None), prompts))

    async def all_of_them() -> list[Outcome]:
        width_left = asyncio.Semaphore(width)

        async def one(prompt: str) -> Outcome:
            async with width_left:
                return await asend(llm, prompt)

        return list(await asyncio.gather(*map(one, prompts)))

    return asyncio.run(all_of_them())


def run_at_once(*asks: Callable[[], T], width: int | None = None) -> list[T]:
    """Make these calls at the same time, each in its own thread (and so, if async, on its own loop).

    width: the most that run together, where their times count and two cores are few; all of them if None.
    """
    with ThreadPoolExecutor(max_workers=width or max(1, len(asks))) as threads:
        return [future.result() for future in [threads.submit(ask) for ask in asks]]
