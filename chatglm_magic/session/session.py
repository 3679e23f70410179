"""``Session``: holds *the* ``ChatGLM`` of a kernel, and asks its questions."""

from __future__ import annotations

import uuid
from collections.abc import Coroutine
from contextlib import aclosing, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ChatGLMError, ParameterError
from ..values import Answer, Kind, Turn
from .draft import NoView, View
from .interrupts import Interrupts
from .past import Past
from .settings import ChatGLMSettings, configure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..client.call import Call
    from ..client.probe import Finding
    from .asking import Asking

T = TypeVar("T")


class Session(Past):
    """One conversation with one model.

    ``settings`` and ``llm`` are handles on the same parameters: a change through one shows in the other.
    """

    def __init__(self, shell: Any | None = None) -> None:
        super().__init__(shell)
        self.cell: tuple[str | None, int] = (None, 0)

    @property
    def settings(self) -> ChatGLMSettings:
        """The parameters as traits."""
        return self._handles.settings

    def ask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        kind: Kind = "chat",
        again: str | None = None,
        **options: Any,
    ) -> Answer:
        """Ask in this thread; return the answer, which is a ``str`` that knows its turn.

        :param view: is told of the answer while it arrives.
        :param history: False asks outside the conversation: no turn is sent, and this one will not be.
        :param record: False keeps no turn of it.
        :param kind: what is no ``chat`` is recorded, and never part of the conversation.
        :param again: the id of the turn whose place this one takes; it sees what that one saw.
        :param options: values for this question alone: fields of ``ChatGLM``, or further keys of the body.
        :raises ChatGLMError: after the turn, with what was received, was kept.
        :raises Interrupted: likewise.
        """
        with Interrupts() as interrupts:
            asking = self._asking(
                *(prompt, options, interrupts),
                view=view,
                history=history,
                record=record,
                kind=kind,
                again=again,
                cell=self.cell,
            )
            try:
                return self._through(asking)
            except KeyboardInterrupt:
                raise asking.stopped() from None

    def aask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        kind: Kind = "chat",
        again: str | None = None,
        **options: Any,
    ) -> Coroutine[Any, Any, Answer]:
        """Ask as a task; a cancelled one keeps what was received. Otherwise as :meth:`ask`.

        The request is settled now, not when the task first runs.
        """
        asking = self._asking(
            *(prompt, options, Interrupts()),
            view=view,
            history=history,
            record=record,
            kind=kind,
            again=again,
            cell=(None, 0),
        )
        return self._run(asking)

    def submit(self, question: Coroutine[Any, Any, T]) -> Future[T]:
        """Run what :meth:`aask` returned, or another coroutine, on the package's loop thread.

        The future can be cancelled.
        """
        from ..client.loop import LOOP

        return LOOP.submit(question)

    def _through(self, asking: Asking) -> Answer:
        """Ask, and keep what comes of it; an interrupt is left to the caller."""
        while True:
            try:
                asking.begun()
                with closing(asking.llm.stream_plan(asking.plan)) as chunks:  # type: ignore[type-var]
                    for chunk in chunks:
                        asking.take(chunk)
            except ChatGLMError as error:
                if asking.shorten(error):
                    continue
                try:
                    asking.explain(error)
                finally:  # an interrupt of that look must not lose the turn
                    asking.failed(error)
                raise
            except Exception as error:  # a view or a callback that failed must not lose what was received
                asking.broken(error)
                raise
            return asking.end("complete")

    async def _run(self, asking: Asking) -> Answer:
        import asyncio

        while True:
            try:
                async with aclosing(asking.llm.astream_plan(asking.plan)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        asking.take(chunk)
            except asyncio.CancelledError:
                asking.end("interrupted")
                raise
            except ChatGLMError as error:
                if asking.shorten(error):
                    continue
                try:
                    await asyncio.to_thread(asking.explain, error)
                finally:
                    asking.failed(error)
                raise
            except Exception as error:
                asking.broken(error)
                raise
            else:
                return asking.end("complete")

    def asked(self) -> dict[str, Any]:
        """Return the parameters the user has set, by name."""
        return self._handles.asked()

    def preview(self, prompt: str, *, history: bool = True, **options: Any) -> Call:
        """Return the exact request a question would send now; nothing is sent and nothing superseded."""
        with self._lock:
            self._settle()
            seen = self._record.place(self.cell, None).history if history else ()
        return self.llm.plan(prompt, **{**options, "history": [list(pair) for pair in seen]}).call

    def default(self, name: str) -> None:
        """Put a parameter back to its default, as if it had never been set."""
        self._handles.default(name)

    def limits(self, name: str) -> tuple[float, float]:
        """Return the range of temperature, top_p or max_token that the server takes, as far as known."""
        return self._handles.limits(name)

    def probe(self, **options: Any) -> Finding:
        """Look once what answers at the endpoint, or at a question's own: one GET, at most 2 s, never fatal."""
        from ..client.probe import probe

        plan = self.llm.plan("", **options)
        return probe(plan.endpoint_url, plan.dialect, plan.call.headers)

    def close(self) -> None:
        """Let go of connections, of the model and of the store."""
        self._handles.let_go()
        self._storing.close()

    def _asking(
        self,
        prompt: str,
        options: dict[str, Any],
        interrupts: Interrupts,
        *,
        view: View | None,
        history: bool,
        record: bool,
        kind: Kind,
        again: str | None,
        cell: tuple[str | None, int],
    ) -> Asking:
        with self._lock:
            from .asking import Asking

            self._settle()
            place = self._record.place(cell, again)
            supersedes = record and kind == "chat"
            place = replace(place, history=place.history if history else (), old=place.old if supersedes else ())
            turn = Turn(
                prompt=prompt,
                cell_id=cell[0],
                cell_run=cell[1],
                kind=kind,
                outside=not history or kind != "chat" or not self.llm.with_history,
                id=uuid.uuid4().hex if record else "",
                conversation=self.conversation if record else "",
            )
            asking = Asking(self, turn, place, options, view or NoView(), interrupts, record=record)
        if record:
            self._changed()  # outside the lock: who follows the session takes locks of its own
        return asking


_current: Session | None = None


def get_session(shell: Any | None = None) -> Session:
    """Return this process' session; the first call makes it, configured by ``shell`` where there is one."""
    global _current
    if _current is None:
        _current = Session(shell)
    elif shell is not None and _current.settings.parent is not shell:
        configure(_current.settings, shell)
    return _current


def session_of(given: Session | None) -> Session:
    """Return the session that was given, or else this process' own.

    :raises ParameterError: for anything that is no session.
    """
    if given is not None and not isinstance(given, Session):
        raise ParameterError(
            f"session is a chatglm_magic.Session, not {type(given).__name__}: leave it out for the present one. "
            "Another model goes in with get_session().llm = …."
        )
    return get_session() if given is None else given


def end_session() -> None:
    """Forget the session and close its connections."""
    global _current
    session, _current = _current, None
    if session is not None:
        session.close()
