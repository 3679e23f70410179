"""The turns of a session: reading, changing and following them; the model's own history is kept alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..forks import Rank, lock
from ..values import Turn
from .conversation import Entry
from .handles import Handles
from .record import Record
from .settings import settings_for
from .storing import Storing

if TYPE_CHECKING:
    from ..llm import ChatGLM
    from ..store import History, Store
    from .conversation import Place

T = TypeVar("T")
log = logging.getLogger(__name__)


class Past:
    """One conversation at a time, in memory and in the store; who follows it is told of each change."""

    def __init__(self, shell: Any | None = None) -> None:
        self._lock = lock(Rank.SESSION)
        self._listeners: list[Callable[[], None]] = []
        self._handles = Handles(settings_for(shell))
        self._storing = Storing(self._handles.settings)
        self._record = Record(lambda: self._storing.store)

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
            return tuple(self._record.conversation.turns)

    @property
    def conversation(self) -> str:
        """The id of the present conversation: 12 hex digits."""
        return self._record.conversation.id

    @property
    def context(self) -> int:
        """How many earlier turns go along with the next question."""
        with self._lock:
            self._settle()
            return len(self._record.conversation.pairs()) if self.llm.with_history else 0

    @property
    def store(self) -> Store:
        """Where every turn is kept: a file, or with ``store=off`` memory."""
        return self._storing.store

    @property
    def history(self) -> History:
        """The stored turns of the present conversation, to filter, sort and slice; ``.all`` has every one's."""
        with self._lock:
            from ..store import History, Query

            if self._handles.made:
                self._settle()
            return History(self.store, Query(conversation=self.conversation))

    def undo(self) -> Turn | None:
        """Take the last turn back; return it."""
        return self._change(self._record.undo)

    def reset(self) -> None:
        """Begin a new conversation; the one before stays in the store."""
        self._change(self._record.reset)

    def resume(self, conversation: str | None = None) -> int:
        """Go on with a stored conversation, by default the newest other one; return how many turns it has.

        :raises ChatGLMError: if there is none.
        """
        return self._change(lambda: self._record.resume(conversation))

    def fork(self, turn: str | None, *, before: bool = False) -> str:
        """Begin a conversation that ends with a turn, by its id, or right ``before`` it; return the new one's id.

        What that turn saw is copied; the other conversation stays as it is.

        :raises ChatGLMError: if no turn has that id.
        """
        return self._change(lambda: self._record.fork(turn, before=before))

    def delete(self, ids: Sequence[str]) -> int:
        """Take turns out for good, by their ids; return how many there were."""
        return self._change(lambda: self._record.delete(ids))

    def forget(self, *, everything: bool = False) -> int:
        """Forget the present conversation, or all of them, for good; return how many turns that were."""
        return self._change(lambda: self._record.forget(everything=everything))

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
            entry = self._record.begin(place, turn)
            self._publish()
            return entry

    def progress(self, entry: Entry, turn: Turn) -> None:
        """Store an answer under way as far as it has come."""
        with self._lock:
            if entry.pending:
                entry.turn = turn
                self._record.put(entry)

    def keep(self, entry: Entry, turn: Turn) -> None:
        """Put a finished turn into its place."""
        with self._lock:
            self._settle()
            self._record.finish(entry, turn)
            self._publish()
        self._changed()

    def _change(self, act: Callable[[], T]) -> T:
        """Change the conversation, and tell those who follow it."""
        with self._lock:
            self._settle()
            result = act()
            self._publish()
        self._changed()
        return result

    def _settle(self) -> None:
        """Take over what was changed through the other handles since the last look."""
        self._handles.settle()
        self._record.adopt([(q, a) for q, a in self.llm.history])

    def _publish(self) -> None:
        """Write the conversation to where ``session.llm.invoke`` reads it."""
        self.llm.history = [list(pair) for pair in self._record.conversation.pairs()]

    def _changed(self) -> None:
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:  # what follows the session must not cost anybody an answer
                log.exception("A listener of the session failed.")
