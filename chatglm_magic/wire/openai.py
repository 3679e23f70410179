"""OpenAI's chat protocol as GLM servers speak it: ``POST …/chat/completions``, streamed as server-sent events.

Sources: the servers' own code and recordings (vLLM, SGLang, llama.cpp, Ollama, transformers, Z.ai, and the
demo servers of ChatGLM2, ChatGLM3 and GLM-4); because they differ, the reader assumes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from ..parameters import PARAMETERS, wire_names
from ..values import Change, ModelInput
from .chat import adapt_messages, response_format_keys
from .openai_reply import OpenAIReader as OpenAIReader
from .thinking import SERVER_TITLES, Server, thinking_keys
from .tool_calls import tool_keys

NAME = "openai"
PATH = "/chat/completions"
SERVER_HOSTS: dict[Server, tuple[str, ...]] = {
    "zai": ("api.z.ai", "open.bigmodel.cn"),
    "dashscope": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
    "siliconflow": ("api.siliconflow.cn", "api.siliconflow.com"),
    "openrouter": ("openrouter.ai",),
}
"""Hosts of servers that need different keys; a subdomain belongs to another region."""

OLLAMA_PORT = 11434


def url(endpoint_url: str) -> str:
    """Return the URL that requests are sent to, from a base URL or the full URL."""
    path, mark, query = endpoint_url.partition("?")
    path = path.rstrip("/")
    return (path if path.endswith(PATH) else path + PATH) + mark + query


def base_url(endpoint_url: str) -> str:
    """Return the base URL, to which ``/models`` can be appended."""
    return url(endpoint_url.partition("?")[0]).removesuffix(PATH)


def server_of(url: str) -> Server | None:
    """Return the server with different keys of a URL, by its host or Ollama's port; None for any other."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    for server, hosts in SERVER_HOSTS.items():
        if host in hosts or (server != "zai" and any(host.endswith(f".{known}") for known in hosts)):
            return server
    return "ollama" if parts.port == OLLAMA_PORT else None


def encode(
    model_input: ModelInput, *, server: Server | None = None, usage: bool = True
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the request's body, and what was changed of the parameters; only parameters the user set are sent.

    ``usage`` asks for token counts in the stream; Z.ai sends them unasked and ``transformers serve`` refuses
    the key, so it can be left out.
    """
    params, is_zai = model_input.params, server == "zai"
    sampling, changed = _sampling_keys(params, server)
    messages = request_messages(model_input, merge_roles=is_zai and model_input.chat is None)
    body: dict[str, Any] = {"messages": messages, "stream": True} | sampling
    if usage and not is_zai:
        body["stream_options"] = {"include_usage": True}
    model = params.get("model")
    if params.get("thinking"):
        keys, change = thinking_keys(params["thinking"], model, server)
        body, changed = body | keys, changed + change
    if (chat := model_input.chat) is not None:
        adapted, change = adapt_messages(body["messages"], server)
        body["messages"] = _merge_neighbours(adapted) if is_zai else adapted
        changed += change
        has_reasoning = any("reasoning_content" in message for message in body["messages"])
        if is_zai and has_reasoning and params.get("thinking") != "off":
            body["thinking"] = {"type": "enabled", **body.get("thinking", {}), "clear_thinking": False}
        keys, change = tool_keys(chat.tools, chat.tool_choice, chat.parallel_tool_calls, model, server)
        body, changed = body | keys, changed + change
        keys, change = response_format_keys(chat, body["messages"], server)
        body, changed = body | keys, changed + change
    return body | dict(model_input.extra), changed


def request_messages(model_input: ModelInput, *, merge_roles: bool = False) -> list[dict[str, Any]]:
    """Return the conversation as messages with roles.

    System messages come first; those of the prompt replace the ``system`` parameter.

    :param merge_roles: whether to join consecutive messages of the same role.
    """
    prompt_messages = [dict(message) for message in model_input.messages]
    system_messages = list(takewhile(lambda message: message["role"] == "system", prompt_messages))
    prompt_messages = prompt_messages[len(system_messages) :]
    system = model_input.params.get("system")
    result: list[dict[str, Any]] = [*system_messages] or (
        [{"role": "system", "content": system}] if system else []
    )
    for prompt, answer in model_input.history:
        result += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    if model_input.messages:
        result += prompt_messages
    else:
        result.append({"role": "user", "content": model_input.prompt})
    return _merge_neighbours(result) if merge_roles else result


def _merge_neighbours(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbours of one role, which Z.ai refuses (400, code 1214)."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        last = merged[-1] if merged else {}
        is_plain = all(m.keys() == {"role", "content"} and isinstance(m["content"], str) for m in (last, message))
        if is_plain and last["role"] == message["role"]:
            last["content"] += "\n\n" + message["content"]
        else:
            merged.append(message)
    return merged


def _sampling_keys(params: Mapping[str, Any], server: Server | None) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the keys of the sampling parameters, and what was changed of them."""
    values, changed = {}, tuple[Change, ...]()
    for name, key in wire_names(NAME):
        value = params.get(name)
        if value is None or value in ("", [], ()):
            continue
        if server in PARAMETERS[name].unsupported:
            changed += (Change(f"{name}: not sent, {SERVER_TITLES[server]} doesn't take it"),)
        else:
            values[key] = list(value) if isinstance(value, tuple) else value
    if values.get("top_p") == 0:  # vLLM and SGLang answer 400
        values["top_p"] = 0.01
        changed += (Change("top_p: 0 sent as 0.01, the lowest that servers take"),)
    if values.get("top_k") == 0:  # SGLang answers 400; -1 is off everywhere
        values["top_k"] = -1
    if server == "zai":
        return _adapt_to_zai(values, changed)
    return values, changed


def _adapt_to_zai(
    values: dict[str, Any], changed: tuple[Change, ...]
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Adapt values to Z.ai: temperatures from 0 to 1 (``do_sample: false`` for greedy), and one stop string."""
    temperature, highest = values.get("temperature"), PARAMETERS["temperature"].server_maximum["zai"]
    if temperature == 0:
        del values["temperature"]
        values["do_sample"] = False
        changed += (Change("temperature: 0 sent as do_sample false"),)
    elif temperature is not None and temperature > highest:
        values["temperature"] = float(highest)
        changed += (Change(f"temperature: {temperature:g} sent as {highest:g}, the highest Z.ai takes"),)
    if len(values.get("stop", ())) > 1:
        values["stop"] = values["stop"][:1]
        changed += (Change("stop: one string sent, the others are applied here"),)
    return values, changed
