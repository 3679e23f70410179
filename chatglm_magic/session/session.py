"""``Session``: a kernel's ``ChatGLM``, its settings and its conversation; every prompt goes through it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ChatGLMError, ParameterError
from ..forks import LockOrder, fork_safe_lock
from ..listeners import Listeners
from ..values import Answer, Kind, Turn
from .conversation import ConversationLog, Entry, InsertionPoint, Versions
from .draft import NoView, View
from .interrupts import Interrupts
from .settings import ChatGLMSettings, SettingsSync, apply_config, make_settings, store_path

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..client.probe import ProbeResult
    from ..client.request import Request
    from ..llm import ChatGLM
    from ..llm.chat_model import GLMChatModel
    from ..store import History, Store
    from .active_turn import ActiveTurn
    from .check import ServerCheck

T = TypeVar("T")


class Session:
    """One conversation at a time with one model, in memory and in the store.

    ``settings`` and ``llm`` hold the same parameters: a change of one changes the other.

    .. code-block:: python

        session = get_session()
        session.ask("Why is the sea blue?", temperature=0.5).turn.usage
    """

    def __init__(self, shell: Any | None = None) -> None:
        self._lock = fork_safe_lock(LockOrder.SESSION)
        self._listeners = Listeners("session")
        self._sync = SettingsSync(make_settings(shell))
        self._store_lock = fork_safe_lock(LockOrder.STORING)
        self._store: Store | None = None
        self._store_setting: str | None = None
        self._log = ConversationLog(self._open_store)
        self.cell: tuple[str | None, int] = (None, 0)
        self._chat_model: GLMChatModel | None = None
        self.local_server: tuple[str, str | None] | None = None
        """URL and model of the server that ``%chatglm_serve`` started; the model is None for the built-in one."""

    @property
    def settings(self) -> ChatGLMSettings:
        """The parameters as traits."""
        return self._sync.settings

    def ask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        kind: Kind = "chat",
        replaces: str | None = None,
        **options: Any,
    ) -> Answer:
        """Send a prompt from this thread; return the answer, a ``str`` with a ``.turn`` attribute.

        :param view: displays the answer while it arrives.
        :param history: if False, no earlier turn is sent, and this turn isn't part of the conversation.
        :param record: if False, the turn isn't recorded.
        :param kind: anything but ``chat`` is recorded outside the conversation.
        :param replaces: the id of a turn that the new one replaces; it gets the same context.
        :param options: values for this request only: fields of ``ChatGLM``, or extra keys of the body.
        :raises ChatGLMError: after the turn, with any text received, is saved.
        :raises Interrupted: likewise.
        """
        with Interrupts() as interrupts:
            active = self._activate(
                prompt,
                options,
                interrupts,
                view=view,
                history=history,
                record=record,
                kind=kind,
                replaces=replaces,
                cell=self.cell,
            )
            try:
                return active.send()
            except KeyboardInterrupt:
                raise active.interrupt() from None

    def aask(
        self,
        prompt: str,
        *,
        view: View | None = None,
        history: bool = True,
        record: bool = True,
        kind: Kind = "chat",
        replaces: str | None = None,
        id: str = "",
        **options: Any,
    ) -> Coroutine[Any, Any, Answer]:
        """Return a coroutine that sends a prompt as :meth:`ask` does; if cancelled, it saves the text received.

        The request is prepared now, not when the coroutine first runs. Invalid options raise when it is awaited.

        :param id: the id of the turn, 32 hex digits; by default a new one.
        """
        try:
            active = self._activate(
                prompt,
                options,
                Interrupts(),
                view=view,
                history=history,
                record=record,
                kind=kind,
                replaces=replaces,
                cell=(None, 0),
                id=id,
            )
        except ChatGLMError as error:
            return _raise_when_awaited(error)
        return active.asend()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine, such as :meth:`aask`'s, on the package's loop thread; its future can be cancelled."""
        from ..client.loop import LOOP

        return LOOP.submit(coroutine)

    def explicit_parameters(self) -> dict[str, Any]:
        """Return the parameters the user has set, by name."""
        return self._sync.explicit_parameters()

    def preview(self, prompt: str, *, history: bool = True, **options: Any) -> Request:
        """Return the exact request that a prompt would send now; nothing is sent or changed."""
        with self._lock:
            self._sync_with_llm()
            context = self._log.insertion_point(self.cell, None).history if history else ()
        return self.llm.plan(prompt, **{**options, "history": [list(pair) for pair in context]}).request

    def sync_with_llm(self) -> None:
        """Apply assignments of a current value, and changes of ``llm.history``; no event reports either."""
        with self._lock:
            self._sync_with_llm()

    def set_parameter(self, name: str, value: Any) -> None:
        """Set a parameter; even its current value then counts as set, and is sent from now on.

        :raises TraitError: if the value is invalid.
        """
        self._sync.set_parameter(name, value)

    def reset_parameter(self, name: str) -> None:
        """Reset a parameter to its default, as if it had never been set."""
        self._sync.reset_parameter(name)

    def slider_range(self, name: str) -> tuple[float, float]:
        """Return the range of temperature, top_p or max_token that the server accepts, as far as known."""
        return self._sync.slider_range(name)

    @property
    def thinking_levels(self) -> tuple[str, ...]:
        """The levels of ``thinking`` that the current model has on the current server; all levels if unknown."""
        from ..wire.openai import server_of
        from ..wire.thinking import levels_of

        settings = self.settings
        return levels_of(settings.model, server_of(settings.endpoint_url))

    def probe(self, **options: Any) -> ProbeResult:
        """Probe the endpoint with one GET (2 s timeout). Never raises for server errors.

        :param options: as for :meth:`ask`, such as another ``endpoint_url``.
        """
        from ..client.probe import probe

        plan = self.llm.plan("", **options)
        return probe(plan.endpoint_url, plan.dialect, plan.request.headers)

    def check(self) -> ServerCheck:
        """Test which parameters the current server honours, with at most ten short requests.

        .. code-block:: python

            check = get_session().check()
            check["seed"].verdict, check.to_dataframe()

        The conversation isn't sent or changed, nothing is recorded, and the tape isn't used.

        :raises ChatGLMError: if the first, plain request fails.
        """
        from .check import run_check

        return run_check(self.llm)

    def close(self) -> None:
        """Close the model with its connections, and the store."""
        self._sync.release_llm()
        with self._store_lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    @property
    def llm(self) -> ChatGLM:
        """The session-scoped model."""
        return self._sync.get_llm()

    @llm.setter
    def llm(self, llm: ChatGLM) -> None:
        self._sync.replace(llm)

    @property
    def chat_model(self) -> GLMChatModel:
        """A chat model with the settings of :attr:`llm`; changes by sliders and magics apply to it too.

        It is for agents, tools and structured output; its messages aren't part of the conversation.

        .. code-block:: python

            get_session().chat_model.bind_tools([get_weather]).invoke("What's the weather in Paris?")
        """
        from ..llm.chat_model import GLMChatModel

        llm = self.llm
        if self._chat_model is None or self._chat_model.source is not llm:
            self._chat_model = GLMChatModel.from_llm(llm, mirror=True)
        self._chat_model.snapshot()  # updates its fields
        return self._chat_model

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn of the conversation in order, whatever its status."""
        with self._lock:
            if self._sync.has_llm:
                self._sync_with_llm()
            return tuple(self._log.conversation.turns)

    @property
    def versions(self) -> tuple[Versions, ...]:
        """The prompts and answers of the conversation in order, each with its earlier versions.

        A turn whose answer is pending is included, in its last saved state.
        """
        with self._lock:
            if self._sync.has_llm:
                self._sync_with_llm()
            return tuple(self._log.conversation.versions())

    @property
    def conversation(self) -> str:
        """The id of the current conversation: 12 hex digits."""
        return self._log.conversation.id

    @property
    def turns_in_context(self) -> int:
        """How many earlier turns the next request includes."""
        with self._lock:
            self._sync_with_llm()
            return len(self._log.conversation.pairs()) if self.llm.with_history else 0

    @property
    def store(self) -> Store:
        """The store of all turns: a file, or memory with ``store=off``."""
        return self._open_store()

    @property
    def history(self) -> History:
        """The stored turns of the current conversation, to filter, sort and slice; ``.all`` has those of all."""
        with self._lock:
            from ..store import History, Query

            if self._sync.has_llm:
                self._sync_with_llm()
            return History(self.store, Query(conversation=self.conversation))

    def choose_version(self, turn: str) -> None:
        """Use another version of an answer, a turn given by its id, in the conversation."""
        self._change(lambda: self._log.choose_version(turn))

    def undo(self) -> Turn | None:
        """Remove the last turn from the conversation; return it."""
        return self._change(self._log.undo)

    def reset(self) -> None:
        """Begin a new conversation; the previous one stays in the store."""
        self._change(self._log.reset)

    def resume(self, conversation: str | None = None) -> int:
        """Resume a stored conversation, by default the newest other one; return its number of turns.

        :raises ChatGLMError: if there is no such conversation.
        """
        return self._change(lambda: self._log.resume(conversation))

    def fork(self, turn: str | None, *, before: bool = False) -> str:
        """Begin a conversation that ends with a turn, given by its id, or ``before`` it; return the new id.

        The turn's context is copied; the other conversation isn't changed.

        :raises ChatGLMError: if no turn has that id.
        """
        return self._change(lambda: self._log.fork(turn, before=before))

    def delete(self, ids: Sequence[str]) -> int:
        """Permanently delete turns by their ids; return how many there were."""
        return self._change(lambda: self._log.delete(ids))

    def forget(self, *, everything: bool = False) -> int:
        """Permanently delete the current conversation, or all; return how many turns were deleted."""
        return self._change(lambda: self._log.forget(everything=everything))

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of the turns; return a function that removes it."""
        return self._listeners.add(listener)

    def begin_turn(self, point: InsertionPoint, turn: Turn) -> Entry:
        """Insert a turn whose answer is pending."""
        with self._lock:
            self._sync_with_llm()
            entry = self._log.begin_turn(point, turn)
            self._write_llm_history()
            return entry

    def update_turn(self, entry: Entry, turn: Turn) -> None:
        """Save the text that a pending answer has so far."""
        with self._lock:
            if entry.pending:
                entry.turn = turn
                self._log.save(entry)

    def finish_turn(self, entry: Entry, turn: Turn) -> None:
        """Save a finished turn in the place of its pending one."""
        with self._lock:
            self._sync_with_llm()
            self._log.finish_turn(entry, turn)
            self._write_llm_history()
        self._listeners.call()

    def _change(self, act: Callable[[], T]) -> T:
        """Change the conversation and call the listeners."""
        with self._lock:
            self._sync_with_llm()
            result = act()
            self._write_llm_history()
        self._listeners.call()
        return result

    def _sync_with_llm(self) -> None:
        """Apply changes made through the settings or the model since the last call."""
        self._sync.apply_unobserved()
        self._log.adopt([(prompt, answer) for prompt, answer in self.llm.history])

    def _write_llm_history(self) -> None:
        """Copy the conversation to ``llm.history``, where ``session.llm.invoke`` reads it."""
        self.llm.history = [list(pair) for pair in self._log.conversation.pairs()]

    def _open_store(self) -> Store:
        """Return the store that the setting names; a new one if the setting has changed."""
        with self._store_lock:  # the import too: a child forked during it could never finish it
            from ..store import Store

            if self._store is None or self._store_setting != self.settings.store:
                if self._store is not None:
                    self._store.close()
                self._store_setting = self.settings.store
                self._store = Store(store_path(self._store_setting))
            return self._store

    def _activate(
        self,
        prompt: str,
        options: dict[str, Any],
        interrupts: Interrupts,
        *,
        view: View | None,
        history: bool,
        record: bool,
        kind: Kind,
        replaces: str | None,
        cell: tuple[str | None, int],
        id: str = "",
    ) -> ActiveTurn:
        with self._lock:
            from .active_turn import ActiveTurn

            self._sync_with_llm()
            point = self._log.insertion_point(cell, replaces)
            if not history:
                point = replace(point, history=())
            if not record or kind != "chat":
                point = replace(point, superseded=())
            turn = Turn(
                prompt=prompt,
                cell_id=cell[0],
                cell_run=cell[1],
                kind=kind,
                outside=not history or kind != "chat" or not self.llm.with_history,
                id=(id or uuid.uuid4().hex) if record else "",
                conversation=self.conversation if record else "",
            )
            active = ActiveTurn(self, turn, point, options, view or NoView(), interrupts, record=record)
        if record:
            self._listeners.call()  # outside the lock: listeners acquire their own locks
        return active


async def _raise_when_awaited(error: ChatGLMError) -> Answer:
    raise error


_current: Session | None = None


def get_session(shell: Any | None = None) -> Session:
    """Return the session of this process; the first call makes it, configured by ``shell`` if given."""
    global _current
    if _current is None:
        _current = Session(shell)
    elif shell is not None and _current.settings.parent is not shell:
        apply_config(_current.settings, shell)
    return _current


def resolve_session(session: Session | None) -> Session:
    """Return the given session, or by default that of this process.

    :raises ParameterError: for anything but a session.
    """
    if session is not None and not isinstance(session, Session):
        raise ParameterError(
            f"session must be a chatglm_magic.Session, not {type(session).__name__}. "
            "Omit it to use the current session. Another model goes in with get_session().llm = …."
        )
    return get_session() if session is None else session


def end_session() -> None:
    """Close the session of this process; the next :func:`get_session` makes a new one."""
    global _current
    session, _current = _current, None
    if session is not None:
        session.close()
