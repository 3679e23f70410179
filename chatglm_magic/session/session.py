"""``Session``: the ``ChatGLM`` of a kernel, its settings, its conversation, and the one path of a prompt."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ChatGLMError, ParameterError
from ..forks import LockOrder, fork_safe_lock
from ..listeners import Listeners
from ..values import Answer, Kind, Turn
from .conversation import ConversationLog, Entry, Place, Versions
from .draft import NoView, View
from .interrupts import Interrupts
from .settings import ChatGLMSettings, SettingsSync, apply_config, make_settings

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..client.probe import Finding
    from ..client.request import Call
    from ..llm import ChatGLM
    from ..llm.chat_model import GLMChatModel
    from ..store import History, Store
    from .active_turn import ActiveTurn
    from .check import Check

T = TypeVar("T")

STORE_FILE = "history.sqlite"
STORE_ENDINGS = (".sqlite", ".sqlite3", ".db")


class Session:
    """One conversation at a time with one model, in memory and in the store.

    ``settings`` and ``llm`` hold the same parameters: a change of one shows in the other.

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
        self.served: tuple[str, str | None] | None = None
        """Address and model of the local server that ``%chatglm_serve`` started; None is the built-in model."""

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
        """Ask in this thread; return the answer, which is a ``str`` that knows its turn.

        :param view: is told of the answer while it arrives.
        :param history: False asks outside the conversation: no turn is sent, and this one will not be.
        :param record: False keeps no turn of it.
        :param kind: anything but ``chat`` is recorded outside the conversation.
        :param replaces: the id of the turn whose place this one takes; it sees what that one saw.
        :param options: values for this question alone: fields of ``ChatGLM``, or further keys of the body.
        :raises ChatGLMError: after the turn, with what was received, was kept.
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
        """Ask as a task; a cancelled one keeps what was received. Otherwise as :meth:`ask`.

        The request is settled now, not when the task first runs; what can't be asked is raised when it is awaited.

        :param id: of the turn, 32 hex digits; a new one unless it is given.
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
            return _raise(error)
        return active.asend()

    def submit(self, question: Coroutine[Any, Any, T]) -> Future[T]:
        """Run what :meth:`aask` returned, or another coroutine, on the package's loop thread.

        The future can be cancelled.
        """
        from ..client.loop import LOOP

        return LOOP.submit(question)

    def explicit_parameters(self) -> dict[str, Any]:
        """Return the parameters the user has set, by name."""
        return self._sync.explicit_parameters()

    def preview(self, prompt: str, *, history: bool = True, **options: Any) -> Call:
        """Return the exact request a question would send now; nothing is sent and nothing superseded."""
        with self._lock:
            self._sync_with_llm()
            seen = self._log.place(self.cell, None).history if history else ()
        return self.llm.plan(prompt, **{**options, "history": [list(pair) for pair in seen]}).call

    def sync_with_llm(self) -> None:
        """Take over what was set to its present value, or changed in ``llm.history``: neither is observed."""
        with self._lock:
            self._sync_with_llm()

    def set_parameter(self, name: str, value: Any) -> None:
        """Set a parameter; a value that it has already is a choice too, and sent from now on.

        :raises TraitError: for a value that the parameter doesn't take.
        """
        self._sync.set_parameter(name, value)

    def reset_parameter(self, name: str) -> None:
        """Put a parameter back to its default, as if it had never been set."""
        self._sync.reset_parameter(name)

    def slider_range(self, name: str) -> tuple[float, float]:
        """Return the range of temperature, top_p or max_token that the server takes, as far as known."""
        return self._sync.slider_range(name)

    @property
    def thinking_levels(self) -> tuple[str, ...]:
        """The levels of ``thinking`` that the present model has on the present server; all if it isn't known."""
        from ..wire.openai import server_of
        from ..wire.thinking import levels_of

        settings = self.settings
        return levels_of(settings.model, server_of(settings.endpoint_url))

    def probe(self, **options: Any) -> Finding:
        """Look once what answers at the endpoint, or at a question's own: one GET, at most 2 s, never fatal."""
        from ..client.probe import probe

        plan = self.llm.plan("", **options)
        return probe(plan.endpoint_url, plan.dialect, plan.call.headers)

    def check(self) -> Check:
        """Find out what the server at hand really honours, with at most ten short requests.

        .. code-block:: python

            found = get_session().check()
            found["seed"].verdict, found.to_dataframe()

        No conversation is sent or changed, nothing is recorded, and the tape isn't used.

        :raises ChatGLMError: if the first, plain request fails.
        """
        from .check import run_check

        return run_check(self.llm)

    def close(self) -> None:
        """Let go of connections, of the model and of the store."""
        self._sync.release_llm()
        with self._store_lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    @property
    def llm(self) -> ChatGLM:
        """The session-scoped model."""
        return self._sync.llm()

    @llm.setter
    def llm(self, llm: ChatGLM) -> None:
        self._sync.replace(llm)

    @property
    def chat_model(self) -> GLMChatModel:
        """The chat model with the settings of :attr:`llm`, which it follows: sliders and magics change it too.

        It is for agents, tools and structured output; what it is asked isn't part of the conversation.

        .. code-block:: python

            get_session().chat_model.bind_tools([get_weather]).invoke("What's the weather in Paris?")
        """
        from ..llm.chat_model import GLMChatModel

        llm = self.llm
        if self._chat_model is None or self._chat_model.source is not llm:
            self._chat_model = GLMChatModel.from_llm(llm, mirror=True)
        self._chat_model.snapshot()  # its fields are as the sliders are now
        return self._chat_model

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn of the conversation, in its order, whatever became of it."""
        with self._lock:
            if self._sync.has_llm:
                self._sync_with_llm()
            return tuple(self._log.conversation.turns)

    @property
    def versions(self) -> tuple[Versions, ...]:
        """What is asked and answered in the conversation, in order, each with its earlier versions.

        An answer under way is there too, as it was when it was asked.
        """
        with self._lock:
            if self._sync.has_llm:
                self._sync_with_llm()
            return tuple(self._log.conversation.versions())

    @property
    def conversation(self) -> str:
        """The id of the present conversation: 12 hex digits."""
        return self._log.conversation.id

    @property
    def turns_in_context(self) -> int:
        """How many earlier turns go along with the next question."""
        with self._lock:
            self._sync_with_llm()
            return len(self._log.conversation.pairs()) if self.llm.with_history else 0

    @property
    def store(self) -> Store:
        """Where every turn is kept: a file, or with ``store=off`` memory."""
        return self._open_store()

    @property
    def history(self) -> History:
        """The stored turns of the present conversation, to filter, sort and slice; ``.all`` has every one's."""
        with self._lock:
            from ..store import History, Query

            if self._sync.has_llm:
                self._sync_with_llm()
            return History(self.store, Query(conversation=self.conversation))

    def choose_version(self, turn: str) -> None:
        """Let another version of an answer, a turn by its id, be the one that is part of the conversation."""
        self._change(lambda: self._log.choose_version(turn))

    def undo(self) -> Turn | None:
        """Take the last turn back; return it."""
        return self._change(self._log.undo)

    def reset(self) -> None:
        """Begin a new conversation; the one before stays in the store."""
        self._change(self._log.reset)

    def resume(self, conversation: str | None = None) -> int:
        """Go on with a stored conversation, by default the newest other one; return how many turns it has.

        :raises ChatGLMError: if there is none.
        """
        return self._change(lambda: self._log.resume(conversation))

    def fork(self, turn: str | None, *, before: bool = False) -> str:
        """Begin a conversation that ends with a turn, by its id, or right ``before`` it; return the new one's id.

        What that turn saw is copied; the other conversation stays as it is.

        :raises ChatGLMError: if no turn has that id.
        """
        return self._change(lambda: self._log.fork(turn, before=before))

    def delete(self, ids: Sequence[str]) -> int:
        """Take turns out for good, by their ids; return how many there were."""
        return self._change(lambda: self._log.delete(ids))

    def forget(self, *, everything: bool = False) -> int:
        """Forget the present conversation, or all of them, for good; return how many turns that were."""
        return self._change(lambda: self._log.forget(everything=everything))

    def on_change(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each change of the turns; return what ends that."""
        return self._listeners.add(listener)

    def begin_turn(self, place: Place, turn: Turn) -> Entry:
        """Hold a place for an answer under way."""
        with self._lock:
            self._sync_with_llm()
            entry = self._log.begin(place, turn)
            self._write_llm_history()
            return entry

    def update_turn(self, entry: Entry, turn: Turn) -> None:
        """Store an answer under way as far as it has come."""
        with self._lock:
            if entry.pending:
                entry.turn = turn
                self._log.put(entry)

    def finish_turn(self, entry: Entry, turn: Turn) -> None:
        """Put a finished turn into its place."""
        with self._lock:
            self._sync_with_llm()
            self._log.finish(entry, turn)
            self._write_llm_history()
        self._listeners.call()

    def _change(self, act: Callable[[], T]) -> T:
        """Change the conversation, and tell those who follow it."""
        with self._lock:
            self._sync_with_llm()
            result = act()
            self._write_llm_history()
        self._listeners.call()
        return result

    def _sync_with_llm(self) -> None:
        """Take over what was changed through the other handles since the last look."""
        self._sync.apply_unobserved()
        self._log.adopt([(q, a) for q, a in self.llm.history])

    def _write_llm_history(self) -> None:
        """Write the conversation to where ``session.llm.invoke`` reads it."""
        self.llm.history = [list(pair) for pair in self._log.conversation.pairs()]

    def _open_store(self) -> Store:
        """Return the store that the setting names; another one once the setting has changed."""
        with self._store_lock:  # imports too: a child that is forked amid one could never do it
            from ..store import Store

            if self._store is None or self._store_setting != self.settings.store:
                if self._store is not None:
                    self._store.close()
                self._store_setting = self.settings.store
                self._store = Store(_place(self._store_setting))
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
            place = self._log.place(cell, replaces)
            supersedes = record and kind == "chat"
            place = replace(place, history=place.history if history else (), old=place.old if supersedes else ())
            turn = Turn(
                prompt=prompt,
                cell_id=cell[0],
                cell_run=cell[1],
                kind=kind,
                outside=not history or kind != "chat" or not self.llm.with_history,
                id=(id or uuid.uuid4().hex) if record else "",
                conversation=self.conversation if record else "",
            )
            active = ActiveTurn(self, turn, place, options, view or NoView(), interrupts, record=record)
        if record:
            self._listeners.call()  # outside the lock: who follows the session takes locks of its own
        return active


async def _raise(error: ChatGLMError) -> Answer:
    raise error


def _place(setting: str | None) -> Path | None:
    """Return the file that the setting ``store`` means; None for ``off``."""
    from ..store import Store

    if setting is None:
        return Store.default_path()
    if setting.lower() == "off":
        return None
    path = Path(setting).expanduser()
    return path if path.suffix in STORE_ENDINGS else path / STORE_FILE


_current: Session | None = None


def get_session(shell: Any | None = None) -> Session:
    """Return this process' session; the first call makes it, configured by ``shell`` where there is one."""
    global _current
    if _current is None:
        _current = Session(shell)
    elif shell is not None and _current.settings.parent is not shell:
        apply_config(_current.settings, shell)
    return _current


def resolve_session(given: Session | None) -> Session:
    """Return the session that was given, or else this process' own.

    :raises ParameterError: for anything but a session.
    """
    if given is not None and not isinstance(given, Session):
        raise ParameterError(
            f"session must be a chatglm_magic.Session, not {type(given).__name__}. "
            "Omit it to use the current session. Another model goes in with get_session().llm = …."
        )
    return get_session() if given is None else given


def end_session() -> None:
    """Forget the session and close its connections."""
    global _current
    session, _current = _current, None
    if session is not None:
        session.close()
