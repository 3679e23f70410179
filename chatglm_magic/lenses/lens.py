"""``Lens``: an answer with the probabilities of its tokens, as a value and as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..errors import ChatGLMError, ParameterError
from ..render.dataframe import build_dataframe
from ..render.text import plural
from ..values import TokenLogprobs, Turn
from .distribution import GREEDY_BELOW, MAX_PARAMETER, MAX_VOCABULARY_TOKENS, Distribution
from .labels import token_label
from .logprobs_kind import LogprobsKind
from .position import Position


def lens_dataframe(positions: Iterable[Position], temperature: float, top_p: float, top_k: int) -> Any:
    """Return the candidates with what these settings make of them.

    :raises ChatGLMError: if pandas is not installed.
    """
    return build_dataframe(row for position in positions for row in _rows(position, temperature, top_p, top_k))


def _rows(position: Position, temperature: float, top_p: float, top_k: int) -> Iterator[dict[str, Any]]:
    found, said = position.reshape(temperature, top_p, top_k), position.reshape()
    for place, candidate in enumerate(position.candidates):
        before, share, drawn = said.share(place), found.share(place), found.probability(place)
        yield {
            "position": position.index,
            "rank": place + 1 if place < position.ranked else None,
            "token": candidate.token,
            "label": token_label(candidate),
            "id": candidate.id,
            "taken": place == position.taken,
            "logprob": candidate.logprob,
            "before_low": before.low,
            "before_high": before.high,
            "share_low": share.low,
            "share_high": share.high,
            "probability_low": drawn.low,
            "probability_high": drawn.high,
            "survives": found.survives(place),
        }


MIN_VOCABULARY_TOKENS = 256
"""A token for each byte; a shorter list has been cut."""

MAX_SUM_ERROR = 1e-3
"""How far the probabilities of a whole vocabulary may be off 1."""


@dataclass(frozen=True)
class Lens:
    """An answer, place by place; every re-shaping is computed here, nothing is asked again.

    ``complete`` is whether the server named every token of its vocabulary, so that all figures are exact;
    ``vocabulary`` bounds its size where it did not. ``logprobs_kind`` is whose probabilities the server told: the
    model's own (``raw``), those after the request's temperature (``tempered``), which is undone here, or
    ``unknown``, which can be shown but not re-shaped. ``answer_start`` is the first place of the answer: the
    places before it are thinking.
    """

    turn: Turn
    positions: tuple[Position, ...]
    complete: bool
    vocabulary: int
    logprobs_kind: LogprobsKind = "raw"
    answer_start: int = 0

    @classmethod
    def from_turn(
        cls,
        turn: Turn,
        odds: Sequence[TokenLogprobs],
        asked_for: int,
        vocabulary: int | None = None,
        kind: LogprobsKind = "raw",
    ) -> Lens:
        """Make a lens of an answer's turn and of what the server told of its tokens.

        :param asked_for: how many candidates of each place were asked for.
        :param kind: whose probabilities they are. Greedy ones (temperature 0) are the model's own in any case.
        """
        named = [place for place in odds if place.top]
        complete = _is_complete(turn, named, asked_for, vocabulary)
        size = max((len(place.top) for place in named), default=0) if complete else None
        most = vocabulary or MAX_VOCABULARY_TOKENS
        temperature = (_sent_number(turn, "temperature") if kind == "tempered" else None) or 1.0
        tempered = temperature if temperature >= GREEDY_BELOW else 1.0
        positions = tuple(
            Position.from_logprobs(n, place, None if complete else most, tempered) for n, place in enumerate(named)
        )
        return cls(turn, positions, complete, size or most, kind, _find_answer_start(turn, positions))

    @property
    def text(self) -> str:
        """The answer."""
        return self.turn.answer

    @property
    def temperature(self) -> float | None:
        """The temperature the answer was drawn with, None where it was left to the server."""
        return _sent_number(self.turn, "temperature")

    @property
    def top_p(self) -> float | None:
        """The top_p the answer was drawn with, None where it was left to the server."""
        return _sent_number(self.turn, "top_p")

    def at(self, index: int) -> Position:
        """Return a position: 0 is the first, which is shown as position 1; -1 is the last.

        :raises ChatGLMError: if there is none.
        """
        if not isinstance(index, int) or not -len(self) <= index < len(self):
            there = f"at(0), the first, to at({len(self) - 1}), the last"
            raise ChatGLMError(f"The answer has {len(self)} positions: {there}; no {index}.", kind="not_found")
        return self.positions[index]

    def reshape(
        self, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None
    ) -> tuple[Distribution, ...]:
        """Return, for each place, what the server would draw from with these settings.

        What is None is as it was asked for; left to the server, temperature and top_p count as 1, top_k as off.
        Probabilities of an unknown kind stay as the server told them.

        :raises ParameterError: for a temperature below 0, or a top_p outside 0 to 1, and for any setting where the
            kind of the probabilities is unknown.
        """
        settings = self._settings(temperature, top_p, top_k)
        return tuple(position.reshape(*settings) for position in self.positions)

    def to_dataframe(
        self, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None
    ) -> Any:
        """Return a pandas DataFrame: a row for each candidate of each place; settings as in :meth:`reshape`.

        :raises ChatGLMError: if pandas is not installed.
        """
        return lens_dataframe(self, *self._settings(temperature, top_p, top_k))

    def _settings(
        self, temperature: float | None, top_p: float | None, top_k: int | None
    ) -> tuple[float, float, int]:
        if self.logprobs_kind == "unknown":
            if (temperature, top_p, top_k) != (None, None, None):
                raise ParameterError(f"This lens can't be re-shaped: {UNKNOWN_KIND}")
            return 1.0, 1.0, 0
        if top_k is None:
            top_k = int(_sent_number(self.turn, "top_k") or 0)
        wished = (temperature, self.temperature, 1.0), (top_p, self.top_p, 1.0)
        found = [next(value for value in values if value is not None) for values in wished]
        return found[0], found[1], 0 if top_k == -1 else top_k  # a server takes -1 for off, too

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Position]:
        return iter(self.positions)

    def __repr__(self) -> str:
        named = "every token" if self.complete else f"{max((p.ranked for p in self), default=0)} tokens"
        return f"<Lens of {plural(len(self), 'position')}, {named} named at each>"

    def _repr_html_(self) -> str:
        from .report import lens_html

        return lens_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from .report import lens_text

        printer.text(repr(self) if len(printer.stack) > 1 else lens_text(self))

    def _ipython_display_(self) -> None:
        from ..render.views import is_displayed

        if not is_displayed(self):
            raise NotImplementedError  # IPython then goes on to the other forms


UNKNOWN_KIND = (
    "it can't be told whether the server's probabilities are the model's own, or already scaled by the "
    "temperature. If you know, pass logprobs=raw or logprobs=tempered."
)
"""Why probabilities of an unknown kind can't be re-shaped."""


OPEN, CLOSE = b"<think>", b"</think>"


def _find_answer_start(turn: Turn, positions: Sequence[Position]) -> int:
    """Return the first place of the answer; a server that tells of thinking too has it before, tags and all."""
    thought, answer = (text.strip().encode(errors="surrogatepass") for text in (turn.reasoning, turn.answer))
    tokens = [position.candidates[position.taken].data for position in positions]
    told = b"".join(tokens)
    body = told.lstrip().removeprefix(OPEN).lstrip()
    if not thought or told.strip() == answer or not body.startswith(thought[:40]):
        return 0  # without thinking, or with logprobs of the answer only
    end = len(told) - len(body) + len(thought)
    rest = told[end:]
    if rest.lstrip().startswith(CLOSE):
        end += len(rest) - len(rest.lstrip()) + len(CLOSE)
    ends = accumulate(len(token) for token in tokens)
    return next((n + 1 for n, at in enumerate(ends) if at >= end), len(tokens))


def _is_complete(turn: Turn, odds: Sequence[TokenLogprobs], asked_for: int, vocabulary: int | None) -> bool:
    """Tell whether every token was named: a server gives all it has where it is asked for more than that.

    A list that was cut short tells so by its length, by its sum, or in what was changed of the question.
    """
    counts = {len(place.top) for place in odds}
    if len(counts) != 1 or any(change.name == "top_logprobs" for change in turn.changed):
        return False
    (count,) = counts
    sums = [math.fsum(math.exp(candidate.logprob) for candidate in place.top) for place in odds]
    enough = count >= vocabulary if vocabulary else MIN_VOCABULARY_TOKENS <= count < asked_for
    return enough and all(abs(found - 1) < MAX_SUM_ERROR for found in sums)


def _sent_number(turn: Turn, name: str) -> float | None:
    value = turn.sent.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_PARAMETER:
        return None
    return float(value)
