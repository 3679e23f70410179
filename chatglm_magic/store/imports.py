"""Reading turns from a file that anybody may have written: every key and type is checked, nothing in it is run."""

from __future__ import annotations

import codecs
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO, Any

from ..errors import CommandError
from ..render.terminal import one_line
from ..strictjson import strict_json
from ..values import Turn
from .checking import Wrong, turn_from
from .files import open_ordinary
from .messages import turns_from

MIB = 1 << 20
LARGEST = 256 * MIB
"""Bytes that a file may have."""
DEEPEST = 64
"""Levels that a value may have."""
ENDINGS = (".jsonl", ".json")


def read(path: str | Path) -> list[tuple[Turn, int]]:
    """Return a file's turns with their positions, for :meth:`Store.add`.

    The file has turns as :meth:`Turn.to_json` writes them, one a line; or OpenAI's messages, as one JSON list or
    as an object ``{"messages": […]}`` a line, each of which becomes a conversation. What has no id gets one.

    :raises CommandError: for whatever else it is; the message names the line.
    """
    shown = one_line(os.fspath(path), 120)
    if Path(path).suffix.lower() not in ENDINGS:
        raise CommandError(f"{shown} must end in {' or '.join(ENDINGS)}: nothing else can be imported.")
    with os.fdopen(open_ordinary(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise CommandError(f"{shown} is larger than {LARGEST // MIB} MiB: split it.")
        try:
            turns = [turn for found in _lists(file) for turn in found]
        except Wrong as wrong:
            raise CommandError(f"{shown} was not imported: {one_line(str(wrong))}.") from None
    if not turns:
        raise CommandError(f"{shown} has no turns.")
    return _placed(turns)


def _placed(turns: list[Turn]) -> list[tuple[Turn, int]]:
    """Give every turn its position: the order of the file, in each conversation by itself."""
    places: dict[str, Iterator[int]] = {}
    return [(turn, next(places.setdefault(turn.conversation, count()))) for turn in turns]


def _lists(file: IO[bytes]) -> Iterator[list[Turn]]:
    """Yield the turns of each line, or of the one list that the file is.

    :raises Wrong: for what is neither.
    """
    nameless = _new_conversation()
    start = file.read(4)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise Wrong("it is UTF-16 text, save it as UTF-8")
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
    if file.read(1024).lstrip()[:1] == b"[":
        file.seek(0)
        yield _conversation(_parsed(file.read(LARGEST), 1))
        return
    file.seek(len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0)
    for number, line in enumerate(file, 1):
        if line.strip():
            yield _line(line, number, nameless)


def _line(line: bytes, number: int, nameless: str) -> list[Turn]:
    """Return the turns that one line holds.

    :raises Wrong: with the line's number.
    """
    data = _parsed(line, number)
    try:
        if not isinstance(data, dict):
            raise Wrong("it must be an object")
        if data.keys() == {"messages"}:
            return _conversation(data["messages"])
        turn = turn_from(data)
    except Wrong as wrong:
        raise Wrong(f"line {number}: {wrong}") from None
    return [replace(turn, id=turn.id or uuid.uuid4().hex, conversation=turn.conversation or nameless)]


def _conversation(messages: Any) -> list[Turn]:
    """Return a list of messages as a new conversation.

    :raises Wrong: if it is none.
    """
    if not isinstance(messages, list):
        raise Wrong("messages must be a list")
    name = _new_conversation()
    return [replace(turn, id=uuid.uuid4().hex, conversation=name) for turn in turns_from(messages)]


def _new_conversation() -> str:
    return uuid.uuid4().hex[:12]


def _parsed(source: bytes, first: int) -> Any:
    """Return the value that JSON describes.

    :param first: the number of its first line.
    :raises Wrong: if it is no JSON, or nested too deeply.
    """
    try:
        value = strict_json(source.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = first + source.count(b"\n", 0, error.start)
        raise Wrong(f"line {line} is no UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise Wrong(f"line {first + error.lineno - 1} is no JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise Wrong(f"line {first} is nested too deeply") from None
    except ValueError as error:
        raise Wrong(f"line {first}: {error}") from None
    if _deeper(value, DEEPEST):
        raise Wrong(f"line {first} is nested too deeply")
    return value


def _deeper(value: Any, levels: int) -> bool:
    """Tell whether a value is nested more deeply than so many levels."""
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(part, levels - 1) for part in parts)
