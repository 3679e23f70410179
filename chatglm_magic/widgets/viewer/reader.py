"""The reading pane of the viewer: a conversation as a transcript, and the actions on its turns."""

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
from ..transcript import Message, MessageNotice, Transcript
from .asking import PromptSender
from .calls import CallbackGuard
from .confirm import DeleteButton
from .facts import prompt_line
from .messages import collapsed_thinking, group_versions, prompt_message, transcript_messages

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn
    from .selection import Selection

TURNS_PER_PAGE = 20

EMPTY_TEXT = "Choose a conversation."


class Reader(w.VBox):  # type: ignore[misc]
    """One conversation, a page of its turns at a time, or nothing.

    :param delete: is called with the ids of turns to delete.
    :param on_move: is called when another conversation or turn is opened here.
    """

    def __init__(
        self,
        session: Session,
        guard: CallbackGuard,
        selection: Selection,
        *,
        delete: Callable[[Sequence[str]], object],
        on_move: Callable[[], object],
    ) -> None:
        self._session, self._guard, self._selection, self._on_move = session, guard, selection, on_move
        self._query: Query | None = None
        self._offset = self._count = 0
        self._chosen_versions: set[str] = set()  # ids of versions to show instead of the current ones
        self._pending: list[Message] = []  # the pending prompt and answer
        self._blocks = BlockRenderer()
        self.rows: list[Row] = []
        self.turn: str | None = None
        """The id of the turn that was opened."""
        self.sender = PromptSender(session, guard, self)
        self.heading = look.Html()
        self.continue_here = look.button("Continue this conversation", tooltip="New prompts follow its turns")
        self.select_all = look.button("Select all", tooltip="Select every turn of this conversation")
        self.stop = look.button("Stop")
        self.earlier, self.later = look.button("Earlier turns"), look.button("Later turns")
        self.delete = DeleteButton(guard, lambda: self._ids_to_delete, delete)
        self.transcript = Transcript(empty=EMPTY_TEXT)
        self._ids_to_delete: tuple[str, ...] = ()
        buttons = look.row(self.stop, self.continue_here, self.select_all)
        head = look.with_class(look.row(self.heading, buttons), "chatglm-head")
        self._pages = look.row(self.earlier, self.later)
        super().__init__([head, guard.status, self.delete, self._pages, self.transcript])
        self.add_class("chatglm-reader")
        self.continue_here.on_click(guard.handler(self._continue))
        self.select_all.on_click(guard.handler(self._select_all))
        self.stop.on_click(guard.handler(self.sender.stop))
        self.earlier.on_click(guard.handler(lambda: self._show_page(self._offset - TURNS_PER_PAGE)))
        self.later.on_click(guard.handler(lambda: self._show_page(self._offset + TURNS_PER_PAGE)))
        self.transcript.on_action(self._act)
        self.stop.layout.display = self.delete.layout.display = "none"
        self._draw()

    @property
    def conversation(self) -> str | None:
        """The id of the conversation that is shown."""
        return self._query.conversation if self._query else None

    def show(self, conversation: str, row: Row | None = None) -> None:
        """Show a conversation at a turn, or at its end; from its beginning if it fits on one page."""
        self._query = Query(conversation=conversation, order="position")
        numbers = self._session.store.numbers(self._query)
        index = numbers.index(row.number) if row is not None and row.number in numbers else len(numbers) - 1
        self.turn = row.turn.id if row is not None else None
        self._chosen_versions = {self.turn} if self.turn else set()
        self._offset = max(index, 0) // TURNS_PER_PAGE * TURNS_PER_PAGE
        self._load()
        self._cancel_deletion()
        begin = self.rows[0 if self._count <= TURNS_PER_PAGE else -1].turn.id if self.rows else ""
        self._draw(reveal=self._message_id(self.turn or begin))

    def leave(self) -> None:
        """Show nothing."""
        self._query, self.turn, self.rows, self._count = None, None, [], 0
        self._cancel_deletion()
        self._draw()

    def refresh(self) -> None:
        """Load the conversation again after turns were added, changed or deleted."""
        if self._query is None:
            return
        self._load()
        if self.turn is not None and not any(row.turn.id == self.turn for row in self.rows):
            self.turn = None
        if not self._count and not self._pending:
            self.leave()
        else:
            self._draw()

    def update_selection(self) -> None:
        """Show which turns are selected."""
        self._draw()

    # --- the pending answer ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Show that an answer is pending."""
        self._pending, self._blocks = [], BlockRenderer()
        self.stop.layout.display = None

    def stream(self, draft: Draft) -> int:
        """Show the answer so far, in its place or at the end; return the number of characters sent to the page."""
        waiting = describe_activity(draft)
        answer = Message(
            f"a{draft.base.id}",
            label=draft.model or draft.base.model or "GLM",
            blocks=(*collapsed_thinking(draft.reasoning), *self._blocks.update(draft.text, ended=False)),
            notice=MessageNotice(waiting) if waiting else None,
            busy=True,
        )
        is_first = not self._pending
        self._pending = [replace(prompt_message(draft.base), actions=("copy",)), answer]
        if is_first or answer.id not in self.transcript:
            self._draw(reveal=answer.id)
            return sum(map(len, answer.blocks))
        return self.transcript.put(answer)

    def end(self, turn: Turn | None) -> None:
        """Show the finished turn in its conversation."""
        self._pending = []
        stored = self._session.store.find(Query(ids=(turn.id,))) if turn is not None else []
        if stored:
            self.show(stored[0].turn.conversation, stored[0])
        self._on_move()

    def rest(self) -> None:
        """Show that no answer is pending."""
        self.stop.layout.display = "none"

    # --- actions on turns --------------------------------------------------------------------------------------

    def _act(self, action: str, message: str, values: dict[str, Any]) -> None:
        """Run the action of a message's button, if its turn is still shown."""
        actions: dict[str, Callable[[Row, dict[str, Any]], object]] = {
            "again": self._regenerate,
            "edit": self._send_edited,
            "branch": self._branch,
            "delete": self._confirm_deletion,
            "select": lambda row, values: self._selection.set_selected(
                [row.turn.id], selected=bool(values.get("selected"))
            ),
            "version": self._show_version,
        }

        def act() -> None:
            row = next((row for row in self.rows if row.turn.id == message[1:]), None)
            if row is None:
                raise CommandError("That turn is no longer shown: open it again.")
            actions[action](row, values)

        if action in actions:
            self._guard.handler(act)()

    def _regenerate(self, row: Row, values: dict[str, Any]) -> None:
        turn = row.turn
        in_conversation = turn.kind == "chat" and turn.status != "superseded" and not turn.outside
        if in_conversation and any(other.id == turn.id for other in self._session.turns):
            self.sender.send(turn.prompt, replaces=turn.id)
        else:  # a turn of another conversation, or of none, must not enter the current one
            self.sender.send(turn.prompt, history=False)

    def _send_edited(self, row: Row, values: dict[str, Any]) -> None:
        prompt = values.get("text")
        if not isinstance(prompt, str) or not prompt.strip():
            raise CommandError("The new prompt is empty.")
        self.sender.send(prompt, before=lambda: self._session.fork(row.turn.id, before=True))

    def _branch(self, row: Row, values: dict[str, Any]) -> None:
        conversation = self._session.fork(row.turn.id)
        self.show(conversation)
        self._on_move()
        self._guard.show_status("This branch is the current conversation now: the next prompt follows its turns.")

    def _confirm_deletion(self, row: Row, values: dict[str, Any]) -> None:
        self._ids_to_delete = (row.turn.id,)
        self.delete.layout.display = None
        self.delete.request_confirmation()

    def _show_version(self, row: Row, values: dict[str, Any]) -> None:
        """Show another version of an answer, without changing the conversation."""
        group = next(group for group in group_versions(self.rows) if row in group)
        number = values.get("number")
        if isinstance(number, int) and 1 <= number <= len(group):
            self._chosen_versions -= {other.turn.id for other in group}
            self._chosen_versions.add(group[number - 1].turn.id)
            self._cancel_deletion()
            self._draw()

    def _continue(self) -> None:
        if self.conversation not in (None, self._session.conversation):
            count = self._session.resume(self.conversation)
            self._draw()
            self._on_move()
            self._guard.show_status(f"Switched to this conversation ({plural(count, 'turn')}).")

    def _select_all(self) -> None:
        if self._query is not None:
            self._selection.add(row.turn.id for row in self._session.store.find(self._query))

    def _show_page(self, offset: int) -> None:
        self._offset = max(0, min(offset, (self._count - 1) // TURNS_PER_PAGE * TURNS_PER_PAGE))
        self._load()
        self._cancel_deletion()
        self._draw(reveal=f"q{self.rows[0].turn.id}" if self.rows else "")

    # --- display -----------------------------------------------------------------------------------------------

    def _load(self) -> None:
        assert self._query is not None
        store = self._session.store
        self._count = store.count(self._query)
        self._offset = min(self._offset, max(self._count - 1, 0) // TURNS_PER_PAGE * TURNS_PER_PAGE)
        self.rows = store.find(self._query, offset=self._offset, limit=TURNS_PER_PAGE)

    def _cancel_deletion(self) -> None:
        """Hide the confirmation of a deletion."""
        self._ids_to_delete = ()
        self.delete.cancel()
        self.delete.layout.display = "none"

    def _draw(self, reveal: str = "") -> None:
        if self._ids_to_delete and not self.delete.is_waiting:
            self.delete.layout.display = "none"
        is_current = self.conversation == self._session.conversation
        self.heading.value = self._heading(is_current=is_current)
        for button, is_visible in (
            (self.continue_here, self._query is not None and not is_current),
            (self.select_all, bool(self.rows)),
            (self.earlier, self._offset > 0),
            (self.later, self._offset + TURNS_PER_PAGE < self._count),
        ):
            button.layout.display = None if is_visible else "none"
        self._pages.layout.display = None if self._count > TURNS_PER_PAGE else "none"
        messages = transcript_messages(
            group_versions(self.rows), self._chosen_versions, self._selection.ids.__contains__
        )
        self.transcript.show(_with_pending(messages, self._pending), reveal=reveal)

    def _heading(self, *, is_current: bool) -> str:
        if not self.rows:
            return ""
        first = top = self.rows[0].turn
        last = self.rows[-1].turn
        if self._offset and self._query is not None:
            top = self._session.store.find(self._query, limit=1)[0].turn
        is_paged = self._count > TURNS_PER_PAGE
        place = f"turns {self._offset + 1:,}–{self._offset + len(self.rows):,} of " if is_paged else ""
        times = list(dict.fromkeys([format_time(first.created), format_time(last.created)]))
        facts = [
            place + plural(self._count, "turn"),
            " – ".join(times),
            "the current conversation" if is_current else "",
        ]
        return look.heading_html(prompt_line(top.prompt)) + look.small_html(
            " · ".join(fact for fact in facts if fact)
        )

    def _message_id(self, turn: str) -> str:
        """Return the id of a turn's first message."""
        return next(
            (f"q{turn}" for row in self.rows if row.turn.id == turn and row.turn.kind == "chat"), f"a{turn}"
        )


def _with_pending(messages: list[Message], pending: list[Message]) -> list[Message]:
    """Put the pending messages into their places, or at the end."""
    updated = {message.id: message for message in pending}
    known = {message.id for message in messages}
    return [updated.get(message.id, message) for message in messages] + [m for m in pending if m.id not in known]
