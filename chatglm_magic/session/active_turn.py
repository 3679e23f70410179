"""A request in flight: what the synchronous and the asynchronous path share."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..client.address import bare
from ..errors import ChatGLMError, Interrupted, ResponseError
from ..values import Answer, Pair, Status, Turn
from .draft import Draft, RefreshableView, View

if TYPE_CHECKING:
    from langchain_core.outputs import GenerationChunk

    from ..client.probe import Finding
    from ..llm import ChatGLM
    from .conversation import Entry, InsertionPoint
    from .interrupts import Interrupts


STORED_EVERY = 1.0
"""Seconds between two savings of an answer under way: what a killed kernel may lose."""

REFRESH_SECONDS = 0.05
"""Time between two refreshes of a live view."""


class Owner(Protocol):
    """What a turn in flight needs of its session."""

    @property
    def llm(self) -> ChatGLM: ...
    def explicit_parameters(self) -> dict[str, Any]: ...
    def probe(self, **options: Any) -> Finding: ...
    def begin_turn(self, point: InsertionPoint, turn: Turn) -> Entry: ...
    def update_turn(self, entry: Entry, turn: Turn) -> None: ...
    def finish_turn(self, entry: Entry, turn: Turn) -> None: ...


class ActiveTurn:
    """A prompt with its place in the conversation, its plan and its draft."""

    def __init__(
        self,
        session: Owner,
        turn: Turn,
        point: InsertionPoint,
        options: Mapping[str, Any],
        view: View,
        interrupts: Interrupts,
        *,
        record: bool,
    ) -> None:
        self._session, self._point, self._interrupts = session, point, interrupts
        self._feed = _Feed(self, view)
        self.llm: ChatGLM = session.llm
        self.prompt = turn.prompt
        self._options = dict(options)
        self._history: tuple[Pair, ...] = point.history
        self._left_out = 0
        self._base = turn
        pairs = [list(pair) for pair in point.history]
        self.plan = self.llm.plan(self.prompt, **{**options, "history": pairs, "with_history": False})
        self.draft = self._draft()  # raises for what can't be asked, before anything is superseded
        self._ended = False
        interrupts.hold()  # until start(): a turn that is begun is kept as stopped
        self._entry = session.begin_turn(point, self.draft.turn("incomplete")) if record else None
        self._stored = time.monotonic()

    def _draft(self) -> Draft:
        plan = self.plan
        turn = replace(
            self._base,
            endpoint=bare(plan.call.url),
            dialect=plan.dialect,
            model=plan.sent.get("model"),
            system=plan.question.params.get("system"),
            asked={**self._session.explicit_parameters(), **self._options},
            sent=plan.sent,
            changed=plan.changed,
            turns_sent=len(self._history),
            turns_left_out=self._left_out,
        )
        return Draft(turn)

    def send(self) -> Answer:
        """Send the request and keep what comes of it; an interrupt is left to the caller."""
        with self._feed.refreshing():
            return self._send()

    def _send(self) -> Answer:
        while True:
            try:
                self.start()
                with closing(self.llm.stream_plan(self.plan)) as chunks:  # type: ignore[type-var]
                    for chunk in chunks:
                        self.add_chunk(chunk)
            except ChatGLMError as error:
                if self.drop_oldest_turns(error):
                    continue
                try:
                    self.add_model_hint(error)
                finally:  # an interrupt of that look must not lose the turn
                    self.fail(error)
                raise
            except Exception as error:  # a view or a callback that failed must not lose what was received
                self.abort(error)
                raise
            return self.end("complete")

    async def asend(self) -> Answer:
        """As :meth:`send`; a cancelled task keeps what was received."""
        with self._feed.refreshing():
            return await self._asend()

    async def _asend(self) -> Answer:
        while True:
            try:
                async with aclosing(self.llm.astream_plan(self.plan)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        self.add_chunk(chunk)
            except asyncio.CancelledError:
                self.end("interrupted")
                raise
            except ChatGLMError as error:
                if self.drop_oldest_turns(error):
                    continue
                try:
                    await asyncio.to_thread(self.add_model_hint, error)
                finally:
                    self.fail(error)
                raise
            except Exception as error:
                self.abort(error)
                raise
            else:
                return self.end("complete")

    def start(self) -> None:
        """Let interrupts strike from here on, as one does that came since the turn began."""
        self._interrupts.release()
        self._interrupts.look()

    def add_chunk(self, chunk: GenerationChunk) -> None:
        """Take in what has arrived; tell the view of it, and once a second the store."""
        self.draft.add_chunk(chunk.text, chunk.generation_info or {})
        self._interrupts.look()
        self._feed.update(self.draft)
        if self._entry is not None and time.monotonic() - self._stored >= STORED_EVERY:
            self._session.update_turn(self._entry, self.draft.turn("incomplete"))
            self._stored = time.monotonic()

    def drop_oldest_turns(self, error: ChatGLMError) -> bool:
        """Leave out the oldest turns where the conversation did not fit; tell whether to ask again."""
        if error.kind != "too_long" or not self._history:
            return False
        self._left_out += _too_many(self._history, error)
        self._history = self._point.history[self._left_out :]
        self.plan = self.plan.with_question(history=self._history)
        self.draft = self._draft()
        return True

    def end(self, status: Status, error: BaseException | None = None) -> Answer:
        """Keep the turn as it stands, show it, and return it as an answer."""
        partial = error.partial if isinstance(error, ChatGLMError) else ""
        turn = self.draft.turn(status, str(error) if error else None, partial)
        self._keep(turn)
        self._interrupts.release()  # showing may take long
        self._feed.close(turn)
        return Answer(turn)

    def add_model_hint(self, error: ChatGLMError) -> None:
        """Add the server's models to an error about the model: one look, at most 2 s."""
        unnamed = error.kind == "bad_request" and not self.draft.base.model and "model" in str(error).lower()
        if not (unnamed or (error.kind == "not_found" and "Choose a model" in str(error))):
            return
        server = {"endpoint_url": self.plan.endpoint_url, "dialect": self.plan.dialect}
        models = self._session.probe(**server).models
        if models:
            error.args = (f"{error} The server has: {', '.join(models[:20])}.",)

    def fail(self, error: ChatGLMError) -> None:
        """Keep a turn that ended in an error; what was received stays."""
        self.end("incomplete" if self.draft.text or error.partial else "error", error)

    def abort(self, error: Exception) -> None:
        """Keep the turn when something of this side failed, such as a view; it is not shown again."""
        self._keep(self.draft.turn("incomplete" if self.draft.text else "error", repr(error)))

    def interrupt(self) -> Interrupted:
        """Keep a turn that was interrupted; return the interrupt to raise again."""
        if self._ended:  # it struck while the last frame was made
            return Interrupted("the question had ended, and is kept: %chatglm_history shows it.")
        with suppress(KeyboardInterrupt):  # a second one, while the partial answer is shown
            self.end("interrupted")
        count = len(self.draft.text)
        kept = f"its first {count} characters are kept" if count else "nothing had arrived"
        return Interrupted(f"the answer was stopped, {kept}.")

    def _keep(self, turn: Turn) -> None:
        """Put the turn into its place, whatever is interrupted."""
        self._interrupts.hold()
        if self._entry is not None:
            self._session.finish_turn(self._entry, turn)
        self._ended = True


class _Feed:
    """Hands the draft of a turn to its view: as text arrives, and as time passes; one call at a time.

    The refreshes come from the package's loop thread, whichever thread the text arrives in.
    """

    def __init__(self, active: ActiveTurn, view: View) -> None:
        self._active, self._view = active, view
        self._lock = threading.Lock()
        self._closed = False
        self._failed: Exception | None = None

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Refresh a live view while the block runs."""
        if not isinstance(self._view, RefreshableView):
            yield
            return
        from ..client.loop import LOOP

        refreshes = LOOP.submit(self._refresh(self._view))
        try:
            yield
        finally:
            self._closed = True
            refreshes.cancel()

    def update(self, draft: Draft) -> None:
        """Tell the view of what has arrived.

        :raises Exception: what failed in the view, also in an earlier refresh.
        """
        with self._lock:
            self._raise_failed()
            self._view.update(draft)

    def close(self, turn: Turn) -> None:
        """Tell the view of the end.

        :raises Exception: what failed in the view, also in an earlier refresh; the end is shown first.
        """
        self._closed = True
        with self._lock:
            self._view.close(turn)
            self._raise_failed()

    async def _refresh(self, view: RefreshableView) -> None:
        while not self._closed and self._failed is None:
            await asyncio.sleep(REFRESH_SECONDS)
            if self._lock.acquire(blocking=False):  # else the view is drawing already
                try:
                    if not self._closed:
                        view.refresh(self._active.draft)
                except Exception as error:  # noqa: BLE001 - raised by the next call
                    self._failed = error
                finally:
                    self._lock.release()

    def _raise_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed


def _too_many(history: tuple[Pair, ...], error: ChatGLMError) -> int:
    """Estimate how many of the oldest turns to leave out: by the server's count where it gave one."""
    tokens = error.tokens if isinstance(error, ResponseError) else None
    if tokens is None:
        return math.ceil(len(history) / 2)
    asked, room = tokens
    sizes = [len(question) + len(answer) for question, answer in history]
    surplus = sum(sizes) * (asked - room) / max(asked, 1)
    count = 0
    while count < len(sizes) and sum(sizes[:count]) <= surplus:
        count += 1
    return max(count, 1)
