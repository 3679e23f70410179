"""Send the requests of a sweep, all planned before the first is sent, and record the answers."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..client.address import redact_url
from ..errors import ChatGLMError
from ..parameters import PARAMETERS
from ..session.draft import Draft
from ..session.settings import SHARED_TRAITS
from ..values import Status, Turn
from .cells import CellGrid, Slot
from .grid import Setting, format_value, is_same_value

if TYPE_CHECKING:
    from ..llm import ChatGLM
    from ..llm.request_plan import RequestPlan
    from ..session import Session
    from ..store import Store


class TurnRecorder:
    """Stores turns in the order they arrive, in a thread; used on one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[tuple[Turn, int]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, turn: Turn, position: int) -> None:
        """Queue a turn for the store."""
        self._queue.append((turn, position))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Wait until all turns are stored."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        self._write()  # turns left by a closing event loop

    async def _drain(self) -> None:
        while self._queue:
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        with suppress(IndexError):  # another thread has taken the last one
            while True:
                self._store.put(*self._queue.popleft())


PINNED_FIELDS = tuple(row.name for row in PARAMETERS.values() if row.in_body)
"""Fields that stay unchanged when a sweep is resumed; the server may be a different one."""


class SweepPlans:
    """The requests of each setting, planned and checked before the first is sent.

    :param pinned: the model of an earlier run, whose parameters are kept.
    :raises ChatGLMError: for a value that no server accepts, or an invalid endpoint.
    """

    def __init__(
        self, session: Session, prompt: str, settings: Sequence[Setting], pinned: ChatGLM | None = None
    ) -> None:
        session.sync_with_llm()
        self.llm = _copy_model(session.llm, pinned)
        self._plans = [self.llm.plan(prompt, **setting) for setting in settings]
        self._current: tuple[int, RequestPlan] | None = None
        self.bases = [self._base(*pair) for pair in zip(self._plans, settings, strict=True)]

    def base(self, cell: int, prompt: str) -> Turn:
        """Return the turn of a cell's requests before it is answered."""
        return replace(self.bases[cell % len(self.bases)], prompt=prompt)

    async def request_answer(self, draft: Draft, cell: int, sample: int) -> Turn:
        """Send a request; return its turn, also of a failure. If cancelled, the draft has what was received."""
        if self._current is None or self._current[0] != cell:  # the samples of a cell are consecutive
            self._current = cell, self._plans[cell % len(self._plans)].with_changes(prompt=draft.base.prompt)
        plan = self._current[1].with_sample(sample)
        try:
            async with aclosing(self.llm.astream_plan(plan)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    draft.add_chunk(chunk.text, chunk.generation_info or {})
        except ChatGLMError as error:
            return _failed_turn(draft, str(error), error.partial)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a failing user callback costs one cell only
            return _failed_turn(draft, repr(error), "")
        return draft.turn("complete")

    def close(self) -> None:
        """Close the connections."""
        self.llm.close()

    def _base(self, plan: RequestPlan, setting: Setting) -> Turn:
        explicit = [n for n in SHARED_TRAITS if n in self.llm.model_fields_set and PARAMETERS[n].recorded]
        return Turn(
            prompt=plan.prompt,
            kind="sweep",
            outside=True,
            endpoint=redact_url(plan.request.url),
            dialect=plan.dialect,
            model=plan.sent.get("model"),
            system=plan.model_input.params.get("system"),
            asked={name: getattr(self.llm, name) for name in explicit} | setting,
            sent=plan.sent,
            changed=plan.changed,
        )


def _copy_model(llm: ChatGLM, pinned: ChatGLM | None) -> ChatGLM:
    """Return a copy of the session's model for one run, without history, unaffected by later changes."""
    update: dict[str, Any] = {"history": [], "with_history": False}
    if pinned is not None:
        update |= {name: getattr(pinned, name) for name in PINNED_FIELDS}
    copy = llm.model_copy(update=update)
    copy.model_fields_set.discard("history")
    if pinned is not None:
        for name in PINNED_FIELDS:
            if name not in pinned.model_fields_set:
                copy.model_fields_set.discard(name)
    return copy


def _failed_turn(draft: Draft, error: str, partial: str) -> Turn:
    status: Status = "incomplete" if draft.text or partial else "error"
    return draft.turn(status, error, partial)


def request_parameters(turn: Turn) -> dict[str, Any]:
    """Return everything that affects an answer besides the prompt; not the endpoint, which may differ."""
    return {"dialect": turn.dialect, "system": turn.system, **turn.sent}


def turn_request_key(turn: Turn) -> str:
    """Return a string that is equal for equal requests."""
    return json.dumps([turn.prompt, request_parameters(turn)], sort_keys=True, default=str)


def refuse_different_request(now: Turn, then: Turn) -> None:
    """Refuse to mix answers to different requests in one cell.

    :param now: the new request; ``then`` is the turn of an earlier answer.
    :raises ChatGLMError: if they differ; the message names the first difference.
    """
    new, old = request_parameters(now), request_parameters(then)
    for name in (*old, *new):
        if not is_same_value(new.get(name), old.get(name)):
            raise ChatGLMError(
                f"The existing answers were requested with {name} {format_value(old.get(name))}, now it is "
                f"{format_value(new.get(name))}: restore it, or start a new sweep.",
                kind="mixed",
            )


WAIT_INTERVAL_SECONDS = 0.2
"""Maximum delay of an interrupt."""


class SweepRun:
    """Sends the requests for some slots; failures become turns and don't stop the run.

    The last answer is stored together with the end of the run: a caller who sees it can start the next run.
    """

    def __init__(
        self, cell_grid: CellGrid, plans: SweepPlans, slots: Sequence[Slot], jobs: int, name: str
    ) -> None:
        self.plans = plans
        self._cell_grid, self._slots, self._jobs, self._name = cell_grid, slots, jobs, name
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: Future[None] | None = None
        self.thread: int | None = None
        self.is_over = self._stopping = self._closing = False
        self._started, self._duration, self.ended = time.monotonic(), 0.0, 0
        self._last: tuple[Slot, Turn | None] | None = None
        # One random number for the run, then incremented: random numbers of the system are slow.
        self._ids = itertools.count(uuid.uuid4().int >> 1)

    @property
    def future(self) -> Future[None]:
        """The future of the run's end; use :meth:`stop` instead of cancelling it."""
        assert self._future is not None, "the run was started"
        return self._future

    @property
    def is_active(self) -> bool:
        """Whether the run is active."""
        return not self.is_over and (self._future is None or not self._future.done())

    @property
    def seconds(self) -> float:
        """The duration of the run so far, or in total."""
        return self._duration if self.is_over else time.monotonic() - self._started

    @property
    def pending(self) -> int:
        """The number of unfinished requests; 0 once the run is over."""
        return len(self._slots) - self.ended if self.is_active else 0

    @property
    def seconds_left(self) -> float | None:
        """The estimated remaining time at the current pace."""
        if self.is_over or not self.ended:
            return None
        return self.seconds / self.ended * (len(self._slots) - self.ended)

    def start(self, session: Session) -> None:
        """Start the run and return at once."""
        self._recorder = TurnRecorder(session.store)
        self._future = session.submit(self._main())  # type: ignore[arg-type, assignment, unused-ignore]

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end in short intervals: on some systems an interrupt doesn't end a long wait."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.future.done() and (remaining := end - time.monotonic()) > 0:
            wait([self.future], min(remaining, WAIT_INTERVAL_SECONDS))

    def stop(self) -> None:
        """Cancel the running requests, from any thread; the answers received are kept."""
        self._stopping = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it every task
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None and not self._closing:
            self._closing = True
            self._task.cancel()

    async def _main(self) -> None:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self.thread = threading.get_ident()
        todo = iter(() if self._stopping else self._slots)
        workers = [asyncio.create_task(self._work(todo)) for _ in range(min(self._jobs, len(self._slots)))]
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*workers)
        finally:
            self._closing = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            try:
                await self._recorder.close()
                self.plans.close()
            finally:
                self._end()

    def _end(self) -> None:
        with self._cell_grid.lock:
            self._duration, self.is_over = self.seconds, True
            if self._last is not None:
                self.ended += 1
                self._cell_grid.put(*self._last)
        self._cell_grid.notify()

    async def _work(self, todo: Iterator[Slot]) -> None:
        for slot in todo:
            await self._ask(slot)

    async def _ask(self, slot: Slot) -> None:
        number, sample = slot
        draft = Draft(self.plans.base(number, self._cell_grid.cells[number].prompt))
        self._cell_grid.start_draft(slot, draft)
        turn: Turn | None = None
        try:
            turn = await self.plans.request_answer(draft, number, sample)
        except asyncio.CancelledError:
            stopped = draft.turn("interrupted")
            turn = stopped if stopped.answer or stopped.reasoning else None
            raise
        finally:
            if turn is not None:
                turn = replace(turn, id=f"{next(self._ids):032x}", conversation=self._name)
                self._recorder.put(turn, number * self._cell_grid.samples + sample)
            if self.ended == len(self._slots) - 1:
                self._last = slot, turn
            else:
                self.ended += 1
                self._cell_grid.finish(slot, turn)
