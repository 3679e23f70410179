"""The conversation of a panel: sends prompts, regenerates, branches and stops, and displays the answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...render.blocks import plain_blocks
from ...session import Session
from ...values import Kind, Turn
from ..asking import RequestRunner, ThrottledView
from ..debounce import Debouncer, Sleep
from ..messages import Message, MessageNotice
from ..still import StaticFallback, render_transcript
from ..trouble import ErrorReporter
from ..words import answer_facts, notice_of, speed_line
from .lanes import Lanes
from .place import WAITING_TEXT, PanelAnswer, answer_blocks, speaker_name

if TYPE_CHECKING:
    from ...session.conversation import Versions
    from ..transcript import Transcript

SETTLE_SECONDS = 0.25
"""Time without another change after which a slider has settled, in live mode."""

ANSWERED_TEXT, STOPPED_TEXT = "Answered.", "Stopped."

DOUBLE_CLICK_SECONDS = 0.5
"""The same prompt sent twice within this time is a double click, even if the first answer has already ended."""

MAX_PROMPTS = 40
"""Prompts of a conversation that a panel displays; the history has all of them."""

CONTINUE_PROMPT = "Continue."
CONTINUE_PROMPT_CHINESE = "请继续。"


class PanelConversation:
    """One panel's prompts and answers; the parameters of a prompt are those at the time it is sent.

    :param transcript: displays the conversation: a transcript with a composer, or its plain counterpart.
    """

    def __init__(
        self, session: Session, transcript: Transcript, reporter: ErrorReporter, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._session, self._transcript, self._reporter = session, transcript, reporter
        self.fallback = StaticFallback()
        self._lock = threading.RLock()
        self._lanes = Lanes()
        self._current_answer: PanelAnswer | None = None
        self._last_turn: Turn | None = None
        self._last_request = ("", "", -DOUBLE_CLICK_SECONDS)
        self._finished: dict[str, tuple[Turn, Message]] = {}
        self._blocks: dict[str, list[str]] = {}
        self._details: dict[str, tuple[str, str]] = {}
        self._runner = RequestRunner(session)
        self._debouncer = Debouncer(session, reporter, self._ask_live, delay=SETTLE_SECONDS, sleep=sleep)

    @property
    def turns(self) -> list[Turn]:
        """The finished turns of the conversation."""
        return [versions.turn for versions in self._versions() if not versions.pending]

    def handle_action(self, action: str, id: str, values: dict[str, Any]) -> bool:
        """Handle an action of the transcript; return whether it was one of the conversation's."""
        text = str(values.get("text", ""))
        if action == "send":
            self.send(text)
        elif action == "stop":
            self.stop()
        elif action == "live":
            self._transcript.draft = text
            self.set_live(live=bool(values.get("on")))
        elif action == "edit":
            self.edit_prompt(id, text)
        elif action == "again":
            self.ask_again(id)
        elif action == "version":
            self.choose_version(id, values.get("number"))
        elif action == "continue":
            self._continue(id)
        else:
            return False
        return True

    def send(self, prompt: str) -> None:
        """Send a prompt; repeating the last one adds a version to its answer."""
        if not prompt.strip():
            self._transcript.refuse(MessageNotice("Type a prompt first."))
            return
        unchanged = self._last_turn is not None and self._last_turn.prompt == prompt
        self._ask_once("send", prompt, replaces=self._turn_id_with(prompt) if unchanged else None)

    def ask_again(self, id: str = "") -> None:
        """Request another version of an answer, by default the last one of the conversation."""
        turns = [turn for turn in self.turns if not id or id == self._key_of(turn)]
        if turns:
            self._ask_once("again", turns[-1].prompt, replaces=turns[-1].id)

    def edit_prompt(self, id: str, prompt: str) -> None:
        """Send a prompt in place of an earlier one, in a branch that ends before it."""
        matches = [v for v in self._versions() if f"{self._key_of(v.turn)}-prompt" == id and not v.pending]
        if not matches or not prompt.strip() or self._runner.busy:
            return
        later = len(self._versions()) - self._versions().index(matches[0]) - 1
        self._session.fork(matches[0].turn.id, before=True)
        if later or matches[0].turn.answer:
            self._transcript.show_notice(MessageNotice("New branch. The original conversation is in the history."))
        self._ask_once("edit", prompt, replaces=None)

    def choose_version(self, id: str, number: Any) -> None:
        """Display another version of an answer, which is then the one in the context of later prompts."""
        for versions in self._versions():
            if self._key_of(versions.turn) == id and isinstance(number, int) and not self._runner.busy:
                if 1 <= number <= len(versions.turns):
                    self._session.choose_version(versions.turns[number - 1].id)
                return

    def stop(self) -> None:
        """Stop the current answer; the partial answer is kept."""
        self._debouncer.cancel()
        self._runner.stop()

    def on_number_change(self) -> None:
        """In live mode, send the prompt again, after a number was changed in this panel."""
        if self._transcript.live:
            self._debouncer.trigger()

    def set_live(self, *, live: bool) -> None:
        """Switch live mode, which displays the last answers side by side, including one that is streaming."""
        with self._lock:
            answer = self._current_answer
            self._lanes.clear()
            self._transcript.live = live
            if live and answer is not None and not answer.is_finished:
                self._lanes.add(answer)
        words = "Live: each slider that settles requests a new answer, outside the conversation."
        self._transcript.show_notice(MessageNotice(words) if live else None)
        self.render()

    def start_new(self) -> None:
        """Start a new conversation; the previous one stays in the history."""
        self.stop()
        self._lanes.clear()
        self._last_turn = None
        self._transcript.show_notice(None)
        self._session.reset()

    def _continue(self, id: str) -> None:
        """Ask the model to continue an answer that was cut off."""
        turn = next((v.turn for v in self._versions() if self._key_of(v.turn) == id), None)
        if turn is not None:
            from ...render.cjk import CJK

            prompt = CONTINUE_PROMPT_CHINESE if CJK.search(turn.prompt) else CONTINUE_PROMPT
            self._ask_once("continue", prompt, replaces=None)

    def _ask_once(self, button: str, prompt: str, *, replaces: str | None) -> None:
        """Send a prompt, but only once for a double click."""
        with self._lock:
            before, now = self._last_request, time.monotonic()
            if before[:2] == (button, prompt) and now - before[2] < DOUBLE_CLICK_SECONDS and self._is_asked():
                self._transcript.accept(prompt, keep=self._transcript.live)
                return
            clicked = self._last_request = (button, prompt, now)
        self._debouncer.cancel()
        accepted = False
        try:
            accepted = self._ask(prompt, "chat", replaces)
        finally:
            with self._lock:
                if not accepted and self._last_request is clicked:
                    self._last_request = before  # or the next click would count as part of a double click
            if not accepted:
                notice = MessageNotice("An answer is under way: stop it first.") if self._runner.busy else None
                self._transcript.refuse(notice)

    def _is_asked(self) -> bool:
        """Return whether the last prompt is running or has a turn, that is, was not undone since."""
        answer = self._current_answer
        return self._runner.busy or any(answer is not None and answer.id in _ids(v) for v in self._versions())

    def _ask(self, prompt: str, kind: Kind, replaces: str | None) -> bool:
        """Send a prompt, unless another one is running; return whether it was sent."""
        answer = PanelAnswer(self, prompt, kind)
        is_new = kind == "chat" and not (self._last_turn and self._last_turn.prompt == prompt)

        def start() -> Any:
            with self._lock:
                if is_new:
                    self._lanes.clear()  # a new prompt starts a new comparison
                if self._transcript.live:
                    self._lanes.add(answer)
                self._current_answer = answer
            if kind == "chat":
                self._transcript.accept(prompt, keep=self._transcript.live)
            history = self._session.settings.with_history
            request = self._session.aask(
                prompt, view=ThrottledView(answer), history=history, kind=kind, replaces=replaces, id=answer.id
            )
            if self._transcript.notice.get("tone") == "failed":
                self._transcript.show_notice(None)
            self._transcript.announced = WAITING_TEXT
            self._update_button()  # before it runs, since it may end at once, which changes the button back
            self.render()
            return request

        try:
            return self._runner.start(start, lambda error: self._on_end(answer, error))
        finally:
            self._update_button()

    async def _ask_live(self, is_current: Callable[[], bool]) -> None:
        """Send the prompt in the composer with the current parameters, after stopping a running answer."""
        stopped = await self._runner.stop_and_wait()
        answer = self._current_answer
        prompt = self._transcript.draft
        if not prompt.strip() and self._last_turn is not None:
            prompt = self._last_turn.prompt
        if not prompt.strip() or not is_current() or not self._transcript.live:
            return
        if stopped and answer is not None and answer.turn is not None and answer.turn.status == "interrupted":
            self._lanes.drop(answer)
        self._ask(prompt, "live", self._turn_id_with(prompt))

    def _turn_id_with(self, prompt: str) -> str | None:
        """Return the id of the turn with a prompt: this panel's last, or else the conversation's last match."""
        turns = [v.turn.id for v in self._versions() if not v.pending and v.turn.prompt == prompt]
        if self._last_turn is not None and self._last_turn.id in turns:
            return self._last_turn.id
        return turns[-1] if turns else None

    def keep_turn(self, turn: Turn, blocks: list[str]) -> None:
        """Keep a finished turn of this panel, and the HTML blocks of its answer."""
        self._blocks[turn.id] = blocks
        if turn.kind == "chat":
            self._last_turn = turn

    def show_progress(self, answer: PanelAnswer) -> int:
        """Display an answer so far; return the number of characters sent to the page."""
        with self._lock:
            if answer.is_finished:
                return 0
            self._transcript.announced = answer.announced
            if answer in self._lanes:
                return self._transcript.put(self._lanes.message(answer))
            message = self._streaming_message(answer)
            return self._transcript.put(message) if message.id in self._transcript else 0

    def _on_end(self, answer: PanelAnswer, error: BaseException | None) -> None:
        """Display the end of an answer, its notice and the button, now that the next prompt would be accepted.

        The next prompt may be sent at any moment during this, in another thread or by an observer.
        """
        answer.is_finished = True
        failed: tuple[str, str] | None = None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            failed = self._reporter.log_error(error)
            self._details[answer.id] = failed
        try:
            self.render()
            self.fallback.update(*render_transcript(self.turns))
        except Exception as fault:  # noqa: BLE001 - it is reported
            failed = self._reporter.log_error(fault)
        recorded = answer.turn is not None or any(answer.id in _ids(v) for v in self._versions())
        if failed is not None and not recorded:
            self._transcript.show_notice(MessageNotice(failed[0], "failed", failed[1]))
            self._transcript.restore(answer.prompt)
        self._update_button()
        if self._current_answer is answer and not self._runner.busy:
            stopped = isinstance(error, asyncio.CancelledError)
            self._transcript.announced = failed[0] if failed else STOPPED_TEXT if stopped else ANSWERED_TEXT

    def _update_button(self) -> None:
        """Update the button to whether a prompt is running, also if that changes meanwhile."""
        busy = None
        while busy != self._runner.busy:
            busy = self._runner.busy
            self._transcript.busy = busy

    def _versions(self) -> list[Versions]:
        """Return the turns of the conversation, without those of live mode and sweeps."""
        return [versions for versions in self._session.versions if versions.turn.kind == "chat"]

    def render(self) -> None:
        """Display the conversation with its running answers."""
        with self._lock:
            every = self._versions()
            messages: list[Message] = []
            if len(every) > MAX_PROMPTS:
                text = f"{len(every) - MAX_PROMPTS} earlier prompts are in the history."
                messages.append(Message("earlier", "note", blocks=tuple(plain_blocks(text))))
            last = every[-1] if every else None
            for versions in every[-MAX_PROMPTS:]:
                messages += self._message_pair(versions, is_last_turn=versions is last)
            self._transcript.show([*messages, *self._lanes.messages()])

    def _message_pair(self, versions: Versions, *, is_last_turn: bool) -> list[Message]:
        turn, key = versions.turn, versions.turns[0].id
        actions = () if versions.pending else ("edit", "copy")
        text = tuple(plain_blocks(turn.prompt))
        prompt = Message(f"{key}-prompt", "user", "You", text, turn.prompt, actions=actions)
        answer = self._current_answer
        is_current = answer is not None and not answer.is_finished and answer.id in _ids(versions)
        if any(lane.id in _ids(versions) for lane in self._lanes):
            return [prompt]
        if answer is not None and is_current:
            return [prompt, self._streaming_message(answer, key)]
        if versions.pending:
            notice = MessageNotice("Asked elsewhere.")
            return [prompt, Message(key, label=speaker_name(turn), busy=True, notice=notice)]
        offers = ("copy", "again") if is_last_turn and turn.kind == "chat" else ("copy",)
        message = self._answer_message(turn)
        count = (versions.current + 1, len(versions.turns))
        return [prompt, replace(message, id=key, versions=count, actions=offers if turn.answer else offers[1:])]

    def _streaming_message(self, answer: PanelAnswer, key: str = "") -> Message:
        if key:
            answer.key = key
        return Message(
            answer.key or answer.id,
            label=answer.label,
            blocks=tuple(answer.blocks),
            source=answer.text,
            notice=MessageNotice(answer.notice) if answer.notice else None,
            busy=True,
        )

    def _answer_message(self, turn: Turn) -> Message:
        """Return a turn's answer as a message, cached by turn."""
        cached = self._finished.get(turn.id)
        if cached is None or cached[0] != turn:
            words, details = self._details.get(turn.id, ("", ""))
            notice = notice_of(turn, details)
            if words and notice is not None and notice.tone == "failed":
                notice = replace(notice, text=words)
            message = Message(
                turn.id,
                label=speaker_name(turn),
                blocks=tuple(self._blocks.pop(turn.id, ()) or answer_blocks(turn)),
                source=turn.answer,
                meta=speed_line(turn) if turn.answer else "",
                facts=answer_facts(turn) if turn.answer else (),
                notice=notice,
            )
            cached = self._finished[turn.id] = (turn, message)
        return cached[1]

    def _key_of(self, turn: Turn) -> str:
        """Return the message id for all answers to one prompt: that of the oldest version."""
        for versions in self._versions():
            if turn.id in _ids(versions):
                return versions.turns[0].id
        return turn.id


def _ids(versions: Versions) -> list[str]:
    return [turn.id for turn in versions.turns]
