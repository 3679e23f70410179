"""``python -m tests.tool_rivals``: what ``GLMChatModel`` and ``ChatOpenAI`` make of faults of servers' parsers.

Each input goes to both, streamed and not. Prints a table in Markdown. Needs the extra ``rivals``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chatglm_magic import GLMChatModel

from .chat.test_replies import TOOLS, function, piece
from .support.servers import ScriptedServer, chunk, reply, sse

PARIS = {"city": "Paris", "days": 3}


@dataclass(frozen=True)
class Case:
    """What a server sends, and the call that is meant; without one it must not pass as whole."""

    name: str
    text: str = ""
    call: tuple[str, str] | None = None
    expected: tuple[str, dict[str, Any]] | None = None
    reason: str = "stop"


VALUES = "<arg_key>city</arg_key><arg_value>Paris</arg_value><arg_key>days</arg_key><arg_value>3</arg_value>"
CASES = (
    Case(
        "the whole call in the text (zai-org/GLM-4.5#40)",
        text=f"<tool_call>get_weather\n{VALUES}\n</tool_call>",
        expected=("get_weather", PARIS),
    ),
    Case(
        "a stray tag in the name of a call without arguments (vllm#32213)",
        call=("tool_12</arg_value>", "{}"),
        expected=("tool_12", {}),
        reason="tool_calls",
    ),
    Case(
        "no opening `<arg_value>` (vllm#49248)",
        text=f"<tool_call>get_weather\n{VALUES.replace('<arg_value>Paris', 'Paris')}\n</tool_call>",
        expected=("get_weather", PARIS),
    ),
    Case(
        "cut off near the limit, in the text (vllm#42400)",
        text="<tool_call>get_weather\n<arg_key>city</arg_key><arg_value>Par",
        reason="length",
    ),
    Case("cut off near the limit, in the call", call=("get_weather", '{"city": "Par'), reason="length"),
    Case(
        "numbers as texts (vllm#39574)",
        call=("get_weather", '{"city": "Paris", "days": "3"}'),
        expected=("get_weather", PARIS),
        reason="tool_calls",
    ),
)


def ask_ours(url: str, *, stream: bool) -> Any:
    """Return the message of this package's model."""
    return _ask(GLMChatModel(endpoint_url=f"{url}v1", max_retries=0), stream=stream)


def ask_openai(url: str, *, stream: bool) -> Any:
    """Return the message of ``langchain_openai``."""
    from langchain_openai import ChatOpenAI

    return _ask(ChatOpenAI(base_url=f"{url}v1", api_key="none", model="glm", max_retries=0), stream=stream)  # type: ignore[arg-type]


def _ask(model: Any, *, stream: bool) -> Any:
    asking = model.bind(tools=TOOLS)
    if not stream:
        return asking.invoke("hi")
    first, *others = asking.stream("hi")
    return first + others


def judge(case: Case, ask: Callable[..., Any], *, stream: bool) -> str:
    """Return in a few words what a client makes of an input, and whether that is right."""
    if stream:
        calls = [piece(index=0, id="a", **function(case.call[0], ""))] if case.call else []
        parts = case.call[1] if case.call else ""
        calls += [piece(index=0, **function(None, parts[at : at + 4])) for at in range(0, len(parts), 4)]
        texts = [chunk(case.text[at : at + 4]) for at in range(0, len(case.text), 4)]
        script = sse([*texts, *calls, chunk(None, finish_reason=case.reason)])
    else:
        message: dict[str, Any] = {"role": "assistant", "content": case.text or None}
        if case.call:
            message["tool_calls"] = [{"id": "a", "type": "function", **function(*case.call)}]
        choice = {"index": 0, "message": message, "finish_reason": case.reason}
        script = reply({"object": "chat.completion", "model": "glm", "choices": [choice]})
    with ScriptedServer(script) as server:
        message = ask(server.url, stream=stream)
    found = [(call["name"], call["args"]) for call in message.tool_calls]
    if case.expected is None:
        invalid = len(message.invalid_tool_calls) == 1 and not found and not message.text
        return "✓ invalid call" if invalid else f"✗ {found or 'text'}"
    return "✓" if found == [case.expected] else f"✗ {found or 'text'}"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print("| what the server sends | `GLMChatModel`: `invoke` | `stream` | `ChatOpenAI`: `invoke` | `stream` |")
    print("|---|---|---|---|---|")
    for case in CASES:
        cells = [judge(case, ask, stream=stream) for ask in (ask_ours, ask_openai) for stream in (False, True)]
        print(f"| {case.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
