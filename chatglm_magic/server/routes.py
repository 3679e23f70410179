"""The routes of the front."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from . import chatglm_api, openai_api, tools
from .engine_client import EngineClient, EngineError
from .errors import RequestError, bad_field_response, error_body, error_response, json_response
from .openai_api import AnswerCollector, EventParser
from .validation import BadField, Changes, Json, read_json

SEED_HEADER = "X-ChatGLM-Seed"
_WRITE_TIMEOUT_SECONDS = 60.0  # a client that reads nothing for so long is disconnected


class Routes:
    """The handlers for one engine."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/", self.chatglm),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/chat/completions/input_tokens", self.count),
            web.get("/v1/models", self.state, allow_head=False),
            web.get("/v1/models/{name:.+}", self.model, allow_head=False),
            web.get("/health", self.state, allow_head=False),
            web.post("/tokenize", self.tokens),
            web.post("/detokenize", self.tokens),
        ]

    async def chatglm(self, request: web.Request) -> web.Response:
        """Handle ``POST /`` like THUDM's api.py."""
        client, changes = self._client, Changes()
        client.session()
        try:
            parsed = chatglm_api.parse_request(await read_json(request), client.n_ctx, changes)
            max_tokens = chatglm_api.answer_tokens(parsed, await client.count_tokens(parsed.sent))
            seed = parsed.sent.setdefault("seed", secrets.randbits(31))
            answer = await self._collect_answer(parsed.sent | {"max_tokens": max_tokens})
        except BadField as error:
            return json_response(chatglm_api.error_detail(error), 422)
        except EngineError as error:
            return json_response(
                chatglm_api.error_detail(BadField(("prompt",), error.message, None, "engine")), 422
            )
        return json_response(
            chatglm_api.response_body(parsed, answer.text), 200, changes.headers() | {SEED_HEADER: str(seed)}
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Handle ``/v1/chat/completions``, streamed or not."""
        client, changes = self._client, Changes()
        client.session()
        try:
            body = await read_json(request)
            sent, tool = openai_api.chat_request(body, client.n_ctx, changes, is_builtin=client.is_builtin)
            usage = openai_api.wants_usage(body)
            seed = sent.setdefault("seed", secrets.randbits(31))
            headers = changes.headers() | {SEED_HEADER: str(seed)}
            streams = sent.pop("stream")
            if tool is not None:
                called = tools.call_response((await self._collect_answer(sent)).reply(), tool)
                if not tools.has_valid_arguments(called):
                    message = "Input's schema can't be made a grammar of, so no call can be forced"
                    raise BadField(("tools",), message, None, "value_error")
                if not streams:
                    return json_response(called, 200, headers)
                return await _send_events(request, tools.call_events(called, usage=usage), headers)
            if streams:
                async with client.stream_chat(sent) as pieces:
                    return await _relay(request, pieces, headers, usage)
            return json_response((await self._collect_answer(sent)).reply(), 200, headers)
        except BadField as error:
            return bad_field_response(error)
        except EngineError as error:
            return json_response(error.body, error.status)

    async def count(self, request: web.Request) -> web.Response:
        """Respond with the number of tokens of a chat's messages, like llama.cpp's ``input_tokens``."""
        self._client.session()
        try:
            body = await read_json(request)
            sent = {"messages": openai_api.chat_messages(body if isinstance(body, dict) else {}, Changes())}
            count = await self._client.count_tokens(sent)
        except BadField as error:
            return bad_field_response(error)
        except EngineError as error:
            return json_response(error.body, error.status)
        return json_response({"input_tokens": count, "object": "response.input_tokens"})

    async def state(self, request: web.Request) -> web.Response:
        """Handle ``/v1/models`` and ``/health`` like the engine."""
        status, body = await self._client.get(request.path)
        return json_response(body, status)

    async def model(self, request: web.Request) -> web.Response:
        """Handle ``/v1/models/NAME`` with the entry of that model."""
        status, body = await self._client.get("/v1/models")
        name = request.match_info["name"]
        entry = next((row for row in body.get("data", ()) if row.get("id") == name), None)
        if status != 200 or entry is not None:
            return json_response(body if entry is None else entry, status)
        return error_response(
            404, f"No model named {name[:100]!r}. GET /v1/models lists what there is.", "not_found_error"
        )

    async def tokens(self, request: web.Request) -> web.Response:
        """Handle ``/tokenize`` and ``/detokenize`` like the engine."""
        self._client.session()
        try:
            body = await read_json(request)
            if request.path == "/tokenize":
                sent = openai_api.tokenize_request(body)
            else:
                sent = openai_api.detokenize_request(body, self._client.n_vocab)
            return json_response(await self._client.post(request.path, sent))
        except BadField as error:
            return bad_field_response(error)
        except EngineError as error:
            return json_response(error.body, error.status)

    async def _collect_answer(self, sent: Json) -> AnswerCollector:
        """Return the complete answer; it is streamed internally, so that a lost client stops the engine."""
        events, answer = EventParser(), AnswerCollector()
        async with self._client.stream_chat(sent) as pieces:
            async for piece in pieces:
                for event in events.feed(piece):
                    if "error" in event:
                        raise EngineError(int(event["error"].get("code", 500)), event)
                    answer.add(event)
        if not events.done:
            raise RequestError(502, "The engine ended its answer early. Ask again.", "engine_gone")
        return answer


async def _relay(
    request: web.Request, pieces: AsyncIterator[bytes], headers: dict[str, str], usage: bool
) -> web.StreamResponse:
    """Forward the engine's events; if the engine ends early, send an ``error`` event."""
    response = await _begin_stream(request, headers)
    events = EventParser()
    try:
        async for piece in pieces:
            to_send = [event for event in events.feed(piece) if usage or event.get("choices") != []]
            await _write(response, b"".join(_sse_line(event) for event in to_send))
        if events.done:
            await _write(response, b"data: [DONE]\n\n")
        else:
            await _write(response, _sse_line(error_body(502, "The engine ended its answer early.", "engine_gone")))
    except RequestError as error:
        await _write(response, _sse_line(error_body(error.status, error.message, error.kind)))
    return response


async def _send_events(
    request: web.Request, events: Iterable[Json], headers: dict[str, str]
) -> web.StreamResponse:
    """Send complete events as a stream."""
    response = await _begin_stream(request, headers)
    await _write(response, b"".join(map(_sse_line, events)) + b"data: [DONE]\n\n")
    return response


async def _begin_stream(request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers | {"Cache-Control": "no-cache"})
    response.content_type, response.charset = "text/event-stream", "utf-8"
    await response.prepare(request)
    return response


def _sse_line(event: Json) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(_WRITE_TIMEOUT_SECONDS):
            await response.write(data)
