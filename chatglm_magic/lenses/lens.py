"""``Lens``: an answer with the probabilities of its tokens."""

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
    """Return a DataFrame of the candidates and their probabilities with these parameters.

    :raises ChatGLMError: if pandas is not installed.
    """
    return build_dataframe(row for position in positions for row in _rows(position, temperature, top_p, top_k))


def _rows(position: Position, temperature: float, top_p: float, top_k: int) -> Iterator[dict[str, Any]]:
    reshaped, model = position.reshape(temperature, top_p, top_k), position.reshape()
    for index, candidate in enumerate(position.candidates):
        before, share, probability = model.share(index), reshaped.share(index), reshaped.probability(index)
        yield {
            "position": position.index,
            "rank": index + 1 if index < position.ranked else None,
            "token": candidate.token,
            "label": token_label(candidate),
            "id": candidate.id,
            "taken": index == position.taken,
            "logprob": candidate.logprob,
            "before_low": before.low,
            "before_high": before.high,
            "share_low": share.low,
            "share_high": share.high,
            "probability_low": probability.low,
            "probability_high": probability.high,
            "survives": reshaped.survives(index),
        }


MIN_VOCABULARY_TOKENS = 256
"""One token for each byte; a shorter list has been cut."""

MAX_SUM_ERROR = 1e-3
"""Maximum difference between 1 and the sum of a complete vocabulary's probabilities."""


@dataclass(frozen=True)
class Lens:
    """The positions of an answer with their token probabilities, which are reshaped without another request.

    ``complete`` is whether the server named every token of its vocabulary, so that all figures are exact;
    otherwise ``vocabulary`` bounds its size. ``logprobs_kind`` is the kind of the server's probabilities: the
    model's own (``raw``), those after the request's temperature (``tempered``), which is undone here, or
    ``unknown``, which can't be reshaped. ``answer_start`` is the first position after the thinking.
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
        """Return the lens of a turn and its log-probabilities.

        :param asked_for: the requested number of candidates at each position.
        :param kind: the kind of the probabilities. Greedy ones (temperature 0) are the model's own in any case.
        """
        named = [entry for entry in odds if entry.top]
        complete = _is_complete(turn, named, asked_for, vocabulary)
        size = max((len(entry.top) for entry in named), default=0) if complete else None
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
        """The temperature of the request; None for the server default."""
        return _sent_number(self.turn, "temperature")

    @property
    def top_p(self) -> float | None:
        """The top_p of the request; None for the server default."""
        return _sent_number(self.turn, "top_p")

    def at(self, index: int) -> Position:
        """Return a position: 0 is the first, which is displayed as position 1; -1 is the last.

        :raises ChatGLMError: if there is none.
        """
        if not isinstance(index, int) or not -len(self) <= index < len(self):
            valid = f"at(0), the first, to at({len(self) - 1}), the last"
            raise ChatGLMError(f"The answer has {len(self)} positions: {valid}; no {index}.", kind="not_found")
        return self.positions[index]

    def reshape(
        self, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None
    ) -> tuple[Distribution, ...]:
        """Return, for each position, the distribution that the server would draw from with these parameters.

        None means the request's value; if it has none, temperature and top_p count as 1, and top_k is off.
        Probabilities of an unknown kind stay as the server reported them.

        :raises ParameterError: for a temperature below 0, a top_p outside 0 to 1, or any parameter if the kind of
            the probabilities is unknown.
        """
        parameters = self._resolve_parameters(temperature, top_p, top_k)
        return tuple(position.reshape(*parameters) for position in self.positions)

    def to_dataframe(
        self, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None
    ) -> Any:
        """Return a DataFrame with a row for each candidate of each position; parameters as for :meth:`reshape`.

        :raises ChatGLMError: if pandas is not installed.
        """
        return lens_dataframe(self, *self._resolve_parameters(temperature, top_p, top_k))

    def _resolve_parameters(
        self, temperature: float | None, top_p: float | None, top_k: int | None
    ) -> tuple[float, float, int]:
        if self.logprobs_kind == "unknown":
            if (temperature, top_p, top_k) != (None, None, None):
                raise ParameterError(f"This lens can't be re-shaped: {UNKNOWN_KIND}")
            return 1.0, 1.0, 0
        if top_k is None:
            top_k = int(_sent_number(self.turn, "top_k") or 0)
        choices = (temperature, self.temperature, 1.0), (top_p, self.top_p, 1.0)
        first, second = (next(value for value in values if value is not None) for values in choices)
        return first, second, 0 if top_k == -1 else top_k  # to some servers -1 means off, too

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
            raise NotImplementedError  # IPython then tries the other formats


UNKNOWN_KIND = (
    "it can't be detected whether the server's probabilities are raw or already scaled by the "
    "temperature. If you know, pass logprobs=raw or logprobs=tempered."
)
"""Why probabilities of an unknown kind can't be reshaped."""


OPEN, CLOSE = b"<think>", b"</think>"


def _find_answer_start(turn: Turn, positions: Sequence[Position]) -> int:
    """Return the first position of the answer; a server may report thinking, with its tags, before it."""
    thought, answer = (part.strip().encode(errors="surrogatepass") for part in (turn.reasoning, turn.answer))
    tokens = [position.candidates[position.taken].data for position in positions]
    text = b"".join(tokens)
    body = text.lstrip().removeprefix(OPEN).lstrip()
    if not thought or text.strip() == answer or not body.startswith(thought[:40]):
        return 0  # without thinking, or with logprobs of the answer only
    end = len(text) - len(body) + len(thought)
    rest = text[end:]
    if rest.lstrip().startswith(CLOSE):
        end += len(rest) - len(rest.lstrip()) + len(CLOSE)
    ends = accumulate(len(token) for token in tokens)
    return next((n + 1 for n, position in enumerate(ends) if position >= end), len(tokens))


def _is_complete(turn: Turn, odds: Sequence[TokenLogprobs], asked_for: int, vocabulary: int | None) -> bool:
    """Return whether every token was named: a server returns all if more than all are requested.

    A list that was cut is recognized by its length, its sum, or a change of the request.
    """
    counts = {len(entry.top) for entry in odds}
    if len(counts) != 1 or any(change.name == "top_logprobs" for change in turn.changed):
        return False
    (count,) = counts
    sums = [math.fsum(math.exp(candidate.logprob) for candidate in entry.top) for entry in odds]
    enough = count >= vocabulary if vocabulary else MIN_VOCABULARY_TOKENS <= count < asked_for
    return enough and all(abs(total - 1) < MAX_SUM_ERROR for total in sums)


def _sent_number(turn: Turn, name: str) -> float | None:
    value = turn.sent.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_PARAMETER:
        return None
    return float(value)
