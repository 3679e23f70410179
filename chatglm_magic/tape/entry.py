"""One recorded answer: the key of its request, how it is recorded, and its line on a tape."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ..client.request import Request
from ..credentials import MARK, MIN_CHARACTERS_IN_ANSWER
from ..errors import TapeError
from ..strictjson import strict_json
from ..values import Change, Delta, TokenLogprobs, ToolCallPiece, Turn
from ..wire.body import CONTROL_CHARACTERS
from ..wire.text_filters import StopFilter
from ..wire.tool_arguments import mask_json

DELIVERY_KEYS = ("stream", "stream_options")
"""Keys of a body that change how an answer is delivered, not its content."""


class KeyedRequest(NamedTuple):
    """A request with its key: 64 hex digits of SHA-256 over the request and the index of the sample."""

    key: str
    sample: int
    request: Mapping[str, Any]
    """``dialect`` and ``body``; also ``stop``, for stop sequences that aren't sent to the server."""


class RequestTexts(NamedTuple):
    """The texts of a request, in either dialect."""

    system: str | None
    history: list[Any]
    prompt: str


def keyed_request(request: Request) -> KeyedRequest:
    """Return the part of a request that identifies it on a tape: not its URL, not its headers."""
    sent = json.loads(request.data)  # as it is sent, with lists for tuples
    body = {name: value for name, value in sent.items() if name not in DELIVERY_KEYS}
    identity: dict[str, Any] = {"dialect": request.dialect, "body": body}
    if request.dialect == "openai":  # answers of the other one are recorded complete, and cut at replay
        sent_stop = body.get("stop") or []
        sent_stop = [sent_stop] if isinstance(sent_stop, str) else sent_stop
        unsent = [text for text in request.stop if text not in sent_stop]
        identity |= {"stop": unsent} if unsent else {}
    return KeyedRequest(request_key(identity, request.sample), request.sample, identity)


def request_key(request: Mapping[str, Any], sample: int) -> str:
    """Return the key of a request and a sample: SHA-256 over their canonical JSON."""
    text = json.dumps({**request, "sample": sample}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def request_texts(request: Mapping[str, Any]) -> RequestTexts:
    """Return a request's system prompt, the context before it, and its prompt."""
    body = request["body"]
    messages = body.get("messages")
    if not isinstance(messages, list):
        history = body.get("history")
        return RequestTexts(None, history if isinstance(history, list) else [], _text(body.get("prompt", "")))
    messages = [message if isinstance(message, dict) else {"content": message} for message in messages]
    systems = [_text(message.get("content")) for message in messages if message.get("role") == "system"]
    others = [message for message in messages if message.get("role") != "system"]
    prompt = _text(others[-1].get("content")) if others else ""
    return RequestTexts("\n\n".join(systems) or None, others[:-1], prompt)


def body_parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in a body besides its texts."""
    return {name: value for name, value in request["body"].items() if name not in BODY_TEXT_KEYS}


BODY_TEXT_KEYS = ("prompt", "history", "messages")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


DELTA_TEXT_FIELDS = ("text", "reasoning")
NETWORK_FIELDS = ("notice", "retries")
"""Fields about the connection, which aren't part of the answer."""

FACT_FIELDS = tuple(name for name in Delta._fields if name not in (*DELTA_TEXT_FIELDS, *NETWORK_FIELDS))
"""What a piece may hold besides text: the finish reason, the usage, the model, …"""

MAX_SECONDS = 1e9
"""A line with a larger time isn't a recorded answer."""

Piece = Sequence[Any]
"""Seconds since the request, text, reasoning; a fourth item, if present, maps the names of further facts."""


class TapeEntry(NamedTuple):
    """One recorded answer; of several with the same key, the first one with the highest ``take`` is replayed."""

    key: str
    sample: int
    request: Mapping[str, Any]
    turn: Mapping[str, Any]
    pieces: Sequence[Piece]
    take: int = 0

    def to_line(self) -> bytes:
        """Return the answer as a line, with its newline."""
        values = self._asdict()
        take = values.pop("take")
        optional = {"take": take} if take else {}
        ordered = {"key": values.pop("key"), "sample": values.pop("sample"), **optional, **values}
        parts = [f"{json.dumps(name)}: {_dump_json(value)}" for name, value in ordered.items()]
        return ("{" + ", ".join(parts) + "}\n").encode()

    def deltas(self) -> Iterator[tuple[float, Delta]]:
        """Yield the recorded pieces, with their seconds since the request.

        An answer that was edited no longer matches its pieces, and is yielded as one piece.
        """
        texts = ["".join(piece[index] for piece in self.pieces) for index in (1, 2)]
        if texts == [self.turn["answer"], self.turn.get("reasoning", "")]:
            for seconds, text, reasoning, *facts in self.pieces:
                yield seconds, Delta(text, reasoning, **_parse_facts(facts[0] if facts else {}))
            return
        calls = [_parse_facts(facts).get("tool_calls", ()) for piece in self.pieces for facts in piece[3:]]
        complete = Delta(self.turn["answer"], self.turn.get("reasoning", ""), **_parse_facts(self.turn))
        yield 0.0, complete._replace(tool_calls=tuple(itertools.chain(*calls)))


def parse_line(line: bytes) -> TapeEntry:
    """Return the answer that a line holds.

    :raises ValueError: if it doesn't hold one; the message says why.
    """
    try:
        values = strict_json(line.decode())
    except (ValueError, RecursionError):
        raise ValueError("isn't JSON") from None
    if not isinstance(values, dict) or not _is_entry(values):
        raise ValueError("isn't a recorded answer")
    entry = TapeEntry(**{name: values[name] for name in TapeEntry._fields if name in values})
    if request_key(entry.request, entry.sample) != entry.key:
        raise ValueError("has a key that is not its request's")
    return entry


def escape_json_text(text: str) -> str:
    """Escape what misleads a reader of JSON text: control characters, lone surrogates, marks that reverse text."""
    return CONTROL_CHARACTERS.sub(lambda match: json.dumps(match[0])[1:-1].replace("\x7f", r"\u007f"), text)


def _dump_json(value: Any) -> str:
    return escape_json_text(json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False))


def _parse_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a piece's facts with the types of :class:`Delta`, without those of another type."""
    facts = {name: values[name] for name in FACT_FIELDS if name in values}
    for name in ("finish_reason", "model"):
        if not isinstance(facts.get(name, ""), str):
            del facts[name]
    if "changed" in facts:
        facts["changed"] = _parse_changes(facts["changed"])
    if not isinstance(facts.get("usage", {}), dict):
        del facts["usage"]
    for name, kind in (("logprobs", TokenLogprobs), ("tool_calls", ToolCallPiece)):
        if name in facts:
            try:
                facts[name] = tuple(map(kind.from_json, facts[name]))
            except (ValueError, TypeError):
                del facts[name]
    return facts


def _parse_changes(value: Any) -> tuple[Change, ...]:
    """Return the changes on a tape: a list of notes, or in earlier versions one text that joins them."""
    notes = value.split(";") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(Change(note.strip()) for note in notes if isinstance(note, str) and note.strip())


def _is_entry(values: Mapping[str, Any]) -> bool:
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
        and 0 <= seconds < MAX_SECONDS
        and isinstance(piece[1], str)
        and isinstance(piece[2], str)
        and all(isinstance(facts, dict) for facts in piece[3:])
    )


OMITTED_TURN_FIELDS = ("endpoint", "id", "conversation", "cell_id", "cell_run")
"""Fields of a turn about where it was asked; a tape is the same everywhere."""

_EMPTY = Delta()


class TapeRecorder:
    """Records the pieces of one answer.

    :raises TapeError: ``secret`` for a request whose text contains the API key it is sent with.
    """

    def __init__(self, keyed: KeyedRequest, request: Request) -> None:
        self._keyed = keyed
        self._secrets = [secret for secret in request.secrets if len(secret) >= MIN_CHARACTERS_IN_ANSWER]
        if self._mask(keyed.request) != keyed.request:
            raise TapeError(
                "The request contains the server's API key, which would be saved on the tape. Remove it from the "
                "prompt, or stop recording: %chatglm_config tape=None.",
                kind="secret",
            )
        self._started = time.monotonic()
        self._created = datetime.now().astimezone().isoformat(timespec="seconds")
        self._stop = request.stop
        self._stop_filter = StopFilter(request.stop)
        self._pieces: list[list[Any]] = []
        self._facts: dict[str, Any] = {}
        self._changed: list[Change] = []

    @property
    def is_stopped(self) -> bool:
        """Whether a stop sequence has come, after which nothing more of the answer is read."""
        return self._stop_filter.hit

    @property
    def is_finished(self) -> bool:
        """Whether the answer is complete: it has a finish reason, or a stop sequence has come."""
        return self.is_stopped or "finish_reason" in self._facts

    def add(self, delta: Delta) -> None:
        """Record a piece."""
        if delta.thought:  # the text so far was thinking, and is replayed as such
            for piece in self._pieces:
                piece[1:3] = "", piece[1] + piece[2]
            self._stop_filter = StopFilter(self._stop)
        facts = {name: value for name in FACT_FIELDS if (value := getattr(delta, name)) != getattr(_EMPTY, name)}
        if not (delta.text or delta.reasoning or facts):
            return  # about the connection only
        seconds = round(time.monotonic() - self._started, 3)
        self._pieces.append([seconds, delta.text, delta.reasoning, *([facts] if facts else [])])
        self._stop_filter.feed(delta.text)
        self._changed += delta.changed
        self._facts |= facts

    def to_entry(self) -> TapeEntry:
        """Return the finished answer; the API key is masked, since a server may repeat it."""
        turn = self._mask(self._build_turn())
        pieces = self._mask(self._mask_tool_arguments())
        tokens = [
            odds.taken.token for piece in self._pieces for facts in piece[3:] for odds in facts.get("logprobs", ())
        ]
        if any(secret in "".join(tokens) for secret in self._secrets):
            pieces = [[*piece[:3], *({**facts, "logprobs": []} for facts in piece[3:])] for piece in pieces]
        for index, name in ((1, "answer"), (2, "reasoning")):
            if "".join(piece[index] for piece in pieces) != turn.get(name, ""):  # a key in several pieces
                pieces = [[seconds, "", "", *facts] for seconds, _, _, *facts in pieces]
                pieces[0][1:3] = turn["answer"], turn.get("reasoning", "")
                break
        return TapeEntry(self._keyed.key, self._keyed.sample, self._keyed.request, turn, pieces)

    def _mask_tool_arguments(self) -> list[list[Any]]:
        """Return the pieces; masked arguments are moved to the first piece, since a key may span several."""
        texts: dict[int, str] = {}
        for piece in self._pieces:
            for call in piece[3].get("tool_calls", ()) if len(piece) > 3 else ():
                texts[call.number] = texts.get(call.number, "") + call.arguments
        clean = {number: mask_json(text, self._secrets) for number, text in texts.items()}
        keyed = {number for number, text in texts.items() if clean[number] != text}
        if not keyed:
            return self._pieces
        pieces = []
        for seconds, text, reasoning, *facts in self._pieces:
            calls = [
                call._replace(arguments=clean.pop(call.number, "")) if call.number in keyed else call
                for call in (facts[0].get("tool_calls", ()) if facts else ())
            ]
            pieces.append([seconds, text, reasoning, *([facts[0] | {"tool_calls": calls}] if calls else facts)])
        return pieces

    def _build_turn(self) -> dict[str, Any]:
        request = self._keyed.request
        texts = request_texts(request)
        first = next((piece[0] for piece in self._pieces if piece[1] or piece[2]), None)
        turn = Turn(
            prompt=texts.prompt,
            answer="".join(piece[1] for piece in self._pieces),
            reasoning="".join(piece[2] for piece in self._pieces),
            dialect=request["dialect"],
            model=self._facts.get("model") or request["body"].get("model"),
            system=texts.system,
            sent=body_parameters(request),
            changed=tuple(dict.fromkeys(self._changed)),
            finish_reason="stop" if self.is_stopped else self._facts.get("finish_reason"),
            usage=self._facts.get("usage") or {},
            first_token=first,
            duration=round(time.monotonic() - self._started, 3),
            created=self._created,
        )
        defaults = Turn(prompt="").to_json()
        values = {name: value for name, value in turn.to_json().items() if name not in OMITTED_TURN_FIELDS}
        always = ("answer", "prompt", "status")
        return {name: value for name, value in values.items() if name in always or value != defaults[name]}

    def _mask(self, value: Any) -> Any:
        """Return a value as JSON has it, with secrets masked."""
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MARK)
            return value
        if isinstance(value, Mapping):
            return {self._mask(str(name)): self._mask(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._mask(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value
