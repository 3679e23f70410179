"""An answer under way that is to be recorded: collects its pieces, and knows when it is finished."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..client.call import Call
from ..credentials import MARK, SHORTEST_IN_TEXT
from ..errors import TapeError
from ..values import Change, Delta, Turn
from ..wire.stop import StopFilter
from .lines import NEWS, Recorded
from .question import Asked, parameters, spoken

LEFT_OUT = ("endpoint", "id", "conversation", "cell_id", "cell_run")
"""What a turn knows of where it was asked; a tape is the same everywhere."""

_EMPTY = Delta()


class Recording:
    """Takes in the pieces of one answer.

    :raises TapeError: ``secret`` for a question that holds the key it is asked with.
    """

    def __init__(self, asked: Asked, call: Call) -> None:
        self._asked = asked
        self._secrets = [secret for secret in call.secrets if len(secret) >= SHORTEST_IN_TEXT]
        if self._clean(asked.request) != asked.request:
            raise TapeError(
                "The question holds the server's own key, and would carry it onto the tape. Take it out of the "
                "question, or record nothing: %chatglm_config tape=None.",
                kind="secret",
            )
        self._began = time.monotonic()
        self._created = datetime.now().astimezone().isoformat(timespec="seconds")
        self._stop = StopFilter(call.stop)
        self._pieces: list[list[Any]] = []
        self._news: dict[str, Any] = {}
        self._changed: list[Change] = []

    @property
    def stopped(self) -> bool:
        """Whether a text that ends the answer has come: nothing more will be read of it."""
        return self._stop.hit

    @property
    def finished(self) -> bool:
        """Whether the answer has said that it is whole."""
        return self.stopped or "finish_reason" in self._news

    def take(self, delta: Delta) -> None:
        """Take in a piece."""
        news = {name: value for name in NEWS if (value := getattr(delta, name)) != getattr(_EMPTY, name)}
        if not (delta.text or delta.reasoning or news):
            return  # a word about the way
        seconds = round(time.monotonic() - self._began, 3)
        self._pieces.append([seconds, delta.text, delta.reasoning, *([news] if news else [])])
        self._stop.feed(delta.text)
        self._changed += delta.changed
        self._news |= news

    def recorded(self) -> Recorded:
        """Return the finished answer, without the key it was asked with, should the server have repeated it."""
        turn = self._clean(self._turn())
        pieces = self._clean(self._pieces)
        for place, name in ((1, "answer"), (2, "reasoning")):
            if "".join(piece[place] for piece in pieces) != turn.get(name, ""):  # a key in several pieces
                pieces = [[seconds, "", "", *news] for seconds, _, _, *news in pieces]
                pieces[0][1:3] = turn["answer"], turn.get("reasoning", "")
                break
        return Recorded(self._asked.key, self._asked.sample, self._asked.request, turn, pieces)

    def _turn(self) -> dict[str, Any]:
        request = self._asked.request
        words = spoken(request)
        first = next((piece[0] for piece in self._pieces if piece[1] or piece[2]), None)
        turn = Turn(
            prompt=words.prompt,
            answer="".join(piece[1] for piece in self._pieces),
            reasoning="".join(piece[2] for piece in self._pieces),
            dialect=request["dialect"],
            model=self._news.get("model") or request["body"].get("model"),
            system=words.system,
            sent=parameters(request),
            changed=tuple(dict.fromkeys(self._changed)),
            finish_reason="stop" if self.stopped else self._news.get("finish_reason"),
            usage=self._news.get("usage") or {},
            first_token=first,
            duration=round(time.monotonic() - self._began, 3),
            created=self._created,
        )
        unset = Turn(prompt="").to_json()
        told = {name: value for name, value in turn.to_json().items() if name not in LEFT_OUT}
        always = ("answer", "prompt", "status")
        return {name: value for name, value in told.items() if name in always or value != unset[name]}

    def _clean(self, value: Any) -> Any:
        """Return a value as JSON has it, without the key."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MARK)
            return value
        if isinstance(value, Mapping):
            return {self._clean(str(name)): self._clean(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value
