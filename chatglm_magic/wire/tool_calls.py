"""Tool calls in OpenAI's protocol: the keys of a request, and the assembly of calls from a response.

Sources: OpenAI's API reference (``tools``, ``tool_choice``, ``tool_calls``), and the variants of vLLM, SGLang,
llama.cpp, Ollama and Z.ai: fragments with or without an index; one id for two calls, or none; arguments as an
object.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..values import Change, ToolCallPiece
from .thinking import GLM_VERSION, SERVER_TITLES, Server

ToolChoice = str | Mapping[str, Any]
"""``auto``, ``none``, ``required``, or an object that names a function."""

SERVERS_WITH_AUTO_ONLY: tuple[Server, ...] = ("zai", "ollama")
"""Servers on which the model always decides, whatever the request says."""

SERVERS_WITHOUT_PARALLEL: tuple[Server, ...] = ("zai", "ollama")
FIRST_STREAMING_VERSION = 4, 6
"""The first GLM version whose arguments Z.ai streams on request."""


def tool_keys(
    tools: Sequence[Mapping[str, Any]],
    choice: ToolChoice | None,
    parallel: bool | None,
    model: str | None,
    server: Server | None,
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the keys of the body that offer tools, and what was changed of the options.

    :param tools: functions in OpenAI's form.
    :param parallel: whether the model may make several calls at once; None for the server default.
    """
    if not tools or (choice == "none" and server in SERVERS_WITH_AUTO_ONLY):  # what isn't offered isn't called
        return {}, ()
    keys: dict[str, Any] = {"tools": [dict(tool) for tool in tools]}
    changed: tuple[Change, ...] = ()
    if choice is not None:
        keys["tool_choice"] = choice if isinstance(choice, str) else dict(choice)
        if server in SERVERS_WITH_AUTO_ONLY and choice != "auto":
            keys["tool_choice"] = "auto"
            wish = choice if isinstance(choice, str) else forced_name(choice)
            changed += (Change(f"tool_choice: {wish} sent as auto, {SERVER_TITLES[server]} takes nothing else"),)
    if parallel is not None:
        if server in SERVERS_WITHOUT_PARALLEL:
            note = f"parallel_tool_calls: not sent, {SERVER_TITLES[server]} doesn't take it"
            changed += (Change(note),)
        else:
            keys["parallel_tool_calls"] = parallel
    if server == "zai":
        changed += _drop_strict(keys)
        if _streams_arguments(model):
            keys["tool_stream"] = True
    return keys, changed


def forced_name(choice: ToolChoice | None) -> str | None:
    """Return the function that a choice names; None if it names none."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _drop_strict(keys: dict[str, Any]) -> tuple[Change, ...]:
    """Remove ``strict``, which Z.ai refuses, from the functions."""
    functions = [tool.get("function") for tool in keys["tools"]]
    if not any(isinstance(function, Mapping) and "strict" in function for function in functions):
        return ()
    for tool in keys["tools"]:
        tool["function"] = {name: value for name, value in tool["function"].items() if name != "strict"}
    return (Change("strict: not sent, Z.ai doesn't take it"),)


def _streams_arguments(model: str | None) -> bool:
    version = GLM_VERSION.search((model or "").lower())
    return version is not None and (int(version[1]), int(version[2] or 0)) >= FIRST_STREAMING_VERSION


class ToolCallAssembler:
    """Assembles the calls of one answer from the fragments that servers send.

    Calls are numbered in the order in which they begin, and each has a unique id: a missing one, or one that
    another call of the answer has, is replaced.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._received_ids: list[str] = []
        self._names: list[str] = []
        self._arguments: list[list[str]] = []
        self._by_index: dict[int, int] = {}

    @property
    def has_calls(self) -> bool:
        """Whether a call has begun."""
        return bool(self._ids)

    def feed(self, listed: Any) -> list[ToolCallPiece]:
        """Process the ``tool_calls`` of an event or a message; return the new part of each call."""
        pieces = []
        for item in listed if isinstance(listed, list) else [listed]:
            if isinstance(item, Mapping):
                pieces += list(self._read_item(item))
        return pieces

    def _read_item(self, item: Mapping[str, Any]) -> Iterator[ToolCallPiece]:
        function = item.get("function")
        function = function if isinstance(function, Mapping) else item
        name, text = _text(function.get("name")), _arguments(function.get("arguments"))
        index, received_id = item.get("index"), _text(item.get("id"))
        index = index if type(index) is int else None
        call = self._find_call(index, received_id, name, text)
        if call is None:
            if not (name or received_id or text):
                return
            call = self._begin(index, received_id, name)
            yield ToolCallPiece(call, self._ids[call], name, text)
        else:
            known, so_far = self._names[call], "".join(self._arguments[call])
            if text and text == so_far and _is_json(text):
                return  # the server repeats the whole arguments
            self._names[call] = known or name
            if text or (name and not known):
                yield ToolCallPiece(call, "", "" if known else name, text)
        self._arguments[call].append(text)

    def _find_call(self, index: int | None, received_id: str, name: str, text: str) -> int | None:
        """Return the call that a fragment continues; None if it begins another."""
        if index is not None:
            call = self._by_index.get(index)
        elif received_id and received_id in self._received_ids:
            call = len(self._received_ids) - 1 - self._received_ids[::-1].index(received_id)
        else:
            call = len(self._ids) - 1 if self._ids and not name else None
        if call is None or not name or not self._names[call]:
            return call
        # A second name at one index: the same call's, repeated, or another call of a server that doesn't count.
        so_far = "".join(self._arguments[call])
        begins_another = _is_json(so_far) and text.lstrip().startswith("{") and text != so_far
        is_another = (
            received_id and self._received_ids[call] and received_id != self._received_ids[call]
        ) or name != self._names[call]
        return None if is_another or begins_another else call

    def _begin(self, index: int | None, received_id: str, name: str) -> int:
        call = len(self._ids)
        self._ids.append(received_id if received_id and received_id not in self._ids else new_call_id())
        self._received_ids.append(received_id)
        self._names.append(name)
        self._arguments.append([])
        if index is not None:
            self._by_index[index] = call
        return call


def new_call_id() -> str:
    """Return a random id for a call that has none."""
    return f"call_{secrets.token_hex(12)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(value: Any) -> str:
    """Return arguments as text: some servers send an object."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
