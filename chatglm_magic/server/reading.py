"""Reads the JSON of a request."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from ..strictjson import strict_json
from .limits import BadField


async def read_json(request: web.Request) -> Any:
    """Return the request's JSON. Raises BadField where it is none, NaN, Infinity and a name twice included."""
    data = await request.read()
    try:
        return strict_json(data.decode())
    except json.JSONDecodeError as error:
        raise BadField((error.pos,), f"JSON decode error: {error.msg}", None, "json_invalid") from error
    except (ValueError, RecursionError) as error:  # bad UTF-8, 10 000 digits, 100 000 levels
        raise BadField((), f"JSON decode error: {error}", None, "json_invalid") from error
