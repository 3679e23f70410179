"""The front's client of its engine, which sends one chat request at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp

from .engine_process import Engine
from .errors import EngineEndedError, RequestError
from .validation import Json

_CHARS_PER_TOKEN = 256  # no token of a GLM vocabulary is longer


class EngineError(Exception):
    """The engine responded with an error: its status and JSON."""

    def __init__(self, status: int, body: Json):
        super().__init__(f"engine: {status}")
        self.status, self.body = status, body

    @property
    def message(self) -> str:
        """The engine's error message."""
        return str(self.body.get("error", {}).get("message", f"the engine answered {self.status}"))


class EngineClient:
    """A client of one engine with one model.

    Requests raise :class:`RequestError` while the engine loads and after it has ended, and :class:`EngineError`
    if it responds with an error.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting_for = ""
        """What delays the start of the engine, such as a download; a sentence for users."""
        self.n_ctx = self.n_vocab = 0
        self.is_builtin = False
        """Whether the engine serves the built-in model."""
        self._engine: Engine | None = None
        self._session: aiohttp.ClientSession | None = None
        self._slot = asyncio.Semaphore(1)

    async def open(self, engine: Engine) -> float:
        """Wait until ``engine`` is ready; return the seconds since its start.

        :raises EngineStartError: if it can't load the model.
        """
        self._engine, self.waiting_for = engine, ""
        url = await asyncio.wrap_future(engine.url)
        session = aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {engine.key}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            # llama.cpp closes the connection after a stream despite announcing keep-alive
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            trust_env=False,
        )
        while (await self._get(session, "/health"))[0] != 200:
            await asyncio.sleep(0.02)
        meta = (await self._get(session, "/v1/models"))[1]["data"][0]["meta"]
        self.n_ctx, self.n_vocab = int(meta["n_ctx"]), int(meta["n_vocab"])
        self.is_builtin = engine.model.builtin
        self._session = session
        return engine.progress()[0]

    def progress(self) -> tuple[float, float | None]:
        """Return the seconds since the start of loading, and the fraction that is loaded, or None."""
        return self._engine.progress() if self._engine else (0.0, None)

    def session(self) -> aiohttp.ClientSession:
        """Return the HTTP session of the engine."""
        if self._engine is not None and self._engine.exit_reason.done():
            raise EngineEndedError(self._engine.exit_reason.result())
        if self._session is not None:
            return self._session
        seconds, fraction = self.progress()
        percent = f", about {fraction:.0%}" if fraction else ""
        text = self.waiting_for or f"Loading model {self.name}: {seconds:.1f} s so far{percent}. Try again soon."
        raise RequestError(503, text, "unavailable_error", seconds=round(seconds, 2), fraction=fraction)

    async def get(self, path: str) -> tuple[int, Json]:
        """Send a GET; return the status and JSON of the response, also of an error."""
        with self._translate_errors():
            return await self._get(self.session(), path)

    async def post(self, path: str, body: Json) -> Json:
        """Send a POST; return the JSON of the response."""
        with self._translate_errors():
            async with self.session().post(path, json=body) as reply:
                return await self._read_json(reply)

    @contextlib.asynccontextmanager
    async def stream_chat(self, body: Json) -> AsyncIterator[AsyncIterator[bytes]]:
        """Request a streamed chat completion and yield an iterator over its bytes.

        Waits for earlier requests. Leaving early closes the connection, which makes the engine stop.
        """
        self._check_size(body)
        body = body | {"stream": True, "stream_options": {"include_usage": True}}
        async with self._slot:
            if self._engine is not None:
                self._engine.trim_log()
            with self._translate_errors():
                async with self.session().post("/v1/chat/completions", json=body) as reply:
                    if reply.status != 200:
                        await self._read_json(reply)
                    yield self._read_chunks(reply)

    async def count_tokens(self, body: Json) -> int:
        """Return the number of tokens of the messages in ``body``, rendered for the model."""
        self._check_size(body)
        reply = await self.post("/v1/chat/completions/input_tokens", {"messages": body["messages"]})
        return int(reply["input_tokens"])

    async def _read_chunks(self, reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with self._translate_errors():
            async for piece in reply.content.iter_any():
                yield piece

    def _check_size(self, body: Json) -> None:
        """Raise EngineError for messages that can't fit in any case; counting their tokens would take seconds."""
        size = sum(len(message["content"]) for message in body["messages"])
        if self.n_ctx and size > self.n_ctx * _CHARS_PER_TOKEN:
            message = f"request ({size} characters) exceeds the available context size ({self.n_ctx} tokens)"
            error = {"code": 400, "message": message, "type": "exceed_context_size_error", "n_ctx": self.n_ctx}
            raise EngineError(400, {"error": error})

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientError as error:
            raise EngineEndedError(self._end_reason(error)) from error

    def _end_reason(self, error: Exception) -> str:
        if self._engine is None:
            return str(error)
        with contextlib.suppress(TimeoutError):  # the connection breaks a moment before the exit is noticed
            return self._engine.exit_reason.result(0.2)
        return str(error) or type(error).__name__

    async def _get(self, session: aiohttp.ClientSession, path: str) -> tuple[int, Json]:
        async with session.get(path) as reply:
            body: Json = await reply.json()
            return reply.status, body

    async def _read_json(self, reply: aiohttp.ClientResponse) -> Json:
        body: Json = await reply.json(content_type=None) or {}
        if reply.status != 200:
            raise EngineError(reply.status, body)
        return body
