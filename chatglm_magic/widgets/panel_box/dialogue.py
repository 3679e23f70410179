"""What a panel does with its prompt: asks, asks again, stops, compares; and where each answer goes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from ...session import Session
from ...session.draft import Draft
from ...values import Kind, Turn
from ..answer import AnswerPane
from ..asking import Runner, Screen, Showing
from ..debounce import Debouncer, Sleep
from ..still import Still, last_answer
from ..trouble import Status, Trouble
from .controls import Controls
from .lanes import Lanes

SETTLE_SECONDS = 0.25
"""In live mode, seconds without another change after which a slider has settled."""

WAITING = "Waiting for the first token…"

TWICE = 0.5
"""Two clicks on one button within this many seconds are one, however fast the answer to the first came."""


class Dialogue:
    """One panel's questions and answers; each question is settled when it is asked, and has a place of its own."""

    def __init__(
        self,
        session: Session,
        status: Status,
        trouble: Trouble,
        controls: Controls,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._session, self._trouble = session, trouble
        self.status, self.controls = status, controls
        self.answer, self.lanes, self.still = AnswerPane(), Lanes(), Still()
        self._lock = threading.RLock()
        self._place: Place | None = None
        self._last: Turn | None = None
        self._clicked = ("", "", -TWICE)
        self._runner = Runner(session)
        self._debouncer = Debouncer(session, trouble, self._ask_live, delay=SETTLE_SECONDS, sleep=sleep)

    def send(self) -> None:
        """Ask what stands in the box; unchanged, it takes the place of the answer it got before."""
        prompt = self.controls.prompt.value
        if not prompt.strip():
            self.status.say("Type a prompt first.")
            return
        unchanged = self._last is not None and self._last.prompt == prompt
        self._click("send", prompt, again=unchanged)

    def regenerate(self) -> None:
        """Ask for the answer that is shown once more; before there is one, for the conversation's last."""
        last = self._last or next((turn for turn in self._session.turns[::-1] if _stands(turn)), None)
        if last is None:
            self.status.say("There is no answer to regenerate yet.")
        else:
            self._click("regenerate", last.prompt, again=True)

    def stop(self) -> None:
        """End the answer under way; what has arrived stays."""
        self._debouncer.cancel()
        self._runner.stop()

    def moved(self) -> None:
        """Take note that a parameter was changed here: in live mode the prompt is asked again."""
        if self.controls.live.value:
            self._debouncer.trigger()

    def switch(self, *, live: bool) -> None:
        """Show one answer, or the last three side by side; the one under way goes along."""
        with self._lock:
            place = self._place
            self.lanes.clear()
            if place is not None:
                place.screen = self.lanes.add(place.turn) if live else self.answer
            self.lanes.layout.display = None if live else "none"
            self.answer.layout.display = "none" if live else None
        if live:
            self.status.say(
                "Live: Send a prompt, then move a slider. What a slider asks is not part of the context."
            )

    def keep(self, turn: Turn) -> None:
        """Keep a turn that has ended: as what is asked again, and for where there is no kernel."""
        if turn.kind == "chat":
            self._last = turn
        if turn.answer:
            self.still.put(*last_answer(turn))

    def _click(self, button: str, prompt: str, *, again: bool) -> None:
        """Ask, once for two clicks in a row."""
        with self._lock:
            before = self._clicked
            *same, at = before
            now = time.monotonic()
            if same == [button, prompt] and now - at < TWICE:
                return
            clicked = self._clicked = (button, prompt, now)
        self._debouncer.cancel()
        accepted = False
        try:
            accepted = self._ask(prompt, "chat", self._turn_with(prompt) if again else None)
        finally:
            with self._lock:
                if not accepted and self._clicked is clicked:
                    self._clicked = before  # the next click is not its second

    def _ask(self, prompt: str, kind: Kind, again: str | None) -> bool:
        """Ask; return False, and ask nothing, while another question is under way."""
        place = Place(self)
        another = not (self._last and self._last.prompt == prompt)

        def question() -> Any:
            history = self._session.settings.with_history
            asked = self._session.aask(prompt, view=Showing(place), history=history, kind=kind, again=again)
            with self._lock:
                if another:
                    self.lanes.clear()  # answers to another prompt are no comparison
                place.screen = self.lanes.add() if self.controls.live.value else self.answer
                self.answer.begin()
                self._place = place
            self.status.say(WAITING)
            self._sync()  # before it runs: its end may come at once, and is told by what changes back
            return asked

        try:
            return self._runner.start(question, lambda error: self._ended(place, error))
        finally:
            self._sync()

    async def _ask_live(self, is_current: Callable[[], bool]) -> None:
        """Ask the last prompt again with what the sliders say now; one that was not answered yet makes room."""
        stopped = await self._runner.halt()
        last, place = self._last, self._place
        if last is None or not is_current() or not self.controls.live.value:
            return
        if stopped and place is not None and place.turn is not None and place.turn.status == "interrupted":
            self.lanes.drop(place.screen)
        self._ask(last.prompt, "live", self._turn_with(last.prompt))

    def _turn_with(self, prompt: str) -> str | None:
        """Return the id of the standing turn with a prompt: this panel's own, or else the conversation's last."""
        turns = [turn.id for turn in self._session.turns if _stands(turn) and turn.prompt == prompt]
        if self._last is not None and self._last.id in turns:
            return self._last.id
        return turns[-1] if turns else None

    def _ended(self, place: Place, error: BaseException | None) -> None:
        """Show an end, now that the next question is accepted: the buttons, the answer, the status.

        The next question may be asked at any moment here, in another thread or by an observer. No lock is held, so
        that it need not wait, and what it shows is put back where this has overwritten it.
        """
        show = self._words(error)
        self._sync()
        self.controls.sync_again()
        try:
            self._finish(place)
        except Exception as failed:  # noqa: BLE001 - it is told
            show = show if error is not None else self._words(failed)
        if self._place is place:
            show()
            if self._place is not place:
                self.status.say(WAITING)

    def _finish(self, place: Place) -> None:
        """Show an answer that has ended in its place."""
        if place.screen is not self.answer and place.turn is not None:
            place.screen.finish(place.turn)
        if self._place is place:
            place.show_end()
            if self._place is not place:
                self.answer.begin()

    def _words(self, error: BaseException | None) -> Callable[[], None]:
        """Return what tells of an end in the status line."""
        if error is None:
            return lambda: self.status.say("Answered.")
        if isinstance(error, asyncio.CancelledError):
            return lambda: self.status.say("Stopped; what had arrived is kept.")
        line, details = self._trouble.describe(error)
        return lambda: self.status.fail(line, details)

    def _sync(self) -> None:
        """Bring the buttons up to whether a question is under way, also where that changes meanwhile."""
        busy = None
        while busy != self._runner.busy:
            busy = self._runner.busy
            self.controls.sync(busy=busy)


def _stands(turn: Turn) -> bool:
    return turn.kind == "chat" and turn.status != "superseded" and bool(turn.id)


class Place:
    """Where one question's answer is shown: alone, or in a lane beside others; ``turn`` is it once ended."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.screen: Screen = dialogue.answer
        self.turn: Turn | None = None
        self._show: Callable[[], None] | None = None

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self._dialogue.status.say(draft.notice or "Answering…")
        self._dialogue.controls.sync_again()
        return self.screen.frame(draft)

    def keep(self, turn: Turn) -> None:
        """Keep the turn of an answer that has ended, rendered: nothing slow stands between parts of its end."""
        self.turn = turn
        self._show = self._dialogue.answer.prepare(turn)
        self._dialogue.keep(turn)

    def show_end(self) -> None:
        """Show the whole answer, alone; nothing if there is none."""
        if self._show is not None:
            self._show()
