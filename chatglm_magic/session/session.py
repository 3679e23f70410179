"""``Session``: holds *the* ``ChatGLM`` of a kernel, and asks its questions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Any

from ..errors import ChatGLMError
from ..values import Answer, Turn
from .conversation import Conversation, Entry, Place
from .draft import NoView, View
from .handles import Handles
from .settings import ChatGLMSettings, configure, settings_for

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..client import Call
    from ..client.probe import Finding
    from ..llm import ChatGLM
    from .asking import Asking


class Session:
    """One conversation with one model.

    ``settings`` and ``llm`` are handles on the same parameters: a change through one shows in the other.
    """

    def __init__(self, shell: Any | None = None) -> None:
        self._lock = threading.RLock()
        self._conversation = Conversation()
        self._listeners: list[Callable[[], None]] = []
        self._handles = Handles(settings_for(shell))
        self.cell: tuple[str | None, int] = (None, 0)

    @property
    def settings(self) -> ChatGLMSettings:
        """The parameters as traits."""
        return self._handles.settings

    @property
    def llm(self) -> ChatGLM:
        """The session-scoped model."""
        return self._handles.llm()

    @llm.setter
    def llm(self, llm: ChatGLM) -> None:
        self._handles.replace(llm)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn of the conversation, in its order, whatever became of it."""
        with self._lock:
            if self._handles.made:
                self._settle()
            return tuple(self._conversation.turns)

    def ask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        **options: Any,
    ) -> Answer:
        """Ask in this thread; return the answer, which is a ``str`` that knows its turn.

        :param view: is told of the answer while it arrives.
        :param history: False asks outside the conversation: no turn is sent, and this one will not be.
        :param record: False keeps no turn of it.
        :param options: values for this question alone: fields of ``ChatGLM``, or further keys of the body.
        :raises ChatGLMError: after the turn, with what was received, was kept.
        :raises Interrupted: likewise.
        """
        asking = self._asking(prompt, options, view=view, history=history, record=record, cell=self.cell)
        while True:
            try:
                stream = asking.llm.stream(prompt, config=asking.config, **asking.arguments)
                with closing(stream) as pieces:  # type: ignore[type-var]
                    for _ in pieces:
                        asking.show()
            except KeyboardInterrupt:
                stopped = asking.stopped()
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
            else:
                return asking.end("complete")
            raise stopped

    def aask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        **options: Any,
    ) -> Coroutine[Any, Any, Answer]:
        """Ask as a task; a cancelled one keeps what was received. Otherwise as :meth:`ask`.

        The request is settled now, not when the task first runs.
        """
        asking = self._asking(prompt, options, view=view, history=history, record=record, cell=(None, 0))
        return self._run(asking)

    def submit(self, question: Coroutine[Any, Any, Answer]) -> Future[Answer]:
        """Run what :meth:`aask` returned on the package's loop thread; the future can be cancelled."""
        from ..client.loop import LOOP

        return LOOP.submit(question)

    async def _run(self, asking: Asking) -> Answer:
        import asyncio

        while True:
            try:
                stream = asking.llm.astream(asking.prompt, config=asking.config, **asking.arguments)
                async with aclosing(stream) as pieces:  # type: ignore[type-var]
                    async for _ in pieces:
                        asking.show()
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
            seen = self._conversation.place(*self.cell).history if history else ()
        return self.llm.plan(prompt, **{**options, "history": [list(pair) for pair in seen]}).call

    def undo(self) -> Turn | None:
        """Take the last turn back; return it."""
        with self._lock:
            self._settle()
            turn = self._conversation.undo()
            self._publish()
        self._changed()
        return turn

    def reset(self) -> None:
        """Begin a new conversation."""
        with self._lock:
            self._conversation = Conversation()
            if self._handles.made:
                self.llm.history = []
        self._changed()

    def probe(self, **options: Any) -> Finding:
        """Look once what answers at the endpoint, or at a question's own: one GET, at most 2 s, never fatal."""
        from ..client.probe import probe

        plan = self.llm.plan("", **options)
        return probe(plan.endpoint_url, plan.dialect, plan.call.headers)

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of the turns; return what ends that."""
        self._listeners.append(listener)

        def forget() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return forget

    def begin(self, place: Place, turn: Turn) -> Entry:
        """Hold a place for an answer under way."""
        with self._lock:
            self._settle()
            context = turn.kind == "chat" and self.llm.with_history and not turn.outside
            entry = self._conversation.begin(place, turn, context=context)
            self._publish()
            return entry

    def keep(self, entry: Entry, turn: Turn) -> None:
        """Put a finished turn into its place."""
        with self._lock:
            self._settle()
            self._conversation.finish(entry, turn)
            self._publish()
        self._changed()

    def close(self) -> None:
        """Let go of connections and of the model."""
        self._handles.let_go()

    def _asking(
        self,
        prompt: str,
        options: dict[str, Any],
        *,
        view: View | None,
        history: bool,
        record: bool,
        cell: tuple[str | None, int],
    ) -> Asking:
        from .asking import Asking

        with self._lock:
            self._settle()
            place = self._conversation.place(*cell)
            if not history or not record:
                place = Place(place.at, place.history if history else (), place.old if record else ())
            turn = Turn(prompt=prompt, cell_id=cell[0], cell_run=cell[1], outside=not history)
            return Asking(self, turn, place, options, view or NoView(), record=record)

    def _settle(self) -> None:
        """Take over what was changed through the other handles since the last look."""
        self._handles.settle()
        self._conversation.adopt([(q, a) for q, a in self.llm.history])

    def _publish(self) -> None:
        """Write the conversation to where ``session.llm.invoke`` reads it."""
        self.llm.history = [list(pair) for pair in self._conversation.pairs()]

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            listener()


_current: Session | None = None


def get_session(shell: Any | None = None) -> Session:
    """Return this process' session; the first call makes it, configured by ``shell`` where there is one."""
    global _current
    if _current is None:
        _current = Session(shell)
    elif shell is not None and _current.settings.parent is not shell:
        configure(_current.settings, shell)
    return _current


def end_session() -> None:
    """Forget the session and close its connections."""
    global _current
    session, _current = _current, None
    if session is not None:
        session.close()
