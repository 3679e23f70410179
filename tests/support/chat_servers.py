"""Scripted servers with a simple mind: they refuse what vLLM or Z.ai refuses, and call tools as these do."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from .servers import Asked, Script, chunk, reply, sse

Kind = Literal["vllm", "zai"]

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 12,
    "total_tokens": 32,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def chat_server(kind: Kind, *, thinks: bool = False) -> Script:
    """Answer chat completions as a server of this kind, streamed if asked to be.

    :param thinks: think before each answer, as GLM-4.5 and later do.
    """

    def script(connection: socket.socket, asked: Asked) -> None:
        body = asked.body
        refused = next(_refusals(body, kind), None)
        if refused is not None:
            error = {"error": {"code": "1210" if kind == "zai" else 400, "message": refused}}
            reply(error, status=400)(connection, asked)
            return
        message = _mind(body)
        if thinks:
            message["reasoning_content"] = "Let me think."
        name = body.get("model") or "glm-4.6"
        if body.get("stream"):
            sse(list(_events(message, name, body, kind)))(connection, asked)
        else:
            choice = {"index": 0, "message": message, "finish_reason": _reason(message)}
            reply({"object": "chat.completion", "model": name, "choices": [choice], "usage": USAGE})(
                connection, asked
            )

    return script


def _refusals(body: Mapping[str, Any], kind: Kind) -> Iterator[str]:
    """Yield why a request is refused: what the documentation of each server says it doesn't take."""
    messages = body["messages"]
    calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message["tool_call_id"] not in calls:
            yield f"tool message for an unknown call {message['tool_call_id']!r}"
        for call in message.get("tool_calls", ()):
            calls.add(call["id"])
            json.loads(call["function"]["arguments"])
    form = body.get("response_format") or {}
    if kind == "vllm":
        if body.get("tool_choice") not in (None, "auto", "none", "required") and not forced(body):
            yield "tool_choice is invalid"
        return
    if body.get("tool_choice", "auto") != "auto":
        yield "tool_choice only supports auto"
    if form.get("type") == "json_schema":
        yield "response_format.type only supports text and json_object"
    if any("strict" in tool["function"] for tool in body.get("tools", ())):
        yield "strict is not supported"
    if any("name" in message for message in messages):
        yield "messages.name is not supported"
    for name in ("stream_options", "parallel_tool_calls", "presence_penalty", "min_p"):
        if name in body:
            yield f"{name} is not supported"
    if not any(message["role"] == "user" for message in messages):
        yield "messages must have a user message"


def forced(body: Mapping[str, Any]) -> str | None:
    """Return the function that a request's ``tool_choice`` names."""
    choice = body.get("tool_choice")
    return choice["function"]["name"] if isinstance(choice, dict) else None


def _mind(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message that answers a request: calls where a tool is asked for, an object where JSON is."""
    last = body["messages"][-1]
    prompt = text_of(last)
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools", ())}
    name = forced(body) or next((name for name in tools if _is_about(name, prompt)), None)
    must = bool(forced(body)) or body.get("tool_choice") == "required"
    if tools and must and name is None:
        name = next(iter(tools))
    if name is not None and tools and body.get("tool_choice") != "none" and last["role"] == "user":
        arguments = _fill(tools[name].get("parameters") or {}, prompt)
        call = {"id": "call_0", "type": "function"}
        function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
        return {"role": "assistant", "content": None, "tool_calls": [call | {"function": function}]}
    if (form := body.get("response_format")) and form["type"] != "text":
        return {"role": "assistant", "content": json.dumps(_object(body, form, prompt), ensure_ascii=False)}
    return {"role": "assistant", "content": "Hello! What can I do for you?"}


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message, also of one in parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _is_about(name: str, prompt: str) -> bool:
    words = [word for word in re.split(r"[_\W]+", name.lower()) if len(word) > 3]
    return any(word in prompt.lower() for word in words)


def _object(body: Mapping[str, Any], form: Mapping[str, Any], prompt: str) -> dict[str, Any]:
    if form["type"] == "json_schema":
        return _fill(form["json_schema"]["schema"], prompt)
    told = "\n".join(text_of(message) for message in body["messages"])
    if "JSON schema:\n" in told:
        schema, _ = json.JSONDecoder().raw_decode(told.partition("JSON schema:\n")[2])
        return _fill(schema, prompt)
    return dict.fromkeys(re.findall(r"'(\w+)'", told) or ["answer"], "cats")


def _fill(schema: Mapping[str, Any], prompt: str) -> dict[str, Any]:
    numbers = iter(re.findall(r"-?\d+", prompt))
    quoted = iter(re.findall(r"'([^']+)'", prompt) or re.findall(r"in ([A-Z][\w ,]+)", prompt))
    return {
        name: _value(inner, numbers, quoted)
        for name, inner in (schema.get("properties") or {}).items()
        if name in schema.get("required", ()) or "default" not in inner
    }


def _value(schema: Mapping[str, Any], numbers: Iterator[str], texts: Iterator[str]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kinds = {"integer": lambda: int(next(numbers, "1")), "number": lambda: float(next(numbers, "1"))}
    kinds |= {"boolean": lambda: True, "array": list, "object": dict}
    return kinds.get(schema.get("type", "string"), lambda: next(texts, "a cat"))()


def _reason(message: Mapping[str, Any]) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


def _events(message: Mapping[str, Any], name: str, body: Mapping[str, Any], kind: Kind) -> Iterator[Any]:
    """Yield the events of a message: arguments in fragments, or whole where Z.ai wasn't asked to stream them."""

    def event(**delta: Any) -> dict[str, Any]:
        return chunk(None, **delta) | {"model": name}

    yield event(role="assistant", content="")
    if thought := message.get("reasoning_content"):
        for word in re.findall(r"\S+\s*", thought):
            yield event(reasoning_content=word)
    for piece in re.findall(r".{1,5}", message.get("content") or "", re.DOTALL):
        yield event(content=piece)
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        whole = kind == "zai" and not body.get("tool_stream")
        pieces = [function["arguments"]] if whole else re.findall(r".{1,4}", function["arguments"], re.DOTALL)
        begun = {"index": index, "id": call["id"], "type": "function"}
        first = pieces[0] if whole else ""
        yield event(tool_calls=[begun | {"function": {"name": function["name"], "arguments": first}}])
        for piece in pieces[1:] if whole else pieces:
            yield event(tool_calls=[{"index": index, "function": {"arguments": piece}}])
    yield event(finish_reason=_reason(message))
    if kind == "zai" or (body.get("stream_options") or {}).get("include_usage"):
        yield {"object": "chat.completion.chunk", "model": name, "choices": [], "usage": USAGE}
