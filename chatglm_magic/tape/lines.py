"""One answer as one line of a tape, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..strictjson import strict_json
from ..values import Change, Delta, Odds
from ..wire.body import CONTROLS
from .question import key_of

TEXT = ("text", "reasoning")
OF_THE_NETWORK = ("notice", "retries")
"""What is told of the way to an answer; no part of it."""

NEWS = tuple(name for name in Delta._fields if name not in (*TEXT, *OF_THE_NETWORK))
"""What a piece may bring besides text: the finish reason, the usage, the model, …"""

FOREVER = 1e9
"""Seconds that no answer takes."""

Piece = Sequence[Any]
"""Seconds since the question, text, reasoning; a fourth item holds the piece's news by name, where it has any."""


class Recorded(NamedTuple):
    """One recorded answer; where a key stands on a tape twice, the highest ``take`` counts, else the first."""

    key: str
    sample: int
    request: Mapping[str, Any]
    turn: Mapping[str, Any]
    pieces: Sequence[Piece]
    take: int = 0

    def line(self) -> bytes:
        """Return the answer as a line, with its end."""
        values = self._asdict()
        take = values.pop("take")
        again = {"take": take} if take else {}
        ordered = {"key": values.pop("key"), "sample": values.pop("sample"), **again, **values}
        parts = [f"{json.dumps(name)}: {_json(value)}" for name, value in ordered.items()]
        return ("{" + ", ".join(parts) + "}\n").encode()

    def deltas(self) -> Iterator[tuple[float, Delta]]:
        """Yield the pieces as they were, with their seconds since the question.

        An answer that was changed by hand no longer fits its pieces, and comes in one.
        """
        texts = ["".join(piece[place] for piece in self.pieces) for place in (1, 2)]
        if texts == [self.turn["answer"], self.turn.get("reasoning", "")]:
            for seconds, text, reasoning, *news in self.pieces:
                yield seconds, Delta(text, reasoning, **_news(news[0] if news else {}))
            return
        yield 0.0, Delta(self.turn["answer"], self.turn.get("reasoning", ""), **_news(self.turn))


def read(line: bytes) -> Recorded:
    """Return the answer that a line holds.

    :raises ValueError: if it holds none; the message says why.
    """
    try:
        values = strict_json(line.decode())
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(values, dict) or not _is_answer(values):
        raise ValueError("is no recorded answer")
    found = Recorded(**{name: values[name] for name in Recorded._fields if name in values})
    if key_of(found.request, found.sample) != found.key:
        raise ValueError("has a key that is not its request's")
    return found


def escaped(text: str) -> str:
    """Return JSON text in which nothing misleads a reader: no half characters, no marks that turn text round."""
    return CONTROLS.sub(lambda found: json.dumps(found[0])[1:-1].replace("\x7f", r"\u007f"), text)


def _json(value: Any) -> str:
    return escaped(json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False))


def _news(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a piece's news as the pieces have them; what is of another type is left out."""
    news = {name: found[name] for name in NEWS if name in found}
    for name in ("finish_reason", "model"):
        if not isinstance(news.get(name, ""), str):
            del news[name]
    if "changed" in news:
        news["changed"] = _changes(news["changed"])
    if not isinstance(news.get("usage", {}), dict):
        del news["usage"]
    if "logprobs" in news:
        try:
            news["logprobs"] = tuple(map(Odds.from_json, news["logprobs"]))
        except (ValueError, TypeError):
            del news["logprobs"]
    return news


def _changes(found: Any) -> tuple[Change, ...]:
    """Return what a tape says was changed: a list of notes, or as earlier versions wrote it, one text of them."""
    notes = found.split(";") if isinstance(found, str) else found if isinstance(found, list) else []
    return tuple(Change(note.strip()) for note in notes if isinstance(note, str) and note.strip())


def _is_answer(values: Mapping[str, Any]) -> bool:
    request, turn, pieces = (values.get(name) for name in ("request", "turn", "pieces"))
    return (
        isinstance(values.get("key"), str)
        and type(values.get("sample")) is int
        and type(values.get("take", 0)) is int
        and isinstance(request, dict)
        and isinstance(request.get("dialect"), str)
        and isinstance(request.get("body"), dict)
        and isinstance(turn, dict)
        and isinstance(turn.get("answer"), str)
        and isinstance(turn.get("reasoning", ""), str)
        and isinstance(pieces, list)
        and all(_is_piece(piece) for piece in pieces)
    )


def _is_piece(piece: Any) -> bool:
    if not isinstance(piece, list) or len(piece) not in (3, 4):
        return False
    seconds = piece[0]
    return (
        type(seconds) in (int, float)
        and 0 <= seconds < FOREVER
        and isinstance(piece[1], str)
        and isinstance(piece[2], str)
        and all(isinstance(news, dict) for news in piece[3:])
    )
