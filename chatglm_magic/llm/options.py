"""Options of a chat model's call besides parameters: tools, tool choice, response format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from ..errors import ParameterError
from ..parameters import suggest
from ..values import ChatOptions
from ..wire.body import sanitize_line
from ..wire.tool_calls import forced_name
from .structured import parse_response_format

CALL_OPTIONS = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "strict",
    "tool_text",
    "stream",
    "ls_structured_output_format",
    "structured_output_format",
)
"""Arguments of a call that aren't parameters of a request."""


def parse_chat_options(arguments: Mapping[str, Any]) -> ChatOptions:
    """Return the options among a call's arguments.

    :raises ParameterError: for an invalid option.
    """
    tools = to_openai_tools(arguments.get("tools") or (), None)
    choice, parallel = arguments.get("tool_choice"), arguments.get("parallel_tool_calls")
    if arguments.get("tool_text") not in (None, "read", "keep"):
        raise ParameterError("tool_text must be read or keep.")
    if parallel not in (None, True, False):
        raise ParameterError("parallel_tool_calls must be True, False or None.")
    as_json, schema, name, strict = parse_response_format(arguments.get("response_format"))
    return ChatOptions(
        tools=tuple(tools),
        tool_choice=None if choice in (None, False) or not tools else to_openai_tool_choice(choice, tools),
        parallel_tool_calls=parallel,
        as_json=as_json,
        schema=schema,
        schema_name=name,
        strict=strict,
    )


def to_openai_tools(tools: Any, strict: bool | None) -> list[dict[str, Any]]:
    """Convert tools to OpenAI's form.

    :raises ParameterError: for something that isn't a tool.
    """
    if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Iterable):
        raise ParameterError("tools must be a list of functions, classes, LangChain tools or dicts.")
    converted = []
    for tool in tools:
        if isinstance(tool, Mapping) and tool.get("type") not in (None, "function", "object"):
            converted.append(dict(tool))  # a server's tool, such as Z.ai's web_search
            continue
        try:
            converted.append(convert_to_openai_tool(tool, strict=strict))
        except Exception as error:  # noqa: BLE001 - LangChain raises what it likes
            reason = " ".join(str(error).split())
            raise ParameterError(
                f"{sanitize_line(repr(tool), 60)} can't be offered as a tool: {sanitize_line(reason, 200)}"
            ) from None
    return converted


def to_openai_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str | Mapping[str, Any]:
    """Convert a tool choice to OpenAI's form.

    :raises ParameterError: if it isn't the name of a bound tool.
    """
    names = [tool["function"]["name"] for tool in tools if isinstance(tool.get("function"), Mapping)]
    if choice is True:
        choice = names[0] if len(names) == 1 else "required"
    if isinstance(choice, Mapping):  # OpenAI's form, or Anthropic's
        choice = forced_name(choice) or choice.get("name") or choice.get("type")
    if choice in ("any", "required"):
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    if choice not in names:
        hint = suggest(str(choice), names) or f"Bound tools: {', '.join(names)}."
        raise ParameterError(f"tool_choice={choice!r} names no bound tool. {hint}")
    return {"type": "function", "function": {"name": choice}}
