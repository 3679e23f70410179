"""What a panel does with prompts: asks, asks again, branches, stops; and how the conversation shows."""

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
from ..messages import Message, Notice
from ..still import StaticFallback, render_transcript
from ..trouble import ErrorReporter
from ..words import answer_facts, notice_of, speed_line
from .lanes import Lanes
from .place import WAITING, Place, answer_blocks, speaker

if TYPE_CHECKING:
    from ...session.conversation import Versions
    from ..transcript import Transcript

SETTLE_SECONDS = 0.25
"""In live mode, seconds without another change after which a slider has settled."""

ANSWERED, STOPPED = "Answered.", "Stopped."

TWICE = 0.5
"""The same prompt sent twice within this many seconds is a double click, however fast the first answer came."""

MOST = 40
"""Prompts of a conversation that a panel shows; the history has all."""

CONTINUE = "Continue."
CONTINUE_CHINESE = "请继续。"


class Talk:
    """One panel's prompts and answers; each prompt is settled when it is asked.

    :param shown: where the conversation shows: a transcript with a composer, or its plain twin.
    """

    def __init__(
        self, session: Session, shown: Transcript, reporter: ErrorReporter, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._session, self._shown, self._reporter = session, shown, reporter
        self.fallback = StaticFallback()
        self._lock = threading.RLock()
        self._lanes = Lanes()
        self._place: Place | None = None
        self._last: Turn | None = None
        self._clicked = ("", "", -TWICE)
        self._finished: dict[str, tuple[Turn, Message]] = {}
        self._blocks: dict[str, list[str]] = {}
        self._details: dict[str, tuple[str, str]] = {}
        self._runner = RequestRunner(session)
        self._debouncer = Debouncer(session, reporter, self._ask_live, delay=SETTLE_SECONDS, sleep=sleep)

    @property
    def turns(self) -> list[Turn]:
        """What was said in the conversation, and has ended."""
        return [versions.turn for versions in self._versions() if not versions.pending]

    def act(self, action: str, id: str, values: dict[str, Any]) -> bool:
        """Do what a reader of the transcript wants; tell whether it was for the conversation."""
        text = str(values.get("text", ""))
        if action == "send":
            self.send(text)
        elif action == "stop":
            self.stop()
        elif action == "live":
            self._shown.draft = text
            self.switch(live=bool(values.get("on")))
        elif action == "edit":
            self.edit(id, text)
        elif action == "again":
            self.again(id)
        elif action == "version":
            self.choose(id, values.get("number"))
        elif action == "continue":
            self._continue(id)
        else:
            return False
        return True

    def send(self, prompt: str) -> None:
        """Ask a prompt; one that is the last one once more becomes another version of its answer."""
        if not prompt.strip():
            self._shown.refuse(Notice("Type a prompt first."))
            return
        unchanged = self._last is not None and self._last.prompt == prompt
        self._click("send", prompt, again=self._turn_with(prompt) if unchanged else None)

    def again(self, id: str = "") -> None:
        """Ask for another version of an answer, by default of the conversation's last."""
        wanted = [turn for turn in self.turns if not id or id == self._key_of(turn)]
        if wanted:
            self._click("again", wanted[-1].prompt, again=wanted[-1].id)

    def edit(self, id: str, prompt: str) -> None:
        """Ask another prompt in the place of an earlier one: in a branch that ends before it."""
        found = [v for v in self._versions() if f"{self._key_of(v.turn)}-prompt" == id and not v.pending]
        if not found or not prompt.strip() or self._runner.busy:
            return
        later = len(self._versions()) - self._versions().index(found[0]) - 1
        self._session.fork(found[0].turn.id, before=True)
        if later or found[0].turn.answer:
            self._shown.show_notice(Notice("A branch: the conversation it left is in the history."))
        self._click("edit", prompt, again=None)

    def choose(self, id: str, number: Any) -> None:
        """Show another version of an answer; it is the one that later prompts see."""
        for versions in self._versions():
            if self._key_of(versions.turn) == id and isinstance(number, int) and not self._runner.busy:
                if 1 <= number <= len(versions.turns):
                    self._session.choose_version(versions.turns[number - 1].id)
                return

    def stop(self) -> None:
        """End the answer under way; what has arrived stays."""
        self._debouncer.cancel()
        self._runner.stop()

    def moved(self) -> None:
        """Take note that a number was changed here: in live mode the prompt is asked again."""
        if self._shown.live:
            self._debouncer.trigger()

    def switch(self, *, live: bool) -> None:
        """Show answers one below the other, or the last three side by side; the one under way goes along."""
        with self._lock:
            place = self._place
            self._lanes.clear()
            self._shown.live = live
            if live and place is not None and not place.is_over:
                self._lanes.add(place)
        words = "Live: each slider that settles asks again. These answers aren't part of the conversation."
        self._shown.show_notice(Notice(words) if live else None)
        self.render()

    def new(self) -> None:
        """Begin a conversation; the one before stays in the history."""
        self.stop()
        self._lanes.clear()
        self._last = None
        self._shown.show_notice(None)
        self._session.reset()

    def _continue(self, id: str) -> None:
        """Ask the model to go on where an answer was cut."""
        turn = next((v.turn for v in self._versions() if self._key_of(v.turn) == id), None)
        if turn is not None:
            from ...render.cjk import CJK

            self._click("continue", CONTINUE_CHINESE if CJK.search(turn.prompt) else CONTINUE, again=None)

    def _click(self, button: str, prompt: str, *, again: str | None) -> None:
        """Ask, once for two clicks in a row."""
        with self._lock:
            before, now = self._clicked, time.monotonic()
            if before[:2] == (button, prompt) and now - before[2] < TWICE and self._is_asked():
                self._shown.accept(prompt, keep=self._shown.live)
                return
            clicked = self._clicked = (button, prompt, now)
        self._debouncer.cancel()
        accepted = False
        try:
            accepted = self._ask(prompt, "chat", again)
        finally:
            with self._lock:
                if not accepted and self._clicked is clicked:
                    self._clicked = before  # the next click is not its second
            if not accepted:
                self._shown.refuse(Notice("An answer is under way: stop it first.") if self._runner.busy else None)

    def _is_asked(self) -> bool:
        """Tell whether what was asked last is under way or has its turn: not one that was taken back since."""
        place = self._place
        return self._runner.busy or any(place is not None and place.id in _ids(v) for v in self._versions())

    def _ask(self, prompt: str, kind: Kind, again: str | None) -> bool:
        """Ask; return False, and ask nothing, while another prompt is under way."""
        place = Place(self, prompt, kind)
        another = kind == "chat" and not (self._last and self._last.prompt == prompt)

        def question() -> Any:
            with self._lock:
                if another:
                    self._lanes.clear()  # a new prompt begins a new comparison
                if self._shown.live:
                    self._lanes.add(place)
                self._place = place
            if kind == "chat":
                self._shown.accept(prompt, keep=self._shown.live)
            history = self._session.settings.with_history
            asked = self._session.aask(
                prompt, view=ThrottledView(place), history=history, kind=kind, replaces=again, id=place.id
            )
            if self._shown.notice.get("tone") == "failed":
                self._shown.show_notice(None)
            self._shown.announced = WAITING
            self._sync()  # before it runs: its end may come at once, and is told by what changes back
            self.render()
            return asked

        try:
            return self._runner.start(question, lambda error: self._ended(place, error))
        finally:
            self._sync()

    async def _ask_live(self, is_current: Callable[[], bool]) -> None:
        """Ask what stands in the box with what the sliders say now; an answer under way makes room."""
        stopped = await self._runner.stop_and_wait()
        place = self._place
        prompt = self._shown.draft if self._shown.draft.strip() else (self._last.prompt if self._last else "")
        if not prompt.strip() or not is_current() or not self._shown.live:
            return
        if stopped and place is not None and place.turn is not None and place.turn.status == "interrupted":
            self._lanes.drop(place)
        self._ask(prompt, "live", self._turn_with(prompt))

    def _turn_with(self, prompt: str) -> str | None:
        """Return the id of the standing turn with a prompt: this panel's own, or else the conversation's last."""
        turns = [v.turn.id for v in self._versions() if not v.pending and v.turn.prompt == prompt]
        if self._last is not None and self._last.id in turns:
            return self._last.id
        return turns[-1] if turns else None

    def keep(self, turn: Turn, blocks: list[str]) -> None:
        """Keep a turn of this panel that has ended, and what its answer looks like."""
        self._blocks[turn.id] = blocks
        if turn.kind == "chat":
            self._last = turn

    def progress(self, place: Place) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        with self._lock:
            if place.is_over:
                return 0
            self._shown.announced = place.announced
            if place in self._lanes:
                return self._shown.put(self._lanes.message(place))
            message = self._under_way(place)
            return self._shown.put(message) if message.id in self._shown else 0

    def _ended(self, place: Place, error: BaseException | None) -> None:
        """Show an end, now that the next prompt is accepted: the answer, the button, what is said of it.

        The next prompt may be asked at any moment here, in another thread or by an observer.
        """
        place.is_over = True
        failed: tuple[str, str] | None = None
        if error is not None and not isinstance(error, asyncio.CancelledError):
            failed = self._reporter.describe(error)
            self._details[place.id] = failed
        try:
            self.render()
            self.fallback.update(*render_transcript(self.turns))
        except Exception as fault:  # noqa: BLE001 - it is told
            failed = self._reporter.describe(fault)
        recorded = place.turn is not None or any(place.id in _ids(v) for v in self._versions())
        if failed is not None and not recorded:
            self._shown.show_notice(Notice(failed[0], "failed", failed[1]))
            self._shown.restore(place.prompt)
        self._sync()
        if self._place is place and not self._runner.busy:
            stopped = isinstance(error, asyncio.CancelledError)
            self._shown.announced = failed[0] if failed else STOPPED if stopped else ANSWERED

    def _sync(self) -> None:
        """Bring the button up to whether a prompt is under way, also where that changes meanwhile."""
        busy = None
        while busy != self._runner.busy:
            busy = self._runner.busy
            self._shown.busy = busy

    def _versions(self) -> list[Versions]:
        """Return what is said in the conversation; what live mode and sweeps ask stands apart."""
        return [versions for versions in self._session.versions if versions.turn.kind == "chat"]

    # How the conversation shows.

    def render(self) -> None:
        """Show the conversation as it is, with the answers under way."""
        with self._lock:
            every = self._versions()
            messages: list[Message] = []
            if len(every) > MOST:
                text = f"{len(every) - MOST} earlier prompts are in the history."
                messages.append(Message("earlier", "note", blocks=tuple(plain_blocks(text))))
            last = every[-1] if every else None
            for versions in every[-MOST:]:
                messages += self._messages(versions, is_last=versions is last)
            self._shown.show([*messages, *self._lanes.messages()])

    def _messages(self, versions: Versions, *, is_last: bool) -> list[Message]:
        turn, key = versions.turn, versions.turns[0].id
        actions = () if versions.pending else ("edit", "copy")
        text = tuple(plain_blocks(turn.prompt))
        prompt = Message(f"{key}-prompt", "user", "You", text, turn.prompt, actions=actions)
        place = self._place
        mine = place is not None and not place.is_over and place.id in _ids(versions)
        if any(own.id in _ids(versions) for own in self._lanes):
            return [prompt]
        if place is not None and mine:
            return [prompt, self._under_way(place, key)]
        if versions.pending:
            return [prompt, Message(key, label=speaker(turn), busy=True, notice=Notice("Asked elsewhere."))]
        offers = ("copy", "again") if is_last and turn.kind == "chat" else ("copy",)
        answer = self._answer(turn)
        count = (versions.current + 1, len(versions.turns))
        return [prompt, replace(answer, id=key, versions=count, actions=offers if turn.answer else offers[1:])]

    def _under_way(self, place: Place, key: str = "") -> Message:
        if key:
            place.key = key
        return Message(
            place.key or place.id,
            label=place.label,
            blocks=tuple(place.blocks),
            source=place.text,
            notice=Notice(place.notice) if place.notice else None,
            busy=True,
        )

    def _answer(self, turn: Turn) -> Message:
        """Return a turn's answer as a message; each is made once."""
        known = self._finished.get(turn.id)
        if known is None or known[0] != turn:
            words, details = self._details.get(turn.id, ("", ""))
            notice = notice_of(turn, details)
            if words and notice is not None and notice.tone == "failed":
                notice = replace(notice, text=words)
            message = Message(
                turn.id,
                label=speaker(turn),
                blocks=tuple(self._blocks.pop(turn.id, ()) or answer_blocks(turn)),
                source=turn.answer,
                meta=speed_line(turn) if turn.answer else "",
                facts=answer_facts(turn) if turn.answer else (),
                notice=notice,
            )
            known = self._finished[turn.id] = (turn, message)
        return known[1]

    def _key_of(self, turn: Turn) -> str:
        """Return the id by which the answers to one prompt show: that of the oldest version."""
        for versions in self._versions():
            if turn.id in _ids(versions):
                return versions.turns[0].id
        return turn.id


def _ids(versions: Versions) -> list[str]:
    return [turn.id for turn in versions.turns]
