"""Import of files of turns or messages, checked field by field."""

from __future__ import annotations

import codecs
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import IO, Any, get_args

from .._version import __version__
from ..errors import CommandError
from ..render.text import one_line
from ..safe_files import open_regular_file
from ..strictjson import strict_json
from ..values import Kind, Status, Turn
from .foreign import ACCEPTED_FORMATS, extract_messages


class InvalidTurn(Exception):
    """Invalid content of a file; the message says what is wrong."""


def turn_from_object(data: Mapping[str, Any]) -> Turn:
    """Return the turn that an object describes.

    :raises InvalidTurn: for an unknown or missing key, or a value of the wrong type.
    """
    for key, value in data.items():
        if key not in CHECKS:
            raise InvalidTurn(f"there is no key {key!r} in a turn")
        is_valid, expected = CHECKS[key]
        if not is_valid(value):
            raise InvalidTurn(f"{key} must be {expected}")
    if "prompt" not in data:
        raise InvalidTurn("a turn must have a prompt")
    return Turn.from_json(data)


Check = tuple[Callable[[Any], bool], str]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check[0](value), f"{check[1]} or null"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return not value or bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _hex_digits(digits: int) -> Check:
    form = re.compile(f"([0-9a-f]{{{digits}}})?")
    return lambda value: isinstance(value, str) and bool(form.fullmatch(value)), f"{digits} hex digits"


def _one_of(names: tuple[str, ...]) -> Check:
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


TEXT: Check = (_is_text, "a text")
OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
COUNT: Check = (_is_count, "a whole number of at least 0")
SECONDS: Check = (_is_seconds, "a number of seconds")

CHECKS: dict[str, Check] = {
    "prompt": TEXT,
    "answer": TEXT,
    "reasoning": TEXT,
    "status": _one_of(get_args(Status)),
    "endpoint": TEXT,
    "dialect": TEXT,
    "model": _or_none(TEXT),
    "system": _or_none(TEXT),
    "asked": OBJECT,
    "sent": OBJECT,
    "changed": (lambda value: isinstance(value, list) and all(map(_is_text, value)), "a list of texts"),
    "turns_sent": COUNT,
    "turns_left_out": COUNT,
    "finish_reason": _or_none(TEXT),
    "usage": OBJECT,
    "first_token": _or_none(SECONDS),
    "first_answer": _or_none(SECONDS),
    "duration": _or_none(SECONDS),
    "reasoning_tokens": _or_none(COUNT),
    "created": (_is_time, "an ISO 8601 time"),
    "error": _or_none(TEXT),
    "kind": _one_of(get_args(Kind)),
    "cell_id": _or_none(TEXT),
    "cell_run": COUNT,
    "outside": (lambda value: isinstance(value, bool), "true or false"),
    "version": TEXT,
    "id": _hex_digits(32),
    "conversation": _hex_digits(12),
}


MESSAGE_KEYS = {"role", "content", "name", "reasoning_content", "reasoning"}
EMPTY_MESSAGE_KEYS = {"refusal", "audio", "tool_calls", "function_call", "annotations"}
"""Keys that clients write without a value; with one, a turn can't represent the message."""


def turns_from_messages(messages: list[Any]) -> list[Turn]:
    """Return the turns of a conversation: each user message with the assistant's answer to it.

    A system message applies to the turns after it. A prompt without an answer becomes an incomplete turn.

    :raises InvalidTurn: for a message that is invalid or out of order.
    """
    turns: list[Turn] = []
    system: str | None = None
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    for number, message in enumerate(messages, 1):
        role, text = _parse_message(message, number)
        if role == "user":
            turns.append(
                Turn(
                    text,
                    status="incomplete",
                    error=UNANSWERED_ERROR,
                    system=system,
                    created=now,
                    version=__version__,
                )
            )
        elif role == "assistant" and turns and turns[-1].error:
            thought = message.get("reasoning_content") or message.get("reasoning") or ""
            turns[-1] = replace(turns[-1], answer=text, reasoning=thought, status="complete", error=None)
        elif role == "assistant":
            raise InvalidTurn(f"message {number} answers nothing: a user's message must come before it")
        else:
            system = text
    return turns


UNANSWERED_ERROR = "the file has no answer"


def _parse_message(message: Any, number: int) -> tuple[str, str]:
    """Return a message's role and text.

    :raises InvalidTurn: if it isn't in OpenAI's format.
    """
    if not isinstance(message, dict):
        raise InvalidTurn(f'message {number} must be an object with "role" and "content"')
    for key, value in message.items():
        if key not in MESSAGE_KEYS and not (key in EMPTY_MESSAGE_KEYS and not value):
            raise InvalidTurn(f"there is no key {key!r} in a message of user and assistant (message {number})")
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant"):
        raise InvalidTurn(
            f"message {number} has the role {role!r}: only system, developer, user and assistant can be imported"
        )
    for key in ("reasoning_content", "reasoning"):  # the latter is vLLM's
        if not isinstance(message.get(key) or "", str):
            raise InvalidTurn(f"{key} of message {number} must be a text")
    return role, _message_text(message.get("content"), number)


def _message_text(content: Any, number: int) -> str:
    """Return a message's text, which may come in parts.

    :raises InvalidTurn: if it isn't text.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        is_parts = all(isinstance(part, dict) and part.keys() == {"type", "text"} for part in content)
        if is_parts and all(part["type"] == "text" and isinstance(part["text"], str) for part in content):
            return "".join(part["text"] for part in content)
    raise InvalidTurn(f"message {number} must have a text as its content")


MIB = 1 << 20
MAX_FILE_BYTES = 256 * MIB
"""The largest file that is imported."""
MAX_DEPTH = 64
"""The deepest nesting that is accepted, in levels."""
FILE_ENDINGS = (".jsonl", ".json")


def read_turns(path: str | Path) -> list[tuple[Turn, int]]:
    """Return a file's turns with their positions, for :meth:`Store.add`.

    The file has one turn per line as :meth:`Turn.to_json` writes it, or conversations. A conversation is a JSON
    list of OpenAI's messages, an object ``{"messages": […]}`` or a format of :mod:`.foreign`; the file has a
    single one, one per line, or a JSON list of them. Turns without an id get one.

    :raises CommandError: for any other content; the message names the line.
    """
    shown = one_line(os.fspath(path), 120)
    if Path(path).suffix.lower() not in FILE_ENDINGS:
        raise CommandError(f"{shown} must end in {' or '.join(FILE_ENDINGS)}: nothing else can be imported.")
    with os.fdopen(open_regular_file(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise CommandError(f"{shown} is larger than {MAX_FILE_BYTES // MIB} MiB: split it.")
        try:
            turns = [turn for part in _parse_file(file) for turn in part]
        except InvalidTurn as error:
            raise CommandError(f"{shown} was not imported: {one_line(str(error))}.") from None
    if not turns:
        raise CommandError(f"{shown} has no turns.")
    return _add_positions(turns)


def _add_positions(turns: list[Turn]) -> list[tuple[Turn, int]]:
    """Return every turn with its position in its conversation, in the order of the file."""
    positions: dict[str, Iterator[int]] = {}
    return [(turn, next(positions.setdefault(turn.conversation, count()))) for turn in turns]


def _parse_file(file: IO[bytes]) -> Iterator[list[Turn]]:
    """Yield the turns of each line, or of the single JSON value in the file.

    :raises InvalidTurn: if it is neither.
    """
    nameless = _new_conversation()
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise InvalidTurn("it is UTF-16 text, save it as UTF-8")
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
    if file.read(1024).lstrip()[:1] == b"[":
        file.seek(0)
        yield from _parse_list(_parse_json(file.read(MAX_FILE_BYTES), 1))
        return
    file.seek(0)
    first = next((line for line in file if line.strip()), b"")
    file.seek(0)
    if first.strip(b" \t\r\n\xef\xbb\xbf") == b"{":  # one object on many lines
        yield _parse_object(_parse_json(file.read(MAX_FILE_BYTES), 1), nameless)
        return
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
    for number, line in enumerate(file, 1):
        if line.strip():
            yield _parse_line(line, number, nameless)


def _parse_line(line: bytes, number: int, nameless: str) -> list[Turn]:
    """Return the turns on one line.

    :raises InvalidTurn: with the line's number.
    """
    data = _parse_json(line, number)
    try:
        return _parse_object(data, nameless)
    except InvalidTurn as error:
        raise InvalidTurn(f"line {number}: {error}") from None


def _parse_list(data: Any) -> Iterator[list[Turn]]:
    """Yield the conversations in a list: the list itself, or one for each object of another format in it.

    :raises InvalidTurn: with the object's number.
    """
    conversations = [
        extract_messages(item) if isinstance(item, dict) and "role" not in item else None for item in data
    ]
    if not data or any(messages is None for messages in conversations):
        yield _parse_conversation(data)
        return
    for number, messages in enumerate(conversations, 1):
        try:
            yield _parse_conversation(messages)
        except InvalidTurn as error:
            raise InvalidTurn(f"conversation {number}: {error}") from None


def _parse_object(data: Any, nameless: str) -> list[Turn]:
    """Return the turns of an object: a turn, or a conversation of another format.

    :raises InvalidTurn: if it is neither.
    """
    if not isinstance(data, dict):
        raise InvalidTurn("it must be an object")
    messages = extract_messages(data)
    if messages is not None:
        return _parse_conversation(messages)
    try:
        turn = turn_from_object(data)
    except InvalidTurn as error:
        raise InvalidTurn(f"{error} ({ACCEPTED_FORMATS})" if "prompt" not in data else str(error)) from None
    return [replace(turn, id=turn.id or uuid.uuid4().hex, conversation=turn.conversation or nameless)]


def _parse_conversation(messages: Any) -> list[Turn]:
    """Return a list of messages as a new conversation.

    :raises InvalidTurn: if it isn't a list of messages.
    """
    if not isinstance(messages, list):
        raise InvalidTurn("messages must be a list")
    name = _new_conversation()
    return [replace(turn, id=uuid.uuid4().hex, conversation=name) for turn in turns_from_messages(messages)]


def _new_conversation() -> str:
    return uuid.uuid4().hex[:12]


def _parse_json(source: bytes, first: int) -> Any:
    """Return the value of a JSON text.

    :param first: the number of its first line.
    :raises InvalidTurn: if it isn't JSON, or nested too deeply.
    """
    try:
        value = strict_json(source.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = first + source.count(b"\n", 0, error.start)
        raise InvalidTurn(f"line {line} isn't UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InvalidTurn(
            f"line {first + error.lineno - 1} isn't JSON: {error.msg} at column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidTurn(f"line {first} is nested too deeply") from None
    except ValueError as error:
        raise InvalidTurn(f"line {first}: {error}") from None
    if _is_deeper_than(value, MAX_DEPTH):
        raise InvalidTurn(f"line {first} is nested too deeply")
    return value


def _is_deeper_than(value: Any, levels: int) -> bool:
    """Return whether a value is nested more deeply than ``levels``."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper_than(part, levels - 1) for part in parts)
