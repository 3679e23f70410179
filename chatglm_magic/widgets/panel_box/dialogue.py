"""What a panel does with its prompt: asks, asks again, stops, compares; and where each answer goes."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from ...session import Session
from ...values import Kind, Turn
from ..answer import AnswerPane
from ..asking import Runner, Showing
from ..still import Still, last_answer
from ..trouble import Status, Trouble
from .controls import Controls
from .lanes import Lanes
from .live import Settling
from .place import Place

TWICE = 0.5
"""Two clicks on one button within this many seconds are one, however fast the answer to the first came."""


class Dialogue:
    """One panel's questions and answers; each question is settled when it is asked, and has a place of its own."""

    def __init__(self, session: Session, status: Status, trouble: Trouble, controls: Controls) -> None:
        self._session, self._trouble = session, trouble
        self.status, self.controls = status, controls
        self.answer, self.lanes, self.still = AnswerPane(), Lanes(), Still()
        self._lock = threading.RLock()
        self._place: Place | None = None
        self._last: Turn | None = None
        self._clicked = ("", "", -TWICE)
        self._runner = Runner(session, self._sync, self._ended)
        self._settling = Settling(session, trouble, self._runner, self._ask_live)

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
        self._settling.forget()
        self._runner.stop()

    def moved(self) -> None:
        """Take note that a parameter was changed here: in live mode the prompt is asked again."""
        if self.controls.live.value:
            self._settling.moved()

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

    def ended(self, place: Place, turn: Turn) -> None:
        """Keep an answer that has ended, for where there is no kernel, and as what is asked again."""
        if place.screen is not self.answer:
            self.answer.finish(turn)
        if turn.kind == "chat":
            self._last = turn
        if turn.answer:
            self.still.put(*last_answer(turn))

    def _click(self, button: str, prompt: str, *, again: bool) -> None:
        """Ask, once for two clicks in a row."""
        with self._lock:
            *before, at = self._clicked
            now = time.monotonic()
            if before == [button, prompt] and now - at < TWICE:
                return
            self._clicked = (button, prompt, now)
        self._settling.forget()
        if not (self._last and self._last.prompt == prompt):
            self.lanes.clear()  # answers to another prompt are no comparison
        self._ask(prompt, "chat", self._turn_with(prompt) if again else None)

    def _ask(self, prompt: str, kind: Kind, again: str | None) -> None:
        place = Place(self)
        view = Showing(place, lambda view: self._place is place)

        def question() -> Any:
            history = self._session.settings.with_history
            asked = self._session.aask(prompt, view=view, history=history, kind=kind, again=again)
            with self._lock:
                place.screen = self.lanes.add() if self.controls.live.value else self.answer
                self.answer.begin()
                self._place = place
            self.status.say("Waiting for the first token…")
            return asked

        self._runner.start(question)

    def _ask_live(self, stopped: bool) -> None:
        """Ask the last prompt again with what the sliders say now; one that was not answered yet makes room."""
        last, place = self._last, self._place
        if last is None or not self.controls.live.value:
            return
        if stopped and place is not None and place.turn is not None and place.turn.status == "interrupted":
            self.lanes.drop(place.screen)
        self._ask(last.prompt, "live", self._turn_with(last.prompt))

    def _turn_with(self, prompt: str) -> str | None:
        """Return the id of the last turn with a prompt that still stands in the conversation."""
        turns = self._session.turns[::-1]
        return next((turn.id for turn in turns if _stands(turn) and turn.prompt == prompt), None)

    def _ended(self, error: BaseException | None) -> None:
        self.controls.sync_again()
        if error is None:
            self.status.say("Answered.")
        elif isinstance(error, asyncio.CancelledError):
            self.status.say("Stopped; what had arrived is kept.")
        else:
            self._trouble.tell(error)

    def _sync(self) -> None:
        with self._lock:
            self.controls.sync(busy=self._runner.busy)


def _stands(turn: Turn) -> bool:
    return turn.kind == "chat" and turn.status != "superseded" and bool(turn.id)
