"""OpenAI's chat protocol as GLM servers speak it: ``POST …/chat/completions``, streamed as server-sent events.

Sources: the servers' own code and recordings (vLLM, SGLang, llama.cpp, Ollama, transformers, Z.ai, and the
demo servers of ChatGLM2, ChatGLM3 and GLM-4); their differences are why the reader takes nothing for granted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from ..errors import BrokenOffError, RefusedError, ReplyError
from ..values import Delta, Params, Question
from . import body as bodies
from .refusal import SHORTEN
from .sse import Event, SSEDecoder
from .thinking import ThinkSplitter, thinking_keys

NAME = "openai"
PATH = "/chat/completions"
EVENT_MARKS = (b"data:", b"event", b":", b"id:", b"retry")
DAMAGED = "bytes that are no UTF-8 are shown as \ufffd"
ZAI_HOSTS = ("api.z.ai", "open.bigmodel.cn")
OLLAMA_PORT = 11434


def url(endpoint_url: str) -> str:
    """Return the address a question is posted to, from a base or from the full URL."""
    path, mark, query = endpoint_url.partition("?")
    path = path.rstrip("/")
    return (path if path.endswith(PATH) else path + PATH) + mark + query


def base(endpoint_url: str) -> str:
    """Return the address under which ``/models`` stands."""
    return url(endpoint_url.partition("?")[0]).removesuffix(PATH)


Server = Literal["zai", "ollama"]
"""Servers whose ranges or keys differ from all others', and that can be told by their address."""


def server_of(url: str) -> Server | None:
    """Tell the servers that want other words: Z.ai and BigModel by their hosts, Ollama by its port."""
    parts = urlsplit(url)
    if parts.hostname in ZAI_HOSTS:
        return "zai"
    return "ollama" if parts.port == OLLAMA_PORT else None


def encode(
    question: Question, *, server: Server | None = None, usage: bool = True
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the request's body, and what had to be changed of the wish: only what the user set is sent.

    ``usage`` asks for token counts in the stream; Z.ai sends them unasked and ``transformers serve`` refuses
    the key, so it can be left out.
    """
    params, zai = question.params, server == "zai"
    sampling, changed = _sampling(params, zai=zai)
    body: dict[str, Any] = {"messages": messages(question, zai=zai), "stream": True} | sampling
    if params.model:
        body["model"] = params.model
    if usage and not zai:
        body["stream_options"] = {"include_usage": True}
    if params.thinking:
        keys, change = thinking_keys(params.thinking, params.model, server)
        body, changed = body | keys, changed + change
    return body | dict(params.extra), changed


def messages(question: Question, *, zai: bool = False) -> list[dict[str, Any]]:
    """Return the conversation as messages with roles."""
    system = question.params.system
    found: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for asked, answered in question.history:
        found += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    found += [dict(message) for message in question.messages] or [{"role": "user", "content": question.prompt}]
    return _merged(found) if zai else found


def _merged(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbours of one role, which Z.ai refuses (400, code 1214)."""
    merged: list[dict[str, Any]] = []
    for message in found:
        last = merged[-1] if merged else {}
        plain = all(m.keys() == {"role", "content"} and isinstance(m["content"], str) for m in (last, message))
        if plain and last["role"] == message["role"]:
            last["content"] += "\n\n" + message["content"]
        else:
            merged.append(message)
    return merged


def _sampling(params: Params, *, zai: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    wished = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "max_tokens": params.max_token,
        "stop": list(params.stop) or None,
        "seed": params.seed,
    }
    values = {key: value for key, value in wished.items() if value is not None}
    changed: tuple[str, ...] = ()
    if values.get("top_p") == 0:  # vLLM and SGLang answer 400
        values["top_p"] = 0.01
        changed += ("top_p: 0 sent as 0.01, the lowest that servers take",)
    if zai:
        return _for_zai(values, changed)
    return values, changed


def _for_zai(values: dict[str, Any], changed: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Z.ai takes temperatures from 0 to 1 (greedy is its ``do_sample: false``) and one stop string."""
    temperature = values.get("temperature")
    if temperature == 0:
        del values["temperature"]
        values["do_sample"] = False
        changed += ("temperature: 0 sent as do_sample false",)
    elif temperature is not None and temperature > 1:
        values["temperature"] = 1.0
        changed += (f"temperature: {temperature:g} sent as 1, the highest Z.ai takes",)
    if len(values.get("stop", ())) > 1:
        values["stop"] = values["stop"][:1]
        changed += ("stop: one string sent, the others are applied here",)
    return values, changed


class Reader:
    """Takes in the bytes of one answer, a stream of events or a whole JSON object, and hands out its pieces."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._typed = "text/event-stream" in headers.get("content-type", "")
        self._stream: SSEDecoder | None = SSEDecoder(bodies.LIMIT) if self._typed else None
        self._whole = bodies.Whole(headers)
        self._text = False
        self._reason: str | None = None
        self._split = ThinkSplitter()
        self._changed = headers.get("x-chatglm-changed")
        self._model: str | None = None
        self.done = False

    def feed(self, block: bytes) -> Iterator[Delta]:
        """Take in the next bytes; yield the pieces they complete, also those before an error.

        :raises BrokenOffError: on an error the server sends mid-stream, or an event that can't be read.
        """
        if self._stream is None:
            self._whole.feed(block)
            if not self._typed and (begun := self._whole.beginning(len(b"data:"))):
                self._typed = True
                if begun.startswith(EVENT_MARKS):  # events under another name, such as text/plain
                    self._stream, block = SSEDecoder(bodies.LIMIT), self._whole.taken()
        if self._stream is not None:
            for event in self._stream.feed(block):
                yield from self._event(event)

    def close(self) -> list[Delta]:
        """End the answer; return the last pieces.

        :raises ReplyError: if a whole answer is not one.
        """
        if self._stream is None:
            return self._one(self._whole.json())
        found = [piece for event in self._stream.close() for piece in self._event(event)]
        return found + self._split.close()

    def check(self) -> None:
        """Say whether the answer came whole.

        :raises BrokenOffError: if the stream ended with neither ``[DONE]`` nor a ``finish_reason``, or without
            a word because something failed inside the server.
        :raises RefusedError: ``too_long`` if there was no room for a word.
        """
        if not (self.done or self._reason):
            raise BrokenOffError(
                "The answer is incomplete: the server closed the stream before it said that it was done."
            )
        if self._reason == "network_error":
            raise _broken_off("network_error")
        if self._reason == "model_context_window_exceeded" and not self._text:
            raise RefusedError(f"There is no room left for an answer.{SHORTEN}", kind="too_long")

    def _event(self, event: Event) -> list[Delta]:
        data = event.data.strip()
        if self.done or not data:
            return []
        if data.startswith("[DONE]"):
            self.done = True
            return []
        try:
            reply = json.loads(data)
        except (ValueError, RecursionError):
            if event.cut:
                return []  # close() says that the answer is incomplete
            if event.name == "error":
                raise _broken_off(data) from None
            raise BrokenOffError(
                f"The server sent an event that is no JSON: {bodies.shown(data)}", kind="bad_event"
            ) from None
        failed = isinstance(reply, dict) and (reply.get("error") or reply.get("object") == "error")
        if failed or event.name == "error":
            raise _broken_off(bodies.message_of(reply) or reply)
        damage = [Delta(changed=DAMAGED)] if event.damaged else []
        return damage + self._pieces(reply, "delta")

    def _one(self, reply: Any) -> list[Delta]:
        bodies.raise_if_error(reply)
        if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
            raise bodies.wrong_shape(reply, "'choices'", "a plain / instead of /v1")
        pieces = self._pieces(reply, "message") + self._split.close()
        if not any(piece.text or piece.reasoning for piece in pieces) and not _silent(reply["choices"]):
            raise ReplyError("The server's answer is empty. Ask again, or look at its log.", kind="empty_reply")
        self.done = True
        return pieces

    def _pieces(self, reply: Any, part: str) -> list[Delta]:
        if not isinstance(reply, dict):
            return []
        usage, model = reply.get("usage"), reply.get("model")
        news: dict[str, Any] = {"usage": usage} if isinstance(usage, dict) else {}
        if isinstance(model, str) and self._model is None:
            news["model"] = self._model = model
        if self._changed:
            news["changed"], self._changed = self._changed, None
        choices = reply.get("choices")
        found = self._choice(choices[0], part) if isinstance(choices, list) and choices else []
        return [*found, Delta(**news)] if news else found

    def _choice(self, choice: Any, part: str) -> list[Delta]:
        if not isinstance(choice, dict) or choice.get("index", 0) not in (0, None):
            return []
        said = choice.get(part)
        said = said if isinstance(said, dict) else {}
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        found = [Delta(reasoning=reasoning)] if isinstance(reasoning, str) and reasoning else []
        content = said.get("content")
        if isinstance(content, str) and content:
            self._text = True
            found += self._split.feed(content)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._reason = reason
            found += [*self._split.close(), Delta(finish_reason=reason)]
        return found


def _silent(choices: list[Any]) -> bool:
    """Tell whether a whole answer means to say nothing: an empty text, a tool to call, no room."""
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    said = message.get("content") if isinstance(message, dict) else None
    return said == "" or choice.get("finish_reason") in ("length", "tool_calls", "function_call")


def _broken_off(words: Any) -> BrokenOffError:
    return BrokenOffError(f"The server broke off with an error: {bodies.shown(words)}", kind="server_error")
