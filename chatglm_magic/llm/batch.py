"""Batches: concurrent requests with a limit, cancelled together."""

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

from ..client.loop import LOOP, iterate_on_loop_thread
from .fields import refuse_config_arguments

T = TypeVar("T")

Outcome = tuple[int, T | BaseException]


async def as_completed(
    ask: Callable[[int], Awaitable[T]], count: int, limit: int, *, keep_errors: bool
) -> AsyncGenerator[tuple[int, T | Exception], None]:
    """Send ``count`` requests, at most ``limit`` concurrently; yield (index, answer) as they complete.

    Pending requests are cancelled when the caller stops early or is cancelled.

    :param keep_errors: yield an error in place of its answer; else raise the first one and cancel the others.
    """
    outcomes: asyncio.Queue[Outcome[T]] = asyncio.Queue()
    indices = iter(range(count))
    workers = [asyncio.create_task(_work(ask, indices, outcomes, keep_errors)) for _ in range(min(limit, count))]
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
    indices: Iterator[int],
    outcomes: asyncio.Queue[Outcome[T]],
    keep_errors: bool,
) -> None:
    for index in indices:
        try:
            outcomes.put_nowait((index, await ask(index)))
        except BaseException as error:  # noqa: BLE001 - the caller raises or yields it
            outcomes.put_nowait((index, error))
            if not (keep_errors and isinstance(error, Exception)):
                return


async def collect_in_order(outcomes: AsyncIterator[tuple[int, Any]], count: int) -> list[Any]:
    """Collect (index, answer) pairs to a list of answers in input order."""
    answers: dict[int, Any] = {}
    async for index, answer in outcomes:
        answers[index] = answer
    return [answers[index] for index in range(count)]


def has_listeners(llm: BaseLanguageModel[Any], config: Any) -> bool:
    """Return whether a call has callbacks or tracers.

    If not, LangChain's per-call overhead can be skipped. It costs as much as a request on a pooled connection, and
    makes 512 concurrent requests take 50 % longer.
    """
    callbacks = ensure_config(config).get("callbacks")
    return bool(AsyncCallbackManager.configure(callbacks, llm.callbacks, llm.verbose).handlers)


def is_unobserved(llm: BaseLanguageModel[Any], config: Any) -> bool:
    """Return whether the calls of a batch have no callbacks, tracers or cache."""
    if isinstance(config, Sequence):
        return False  # a configuration for each input
    cached = llm.cache is not False and (llm.cache is not None or get_llm_cache() is not None)
    return not cached and not has_listeners(llm, config)


def resolve_max_concurrency(configs: Sequence[Any], default: int) -> int:
    """Return the configuration's ``max_concurrency``, else the default; at least 1."""
    configured = configs[0].get("max_concurrency") if configs else None
    return max(1, configured if configured is not None else default)


class BatchMixin(Generic[T]):
    """``batch``, ``batch_as_completed`` and their asynchronous variants, with concurrent requests.

    Subclasses define how to send one request without LangChain's per-call overhead.
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
        """Send concurrent requests; return the answers in input order. An interrupt cancels all requests.

        :param config: its ``max_concurrency`` overrides the field.
        :param return_exceptions: return an error in place of its answer instead of raising the first one.
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
        """As :meth:`batch`, asynchronously."""
        async with aclosing(self._send_batch(inputs, config, return_exceptions, kwargs)) as outcomes:
            return await collect_in_order(outcomes, len(inputs))

    def batch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Iterator[tuple[int, T | Exception]]:
        """Send concurrent requests; yield (index, answer) as they complete. Leaving the loop cancels the rest."""
        return iterate_on_loop_thread(self._send_batch(inputs, config, return_exceptions, kwargs))

    async def abatch_as_completed(
        self,
        inputs: Sequence[LanguageModelInput],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> AsyncIterator[tuple[int, T | Exception]]:
        """As :meth:`batch_as_completed`, asynchronously."""
        async with aclosing(self._send_batch(inputs, config, return_exceptions, kwargs)) as outcomes:
            async for index, outcome in outcomes:
                yield index, outcome

    def _send_batch(
        self, inputs: Sequence[LanguageModelInput], config: Any, keep_errors: bool, kwargs: dict[str, Any]
    ) -> AsyncGenerator[tuple[int, T | Exception], None]:
        model: Any = self
        configs = get_config_list(config, len(inputs))
        arguments = self._batch_arguments(kwargs)
        limit = resolve_max_concurrency(configs, self.max_concurrency)
        skips_langchain = self._can_skip_langchain and is_unobserved(model, config)

        async def ask(index: int) -> T:
            refuse_config_arguments(kwargs)
            if skips_langchain:
                return await self._send_directly(inputs[index], dict(arguments))
            answer: T = await model.ainvoke(inputs[index], configs[index], **arguments)
            return answer

        return as_completed(ask, len(inputs), limit, keep_errors=keep_errors)

    def _batch_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of each request of a batch."""
        return dict(arguments)

    async def _send_directly(self, input: LanguageModelInput, arguments: dict[str, Any]) -> T:
        """Send one request without callbacks, tracers or cache."""
        raise NotImplementedError

    @property
    def _can_skip_langchain(self) -> bool:
        """Whether a request has the same effect without LangChain's methods, which a subclass may override."""
        raise NotImplementedError
