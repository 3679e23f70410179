"""Error responses of the front, in llama.cpp's format ``{"error": {"message", "type", "code"}}``."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from .validation import BadField


class RequestError(Exception):
    """A request that can't be served, with the HTTP status, message and type of the response."""

    def __init__(self, status: int, message: str, kind: str, **more: Any):
        super().__init__(message)
        self.status, self.message, self.kind, self.more = status, message, kind, more


class EngineEndedError(RequestError):
    """The engine has ended and isn't restarted."""

    def __init__(self, why: str):
        message = f"The model's process has ended ({why}). Start the server again."
        super().__init__(502, message, "engine_gone")


def error_body(status: int, message: str, kind: str, **more: Any) -> dict[str, Any]:
    """Return the JSON of an error."""
    return {"error": {"message": message, "type": kind, "code": status, **more}}


def error_response(status: int, message: str, kind: str, **more: Any) -> web.Response:
    """Return the response of an error, with ``Retry-After`` for a 503."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return json_response(error_body(status, message, kind, **more), status, headers)


def bad_field_response(error: BadField) -> web.Response:
    """Return the 400 for an invalid field of ``/v1``."""
    message = f"{error.name}: {error.message}" if error.where else error.message
    return error_response(400, message, "invalid_request_error", param=error.name or None)


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return ``body`` as UTF-8 JSON with Chinese unescaped, like the original."""
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")
