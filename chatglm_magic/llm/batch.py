"""Many questions at once: so many under way, in any order, stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseLanguageModel, LanguageModelInput
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, get_config_list

from ..client.loop import LOOP, handed_over
from .fields import refuse_config_arguments

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


def has_listeners(llm: BaseLanguageModel[Any], config: Any) -> bool:
    """Tell whether a callback or a tracer is told of a call.

    Without one LangChain's bookkeeping is for nothing. It costs as much as a request over a kept connection does,
    and makes 512 at once take half as long again.
    """
    callbacks = ensure_config(config).get("callbacks")
    return bool(AsyncCallbackManager.configure(callbacks, llm.callbacks, llm.verbose).handlers)


def is_unobserved(llm: BaseLanguageModel[Any], config: Any) -> bool:
    """Tell whether neither a callback, a tracer nor a cache takes part in the calls of a batch."""
    if isinstance(config, Sequence):
        return False  # a configuration for each input
    cached = llm.cache is not False and (llm.cache is not None or get_llm_cache() is not None)
    return not cached and not has_listeners(llm, config)


def chosen_limit(configs: Sequence[Any], default: int) -> int:
    """Return how many questions may be under way: LangChain's ``max_concurrency`` if given, else the field's."""
    wished = configs[0].get("max_concurrency") if configs else None
    return max(1, wished if wished is not None else default)


class ManyRequests(Generic[T]):
    """``batch`` and its kin, natively asynchronous: so many requests at once, and none after the caller has left.

    Both models have them, and say how one request is sent without LangChain's bookkeeping.
    """

    max_concurrency: int

    def batch(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[T]:
        """Ask many questions at once; return the answers in the order of the inputs.

        ``max_concurrency`` is taken from the configuration, else from the field. An interrupt cancels all.

        :param return_exceptions: put an error in the place of its answer instead of raising the first one.
        """
        return LOOP.run(self.abatch(inputs, config, return_exceptions=return_exceptions, **kwargs))

    async def abatch(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[T]:
        """As :meth:`batch`, awaited."""
        found = self._ask_many(inputs, config, return_exceptions, kwargs)
        async with aclosing(found):
            return await in_order(found, len(inputs))

    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, T | Exception]]:
        """Ask many questions at once; yield (index, answer) as they come. Leaving the loop cancels the rest."""
        return handed_over(self._ask_many(inputs, config, return_exceptions, kwargs))

    async def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, T | Exception]]:
        """As :meth:`batch_as_completed`, asynchronously."""
        async with aclosing(self._ask_many(inputs, config, return_exceptions, kwargs)) as found:
            async for index, outcome in found:
                yield index, outcome

    def _ask_many(
        self, inputs: Sequence[LanguageModelInput], config: Any, keep_errors: bool, kwargs: dict[str, Any]
    ) -> AsyncGenerator[tuple[int, T | Exception], None]:
        model: Any = self
        configs = get_config_list(config, len(inputs))
        arguments = self._arguments_of_many(kwargs)
        limit = chosen_limit(configs, self.max_concurrency)
        unobserved = self._can_skip_langchain and is_unobserved(model, config)

        async def ask(index: int) -> T:
            refuse_config_arguments(kwargs)
            if unobserved:
                return await self._ask_unobserved(inputs[index], dict(arguments))
            answer: T = await model.ainvoke(inputs[index], configs[index], **arguments)
            return answer

        return as_completed(ask, len(inputs), limit, keep_errors=keep_errors)

    def _arguments_of_many(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of each request of a batch."""
        return dict(arguments)

    async def _ask_unobserved(self, input: LanguageModelInput, arguments: dict[str, Any]) -> T:
        """Send one request of which no callback, tracer or cache is told."""
        raise NotImplementedError

    @property
    def _can_skip_langchain(self) -> bool:
        """Whether a request means the same without LangChain's methods, which a subclass may have changed."""
        raise NotImplementedError
