"""The middle of the viewer: a conversation as a transcript, and what can be done with its turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...errors import CommandError
from ...render.blocks import BlockRenderer
from ...render.text import format_time, plural
from ...render.views import describe_activity
from ...session import Session
from ...store import Query, Row
from .. import look
from ..transcript import Message, Notice, Transcript
from .asking import Asking
from .calls import CallbackGuard
from .confirm import Delete
from .facts import title
from .messages import grouped, messages_of, prompt_message, thinking_blocks

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn
    from .selection import Selection

PAGE = 20
"""Turns that are shown at once."""

NOTHING = "Choose a conversation."


class Reader(w.VBox):  # type: ignore[misc]
    """One conversation, a page of its turns at a time, or nothing.

    :param selection: which turns are selected.
    :param delete: deletes turns.
    :param moved: is called when another conversation, or another turn of it, is opened here.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        selection: Selection,
        *,
        delete: Callable[[Sequence[str]], object],
        moved: Callable[[], object],
    ) -> None:
        self._session, self._guard, self._selection, self._moved = session, guard, selection, moved
        self._query: Query | None = None
        self._offset = self._count = 0
        self._wanted: set[str] = set()  # versions that are shown though they were replaced
        self._live: list[Message] = []  # of the answer under way
        self._blocks = BlockRenderer()
        self.rows: list[Row] = []
        self.turn: str | None = None
        """The id of the turn that was opened."""
        self.asking = Asking(session, guard, self)
        self.heading = look.Html()
        self.go_on = look.button("Continue this conversation", tooltip="New prompts follow its turns")
        self.all = look.button("Select all", tooltip="Select every turn of this conversation")
        self.stop = look.button("Stop")
        self.earlier, self.later = look.button("Earlier turns"), look.button("Later turns")
        self.delete = Delete(guard, lambda: self._deletes, delete)
        self.transcript = Transcript(empty=NOTHING)
        self._deletes: tuple[str, ...] = ()
        head = look.with_class(look.row(self.heading, look.row(self.stop, self.go_on, self.all)), "chatglm-head")
        self._pages = look.row(self.earlier, self.later)
        super().__init__([head, guard.status, self.delete, self._pages, self.transcript])
        self.add_class("chatglm-reader")
        self.go_on.on_click(guard.handler(self._continue))
        self.all.on_click(guard.handler(self._select_all))
        self.stop.on_click(guard.handler(self.asking.stop))
        self.earlier.on_click(guard.handler(lambda: self._turn_to(self._offset - PAGE)))
        self.later.on_click(guard.handler(lambda: self._turn_to(self._offset + PAGE)))
        self.transcript.on_action(self._act)
        self.stop.layout.display = self.delete.layout.display = "none"
        self._draw()

    @property
    def conversation(self) -> str | None:
        """The id of the conversation that is shown."""
        return self._query.conversation if self._query else None

    def show(self, conversation: str, row: Row | None = None) -> None:
        """Show a conversation at a turn of it, or at its end; from its beginning if it has no more than a page."""
        self._query = Query(conversation=conversation, order="position")
        numbers = self._session.store.numbers(self._query)
        at = numbers.index(row.number) if row is not None and row.number in numbers else len(numbers) - 1
        self.turn = row.turn.id if row is not None else None
        self._wanted = {self.turn} if self.turn else set()
        self._offset = max(at, 0) // PAGE * PAGE
        self._read()
        self._forget()
        begin = self.rows[0 if self._count <= PAGE else -1].turn.id if self.rows else ""
        self._draw(reveal=self._id_of(self.turn or begin))

    def leave(self) -> None:
        """Show nothing."""
        self._query, self.turn, self.rows, self._count = None, None, [], 0
        self._forget()
        self._draw()

    def refresh(self) -> None:
        """Read what is shown again, since turns came, changed or were deleted."""
        if self._query is None:
            return
        self._read()
        if self.turn is not None and not any(row.turn.id == self.turn for row in self.rows):
            self.turn = None
        if not self._count and not self._live:
            self.leave()
        else:
            self._draw()

    def mark(self) -> None:
        """Bring the boxes up to date with what is selected."""
        self._draw()

    # --- the answer under way ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """An answer is awaited."""
        self._live, self._blocks = [], BlockRenderer()
        self.stop.layout.display = None

    def stream(self, draft: Draft) -> int:
        """Show the answer as far as it has come, in its place, or after all that is shown."""
        waiting = describe_activity(draft)
        answer = Message(
            f"a{draft.base.id}",
            label=draft.model or draft.base.model or "GLM",
            blocks=(*thinking_blocks(draft.reasoning), *self._blocks.update(draft.text, ended=False)),
            notice=Notice(waiting) if waiting else None,
            busy=True,
        )
        begun = not self._live
        self._live = [replace(prompt_message(draft.base), actions=("copy",)), answer]
        if begun or answer.id not in self.transcript:
            self._draw(reveal=answer.id)
            return sum(map(len, answer.blocks))
        return self.transcript.put(answer)

    def end(self, turn: Turn | None) -> None:
        """Show the turn that the answer has become, in its conversation."""
        self._live = []
        stored = self._session.store.find(Query(ids=(turn.id,))) if turn is not None else []
        if stored:
            self.show(stored[0].turn.conversation, stored[0])
        self._moved()

    def rest(self) -> None:
        """No answer is awaited any more."""
        self.stop.layout.display = "none"

    # --- what is done with turns -------------------------------------------------------------------------------

    def _act(self, action: str, message: str, values: dict[str, Any]) -> None:
        """Do what is pressed at a message, if its turn is still shown."""
        acts: dict[str, Callable[[Row, dict[str, Any]], object]] = {
            "again": self._again,
            "edit": self._fork,
            "branch": self._branch,
            "delete": self._ask_delete,
            "select": lambda row, values: self._selection.set(
                [row.turn.id], selected=bool(values.get("selected"))
            ),
            "version": self._choose,
        }

        def act() -> None:
            row = next((row for row in self.rows if row.turn.id == message[1:]), None)
            if row is None:
                raise CommandError("That turn is no longer shown: open it again.")
            acts[action](row, values)

        if action in acts:
            self._guard.handler(act)()

    def _again(self, row: Row, values: dict[str, Any]) -> None:
        turn = row.turn
        part = turn.kind == "chat" and turn.status != "superseded" and not turn.outside
        if part and any(other.id == turn.id for other in self._session.turns):
            self.asking.ask(turn.prompt, replaces=turn.id)
        else:  # another conversation's turn, or one that is no part of any, must not enter the present one
            self.asking.ask(turn.prompt, history=False)

    def _fork(self, row: Row, values: dict[str, Any]) -> None:
        prompt = values.get("text")
        if not isinstance(prompt, str) or not prompt.strip():
            raise CommandError("The new prompt is empty.")
        self.asking.ask(prompt, first=lambda: self._session.fork(row.turn.id, before=True))

    def _branch(self, row: Row, values: dict[str, Any]) -> None:
        conversation = self._session.fork(row.turn.id)
        self.show(conversation)
        self._moved()
        self._guard.show_status("This branch is the current conversation now: the next prompt follows its turns.")

    def _ask_delete(self, row: Row, values: dict[str, Any]) -> None:
        self._deletes = (row.turn.id,)
        self.delete.layout.display = None
        self.delete.ask()

    def _choose(self, row: Row, values: dict[str, Any]) -> None:
        """Show another version of an answer; the conversation keeps the one that it has."""
        group = next(group for group in grouped(self.rows) if row in group)
        number = values.get("number")
        if isinstance(number, int) and 1 <= number <= len(group):
            self._wanted -= {other.turn.id for other in group}
            self._wanted.add(group[number - 1].turn.id)
            self._forget()
            self._draw()

    def _continue(self) -> None:
        if self.conversation not in (None, self._session.conversation):
            count = self._session.resume(self.conversation)
            self._draw()
            self._moved()
            self._guard.show_status(f"Switched to this conversation ({plural(count, 'turn')}).")

    def _select_all(self) -> None:
        if self._query is not None:
            self._selection.add(row.turn.id for row in self._session.store.find(self._query))

    def _turn_to(self, offset: int) -> None:
        self._offset = max(0, min(offset, (self._count - 1) // PAGE * PAGE))
        self._read()
        self._forget()
        self._draw(reveal=f"q{self.rows[0].turn.id}" if self.rows else "")

    # --- showing -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        assert self._query is not None
        store = self._session.store
        self._count = store.count(self._query)
        self._offset = min(self._offset, max(self._count - 1, 0) // PAGE * PAGE)
        self.rows = store.find(self._query, offset=self._offset, limit=PAGE)

    def _forget(self) -> None:
        """Ask no more whether to delete a turn."""
        self._deletes = ()
        self.delete.forget()
        self.delete.layout.display = "none"

    def _draw(self, reveal: str = "") -> None:
        if self._deletes and not self.delete.asks:
            self.delete.layout.display = "none"
        present = self.conversation == self._session.conversation
        self.heading.value = self._heading(present=present)
        for button, is_shown in (
            (self.go_on, self._query is not None and not present),
            (self.all, bool(self.rows)),
            (self.earlier, self._offset > 0),
            (self.later, self._offset + PAGE < self._count),
        ):
            button.layout.display = None if is_shown else "none"
        self._pages.layout.display = None if self._count > PAGE else "none"
        messages = messages_of(grouped(self.rows), self._wanted, self._selection.ids.__contains__)
        self.transcript.show(_with_live(messages, self._live), reveal=reveal)

    def _heading(self, *, present: bool) -> str:
        if not self.rows:
            return ""
        first = top = self.rows[0].turn
        last = self.rows[-1].turn
        if self._offset and self._query is not None:
            top = self._session.store.find(self._query, limit=1)[0].turn
        place = f"turns {self._offset + 1:,}–{self._offset + len(self.rows):,} of " if self._count > PAGE else ""
        times = list(dict.fromkeys([format_time(first.created), format_time(last.created)]))
        facts = [
            place + plural(self._count, "turn"),
            " – ".join(times),
            "the current conversation" if present else "",
        ]
        return look.heading_html(title(top.prompt)) + look.small_html(" · ".join(fact for fact in facts if fact))

    def _id_of(self, turn: str) -> str:
        """Return the id of the message with which a turn begins."""
        return next(
            (f"q{turn}" for row in self.rows if row.turn.id == turn and row.turn.kind == "chat"), f"a{turn}"
        )


def _with_live(messages: list[Message], live: list[Message]) -> list[Message]:
    """Put the answer under way into its place, or at the end."""
    if not live:
        return messages
    now = {message.id: message for message in live}
    there = {message.id for message in messages}
    return [now.get(message.id, message) for message in messages] + [m for m in live if m.id not in there]
