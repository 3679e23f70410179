"""Many questions at once: so many under way, in any order, stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.globals import get_llm_cache
from langchain_core.language_models.llms import LLM
from langchain_core.runnables.config import ensure_config

T = TypeVar("T")

Outcome = tuple[int, T | BaseException]


async def as_completed(
    ask: Callable[[int], Awaitable[T]], count: int, limit: int, *, keep_errors: bool
) -> AsyncGenerator[tuple[int, T | Exception], None]:
    """Ask ``count`` questions, ``limit`` at once; yield (index, answer) as they come.

    :param keep_errors: yield an error in the place of its answer; else the first one is raised, and what is
        under way is cancelled. So it is when the caller stops early or is cancelled itself.
    """
    outcomes: asyncio.Queue[Outcome[T]] = asyncio.Queue()
    todo = iter(range(count))
    workers = [asyncio.create_task(_work(ask, todo, outcomes, keep_errors)) for _ in range(min(limit, count))]
    try:
        for _ in range(count):
            index, outcome = await outcomes.get()
            if not isinstance(outcome, BaseException) or (keep_errors and isinstance(outcome, Exception)):
                yield index, outcome
            else:
                raise outcome
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _work(
    ask: Callable[[int], Awaitable[T]],
    todo: Iterator[int],
    outcomes: asyncio.Queue[Outcome[T]],
    keep_errors: bool,
) -> None:
    for index in todo:
        try:
            outcomes.put_nowait((index, await ask(index)))
        except BaseException as error:  # noqa: BLE001 - whoever asked raises it, or keeps it
            outcomes.put_nowait((index, error))
            if not (keep_errors and isinstance(error, Exception)):
                return


async def in_order(found: AsyncIterator[tuple[int, Any]], count: int) -> list[Any]:
    """Collect answers in the order of their questions."""
    answers: dict[int, Any] = {}
    async for index, answer in found:
        answers[index] = answer
    return [answers[index] for index in range(count)]


def has_listeners(llm: LLM, config: Any) -> bool:
    """Tell whether a callback or a tracer is told of a call.

    Without one LangChain's bookkeeping is for nothing. It costs as much as a request over a kept connection does,
    and makes 512 at once take half as long again.
    """
    callbacks = ensure_config(config).get("callbacks")
    return bool(AsyncCallbackManager.configure(callbacks, llm.callbacks, llm.verbose).handlers)


def is_unobserved(llm: LLM, config: Any) -> bool:
    """Tell whether neither a callback, a tracer nor a cache takes part in the calls of a batch."""
    if isinstance(config, Sequence):
        return False  # a configuration for each input
    cached = llm.cache is not False and (llm.cache is not None or get_llm_cache() is not None)
    return not cached and not has_listeners(llm, config)


def chosen_limit(configs: Sequence[Any], default: int) -> int:
    """Return how many questions may be under way: LangChain's ``max_concurrency`` if given, else the field's."""
    wished = configs[0].get("max_concurrency") if configs else None
    return max(1, wished if wished is not None else default)
