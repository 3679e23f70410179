"""A request in flight: what the synchronous and the asynchronous code path share."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..client.address import redact_url
from ..errors import ChatGLMError, Interrupted, ResponseError
from ..values import Answer, Pair, Status, Turn
from .draft import Draft, RefreshableView, View

if TYPE_CHECKING:
    from langchain_core.outputs import GenerationChunk

    from ..client.probe import ProbeResult
    from ..llm import ChatGLM
    from .conversation import Entry, InsertionPoint
    from .interrupts import Interrupts


SAVE_INTERVAL_SECONDS = 1.0
"""How often a pending answer is saved, and so how much a killed kernel can lose."""

REFRESH_INTERVAL_SECONDS = 0.05
"""How often a view is refreshed while nothing arrives."""


class TurnOwner(Protocol):
    """What a turn in flight needs from its session."""

    @property
    def llm(self) -> ChatGLM: ...
    def explicit_parameters(self) -> dict[str, Any]: ...
    def probe(self, **options: Any) -> ProbeResult: ...
    def begin_turn(self, point: InsertionPoint, turn: Turn) -> Entry: ...
    def update_turn(self, entry: Entry, turn: Turn) -> None: ...
    def finish_turn(self, entry: Entry, turn: Turn) -> None: ...


class ActiveTurn:
    """A prompt with its place in the conversation, its plan and its draft."""

    def __init__(
        self,
        session: TurnOwner,
        turn: Turn,
        point: InsertionPoint,
        options: Mapping[str, Any],
        view: View,
        interrupts: Interrupts,
        *,
        record: bool,
    ) -> None:
        self._session, self._point, self._interrupts = session, point, interrupts
        self._feed = _ViewFeed(self, view)
        self.llm: ChatGLM = session.llm
        self.prompt = turn.prompt
        self._options = dict(options)
        self._history: tuple[Pair, ...] = point.history
        self._turns_left_out = 0
        self._base = turn
        pairs = [list(pair) for pair in point.history]
        self.plan = self.llm.plan(self.prompt, **{**options, "history": pairs, "with_history": False})
        self.draft = self._new_draft()  # raises for invalid options, before anything is superseded
        self._has_ended = False
        interrupts.hold()  # until start(): a turn that has begun is saved as interrupted
        self._entry = session.begin_turn(point, self.draft.turn("incomplete")) if record else None
        self._saved_at = time.monotonic()

    def _new_draft(self) -> Draft:
        plan = self.plan
        turn = replace(
            self._base,
            endpoint=redact_url(plan.request.url),
            dialect=plan.dialect,
            model=plan.sent.get("model"),
            system=plan.model_input.params.get("system"),
            asked={**self._session.explicit_parameters(), **self._options},
            sent=plan.sent,
            changed=plan.changed,
            turns_sent=len(self._history),
            turns_left_out=self._turns_left_out,
        )
        return Draft(turn)

    def send(self) -> Answer:
        """Send the request and save the answer; the caller handles interrupts."""
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
                finally:  # an interrupted probe must not lose the turn
                    self.fail(error)
                raise
            except Exception as error:  # a failing view or callback must not lose the text received
                self.abort(error)
                raise
            return self.finish("complete")

    async def asend(self) -> Answer:
        """As :meth:`send`; a cancelled task saves the text received."""
        with self._feed.refreshing():
            return await self._asend()

    async def _asend(self) -> Answer:
        while True:
            try:
                async with aclosing(self.llm.astream_plan(self.plan)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        self.add_chunk(chunk)
            except asyncio.CancelledError:
                self.finish("interrupted")
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
                return self.finish("complete")

    def start(self) -> None:
        """Raise interrupts from now on, including one that came since the turn began."""
        self._interrupts.release()
        self._interrupts.raise_pending()

    def add_chunk(self, chunk: GenerationChunk) -> None:
        """Add a chunk to the draft, update the view and, once a second, save the turn."""
        self.draft.add_chunk(chunk.text, chunk.generation_info or {})
        self._interrupts.raise_pending()
        self._feed.update(self.draft)
        if self._entry is not None and time.monotonic() - self._saved_at >= SAVE_INTERVAL_SECONDS:
            self._session.update_turn(self._entry, self.draft.turn("incomplete"))
            self._saved_at = time.monotonic()

    def drop_oldest_turns(self, error: ChatGLMError) -> bool:
        """Leave out the oldest turns if the context was too long; return whether to send again."""
        if error.kind != "too_long" or not self._history:
            return False
        self._turns_left_out += _count_surplus_turns(self._history, error)
        self._history = self._point.history[self._turns_left_out :]
        self.plan = self.plan.with_changes(history=self._history)
        self.draft = self._new_draft()
        return True

    def finish(self, status: Status, error: BaseException | None = None) -> Answer:
        """Save and display the turn; return its answer."""
        partial = error.partial if isinstance(error, ChatGLMError) else ""
        turn = self.draft.turn(status, str(error) if error else None, partial)
        self._save(turn)
        self._interrupts.release()  # displaying may take long
        self._feed.close(turn)
        return Answer(turn)

    def add_model_hint(self, error: ChatGLMError) -> None:
        """Add the server's models to an error about the model, after one probe (2 s timeout)."""
        if not error.about_model or (error.kind == "bad_request" and self.draft.base.model):
            return
        server = {"endpoint_url": self.plan.endpoint_url, "dialect": self.plan.dialect}
        models = self._session.probe(**server).models
        if models:
            error.args = (f"{error} The server has: {', '.join(models[:20])}.",)

    def fail(self, error: ChatGLMError) -> None:
        """Save a turn that ended in an error, with the text received."""
        self.finish("incomplete" if self.draft.text or error.partial else "error", error)

    def abort(self, error: Exception) -> None:
        """Save the turn after a local failure, such as a view's, without displaying it."""
        self._save(self.draft.turn("incomplete" if self.draft.text else "error", repr(error)))

    def interrupt(self) -> Interrupted:
        """Save an interrupted turn; return the exception to raise."""
        if self._has_ended:  # interrupted while the last frame was drawn
            return Interrupted("the request had already ended: %chatglm_history shows its turn.")
        with suppress(KeyboardInterrupt):  # a second one, while the partial answer is displayed
            self.finish("interrupted")
        count = len(self.draft.text)
        saved = f"its first {count} characters are kept" if count else "nothing had arrived"
        return Interrupted(f"the answer was stopped, {saved}.")

    def _save(self, turn: Turn) -> None:
        """Save the finished turn; interrupts wait meanwhile."""
        self._interrupts.hold()
        if self._entry is not None:
            self._session.finish_turn(self._entry, turn)
        self._has_ended = True


class _ViewFeed:
    """Updates the view of a turn as text arrives and as time passes, one call at a time.

    Refreshes run in the package's loop thread, in whichever thread text arrives.
    """

    def __init__(self, active: ActiveTurn, view: View) -> None:
        self._active, self._view = active, view
        self._lock = threading.Lock()
        self._closed = False
        self._error: Exception | None = None

    @contextmanager
    def refreshing(self) -> Iterator[None]:
        """Refresh a :class:`RefreshableView` while the block runs."""
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
        """Update the view.

        :raises Exception: an error of the view, also of an earlier refresh.
        """
        with self._lock:
            self._raise_error()
            self._view.update(draft)

    def close(self, turn: Turn) -> None:
        """Display the finished turn.

        :raises Exception: an error of the view, also of an earlier refresh, after displaying the turn.
        """
        self._closed = True
        with self._lock:
            self._view.close(turn)
            self._raise_error()

    async def _refresh(self, view: RefreshableView) -> None:
        while not self._closed and self._error is None:
            await asyncio.sleep(REFRESH_INTERVAL_SECONDS)
            if self._lock.acquire(blocking=False):  # otherwise the view is being updated
                try:
                    if not self._closed:
                        view.refresh(self._active.draft)
                except Exception as error:  # noqa: BLE001 - raised by the next call
                    self._error = error
                finally:
                    self._lock.release()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def _count_surplus_turns(history: tuple[Pair, ...], error: ChatGLMError) -> int:
    """Estimate how many of the oldest turns to leave out, from the server's token counts if it gave any."""
    tokens = error.tokens if isinstance(error, ResponseError) else None
    if tokens is None:
        return math.ceil(len(history) / 2)
    requested, available = tokens
    sizes = [len(prompt) + len(answer) for prompt, answer in history]
    surplus = sum(sizes) * (requested - available) / max(requested, 1)
    count = 0
    while count < len(sizes) and sum(sizes[:count]) <= surplus:
        count += 1
    return max(count, 1)
