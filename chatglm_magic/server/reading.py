"""Reads the JSON of a request."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from aiohttp import web

from .limits import BadField


async def read_json(request: web.Request) -> Any:
    """Return the request's JSON. Raises BadField where it is none, NaN and Infinity included."""
    data = await request.read()
    try:
        return json.loads(data, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadField((error.pos,), f"JSON decode error: {error.msg}", None, "json_invalid") from error
    except BadField:
        raise
    except (ValueError, RecursionError) as error:  # bad UTF-8, 10 000 digits, 100 000 levels
        raise BadField((), f"JSON decode error: {error}", None, "json_invalid") from error


def _no_constant(name: str) -> NoReturn:
    raise BadField((), f"JSON decode error: {name} is no JSON number", None, "json_invalid")
