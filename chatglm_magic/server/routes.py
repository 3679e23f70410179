"""What the front answers on its one port."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from . import chatglm_api, openai_api, tools
from .engine_client import Backend, EngineRefusal
from .errors import Refusal, as_json, bad_field, error_body, error_reply
from .openai_api import Events, WholeAnswer
from .validation import BadField, Changes, Json, read_json

SEED_HEADER = "X-ChatGLM-Seed"
_WRITE_SECONDS = 60.0  # a client that reads nothing for so long gives up its turn


class Routes:
    """The handlers, all of one model."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def table(self) -> list[web.RouteDef]:
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
        """Answer `POST /` as THUDM's api.py does."""
        backend, changes = self._backend, Changes()
        backend.session()
        try:
            ask = chatglm_api.read(await read_json(request), backend.n_ctx, changes)
            left = chatglm_api.room(ask, await backend.count(ask.sent))
            seed = ask.sent.setdefault("seed", secrets.randbits(31))
            whole = await self._whole(ask.sent | {"max_tokens": left})
        except BadField as error:
            return as_json(chatglm_api.refusal(error), 422)
        except EngineRefusal as error:
            return as_json(chatglm_api.refusal(BadField(("prompt",), error.message, None, "engine")), 422)
        return as_json(chatglm_api.reply(ask, whole.text), 200, changes.headers() | {SEED_HEADER: str(seed)})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer `/v1/chat/completions`, streamed or whole."""
        backend, changes = self._backend, Changes()
        backend.session()
        try:
            body = await read_json(request)
            sent, tool = openai_api.chat_request(body, backend.n_ctx, changes, is_builtin=backend.is_builtin)
            usage = openai_api.wants_usage(body)
            seed = sent.setdefault("seed", secrets.randbits(31))
            headers = changes.headers() | {SEED_HEADER: str(seed)}
            streams = sent.pop("stream")
            if tool is not None:
                called = tools.as_call((await self._whole(sent)).reply(), tool)
                if not tools.is_call(called):
                    message = "Input's schema can't be made a grammar of, so no call can be forced"
                    raise BadField(("tools",), message, None, "value_error")
                if not streams:
                    return as_json(called, 200, headers)
                return await _stream(request, tools.as_events(called, usage=usage), headers)
            if streams:
                async with backend.ask(sent) as pieces:
                    return await _relay(request, pieces, headers, usage)
            return as_json((await self._whole(sent)).reply(), 200, headers)
        except BadField as error:
            return bad_field(error)
        except EngineRefusal as error:
            return as_json(error.body, error.status)

    async def count(self, request: web.Request) -> web.Response:
        """Answer how many tokens a chat's messages are, as llama.cpp's `input_tokens` does."""
        self._backend.session()
        try:
            body = await read_json(request)
            sent = {"messages": openai_api.messages(body if isinstance(body, dict) else {}, Changes())}
            counted = await self._backend.count(sent)
        except BadField as error:
            return bad_field(error)
        except EngineRefusal as error:
            return as_json(error.body, error.status)
        return as_json({"input_tokens": counted, "object": "response.input_tokens"})

    async def state(self, request: web.Request) -> web.Response:
        """Answer `/v1/models` and `/health` as the engine does."""
        status, body = await self._backend.get(request.path)
        return as_json(body, status)

    async def model(self, request: web.Request) -> web.Response:
        """Answer `/v1/models/NAME` with what the list says of that model."""
        status, body = await self._backend.get("/v1/models")
        name = request.match_info["name"]
        found = next((row for row in body.get("data", ()) if row.get("id") == name), None)
        if status != 200 or found is not None:
            return as_json(body if found is None else found, status)
        return error_reply(
            404, f"No model named {name[:100]!r}. GET /v1/models lists what there is.", "not_found_error"
        )

    async def tokens(self, request: web.Request) -> web.Response:
        """Answer `/tokenize` and `/detokenize` as the engine does."""
        self._backend.session()
        try:
            body = await read_json(request)
            if request.path == "/tokenize":
                sent = openai_api.token_request(body)
            else:
                sent = openai_api.detoken_request(body, self._backend.n_vocab)
            return as_json(await self._backend.post(request.path, sent))
        except BadField as error:
            return bad_field(error)
        except EngineRefusal as error:
            return as_json(error.body, error.status)

    async def _whole(self, sent: Json) -> WholeAnswer:
        """Return the whole answer; streamed inside, so that a lost client ends the work."""
        events, whole = Events(), WholeAnswer()
        async with self._backend.ask(sent) as pieces:
            async for piece in pieces:
                for event in events.feed(piece):
                    if "error" in event:
                        raise EngineRefusal(int(event["error"].get("code", 500)), event)
                    whole.add(event)
        if not events.done:
            raise Refusal(502, "The engine ended its answer early. Ask again.", "engine_gone")
        return whole


async def _relay(
    request: web.Request, pieces: AsyncIterator[bytes], headers: dict[str, str], usage: bool
) -> web.StreamResponse:
    """Pass the engine's events on as they come; an engine that ends meanwhile is an `error` event."""
    response = await _begin_stream(request, headers)
    events = Events()
    try:
        async for piece in pieces:
            listed = [event for event in events.feed(piece) if usage or event.get("choices") != []]
            await _write(response, b"".join(_line(event) for event in listed))
        if events.done:
            await _write(response, b"data: [DONE]\n\n")
        else:
            await _write(response, _line(error_body(502, "The engine ended its answer early.", "engine_gone")))
    except Refusal as error:
        await _write(response, _line(error_body(error.status, error.message, error.kind)))
    return response


async def _stream(request: web.Request, events: Iterable[Json], headers: dict[str, str]) -> web.StreamResponse:
    """Send events that are there already."""
    response = await _begin_stream(request, headers)
    await _write(response, b"".join(map(_line, events)) + b"data: [DONE]\n\n")
    return response


async def _begin_stream(request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers | {"Cache-Control": "no-cache"})
    response.content_type, response.charset = "text/event-stream", "utf-8"
    await response.prepare(request)
    return response


def _line(event: Json) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        async with asyncio.timeout(_WRITE_SECONDS):
            await response.write(data)
