"""One recorded answer: how a request is recognised, how an answer is recorded, and its line on a tape."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ..client.request import Call
from ..credentials import MARK, SHORTEST_IN_TEXT
from ..errors import TapeError
from ..strictjson import strict_json
from ..values import Change, Delta, TokenLogprobs, ToolCallPiece, Turn
from ..wire.body import CONTROLS
from ..wire.text_filters import StopFilter
from ..wire.tool_arguments import mask_json

DELIVERY = ("stream", "stream_options")
"""Keys of a body that say how an answer is delivered, not which."""


class Asked(NamedTuple):
    """A question with its key: 64 hex digits of SHA-256 over the request and the index of the sample."""

    key: str
    sample: int
    request: Mapping[str, Any]
    """``dialect`` and ``body``; ``stop`` too, where texts that the server is not told of end the answer."""


class Spoken(NamedTuple):
    """The words of a request, whichever its dialect."""

    system: str | None
    history: list[Any]
    prompt: str


def asked(call: Call) -> Asked:
    """Return what a tape knows of a call: neither its address nor its headers are part of it."""
    sent = json.loads(call.data)  # as it is sent: tuples are lists there
    body = {name: value for name, value in sent.items() if name not in DELIVERY}
    request: dict[str, Any] = {"dialect": call.dialect, "body": body}
    if call.dialect == "openai":  # the other protocol hands out whole answers, which are cut again each time
        told = body.get("stop") or []
        unsent = [text for text in call.stop if text not in ([told] if isinstance(told, str) else told)]
        request |= {"stop": unsent} if unsent else {}
    return Asked(key_of(request, call.sample), call.sample, request)


def key_of(request: Mapping[str, Any], sample: int) -> str:
    """Return the key of a request and a sample: SHA-256 over their canonical JSON."""
    text = json.dumps({**request, "sample": sample}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def spoken(request: Mapping[str, Any]) -> Spoken:
    """Return a request's system text, the conversation before it, and its prompt."""
    body = request["body"]
    messages = body.get("messages")
    if not isinstance(messages, list):
        past = body.get("history")
        return Spoken(None, past if isinstance(past, list) else [], _text(body.get("prompt", "")))
    told = [message if isinstance(message, dict) else {"content": message} for message in messages]
    systems = [_text(message.get("content")) for message in told if message.get("role") == "system"]
    others = [message for message in told if message.get("role") != "system"]
    prompt = _text(others[-1].get("content")) if others else ""
    return Spoken("\n\n".join(systems) or None, others[:-1], prompt)


def parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in a body besides its words."""
    return {name: value for name, value in request["body"].items() if name not in WORDS}


WORDS = ("prompt", "history", "messages")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


TEXT = ("text", "reasoning")
OF_THE_NETWORK = ("notice", "retries")
"""What is told of the way to an answer; no part of it."""

NEWS = tuple(name for name in Delta._fields if name not in (*TEXT, *OF_THE_NETWORK))
"""What a piece may bring besides text: the finish reason, the usage, the model, …"""

FOREVER = 1e9
"""Seconds that no answer takes."""

Piece = Sequence[Any]
"""Seconds since the question, text, reasoning; a fourth item holds the piece's news by name, where it has any."""


class TapeEntry(NamedTuple):
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
        calls = [_news(news).get("tool_calls", ()) for piece in self.pieces for news in piece[3:]]
        whole = Delta(self.turn["answer"], self.turn.get("reasoning", ""), **_news(self.turn))
        yield 0.0, whole._replace(tool_calls=tuple(itertools.chain(*calls)))


def read(line: bytes) -> TapeEntry:
    """Return the answer that a line holds.

    :raises ValueError: if it holds none; the message says why.
    """
    try:
        values = strict_json(line.decode())
    except (ValueError, RecursionError):
        raise ValueError("isn't JSON") from None
    if not isinstance(values, dict) or not _is_answer(values):
        raise ValueError("isn't a recorded answer")
    found = TapeEntry(**{name: values[name] for name in TapeEntry._fields if name in values})
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
    for name, kind in (("logprobs", TokenLogprobs), ("tool_calls", ToolCallPiece)):
        if name in news:
            try:
                news[name] = tuple(map(kind.from_json, news[name]))
            except (ValueError, TypeError):
                del news[name]
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


LEFT_OUT = ("endpoint", "id", "conversation", "cell_id", "cell_run")
"""What a turn knows of where it was asked; a tape is the same everywhere."""

_EMPTY = Delta()


class TapeRecorder:
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
        self._stops = call.stop
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
        if delta.thought:  # what came as text was thinking, and is replayed as such
            for piece in self._pieces:
                piece[1:3] = "", piece[1] + piece[2]
            self._stop = StopFilter(self._stops)
        news = {name: value for name in NEWS if (value := getattr(delta, name)) != getattr(_EMPTY, name)}
        if not (delta.text or delta.reasoning or news):
            return  # a word about the way
        seconds = round(time.monotonic() - self._began, 3)
        self._pieces.append([seconds, delta.text, delta.reasoning, *([news] if news else [])])
        self._stop.feed(delta.text)
        self._changed += delta.changed
        self._news |= news

    def recorded(self) -> TapeEntry:
        """Return the finished answer, without the key it was asked with, should the server have repeated it."""
        turn = self._clean(self._turn())
        pieces = self._clean(self._without_keys_in_calls())
        tokens = [
            odds.taken.token for piece in self._pieces for news in piece[3:] for odds in news.get("logprobs", ())
        ]
        if any(secret in "".join(tokens) for secret in self._secrets):
            pieces = [[*piece[:3], *({**news, "logprobs": []} for news in piece[3:])] for piece in pieces]
        for place, name in ((1, "answer"), (2, "reasoning")):
            if "".join(piece[place] for piece in pieces) != turn.get(name, ""):  # a key in several pieces
                pieces = [[seconds, "", "", *news] for seconds, _, _, *news in pieces]
                pieces[0][1:3] = turn["answer"], turn.get("reasoning", "")
                break
        return TapeEntry(self._asked.key, self._asked.sample, self._asked.request, turn, pieces)

    def _without_keys_in_calls(self) -> list[list[Any]]:
        """Return the pieces; arguments that hold a key in several of them stand whole in the first one."""
        texts: dict[int, str] = {}
        for piece in self._pieces:
            for call in piece[3].get("tool_calls", ()) if len(piece) > 3 else ():
                texts[call.number] = texts.get(call.number, "") + call.arguments
        clean = {number: mask_json(text, self._secrets) for number, text in texts.items()}
        keyed = {number for number, text in texts.items() if clean[number] != text}
        if not keyed:
            return self._pieces
        pieces = []
        for seconds, text, reasoning, *news in self._pieces:
            calls = [
                call._replace(arguments=clean.pop(call.number, "")) if call.number in keyed else call
                for call in (news[0].get("tool_calls", ()) if news else ())
            ]
            pieces.append([seconds, text, reasoning, *([news[0] | {"tool_calls": calls}] if calls else news)])
        return pieces

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
