"""A probe of an endpoint: whether a server answers, and whether it speaks the configured dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from ..errors import ChatGLMError
from ..strictjson import strict_json
from ..wire import Dialect, openai
from ..wire.body import sanitize_line
from .address import is_loopback, redact_url
from .proxies import proxy_for
from .sync_client import new_session, requests_proxies
from .transport_errors import connection_failure

PROBE_TIMEOUT_SECONDS = 2.0
MAX_PROBE_BYTES = 262144
LISTEN_STATE = "0A"
SOCKET_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
ANY_ADDRESS = {"0" * 8, "0" * 32}
"""How Linux's socket tables mark a listening socket, and the addresses that mean every interface."""

EXPOSED_WARNING = (
    "Beware: it listens on every network address of this machine, so others can use it and read along; "
    "start it with --host 127.0.0.1."
)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe.

    :param text: a sentence for the user.
    :param answered: whether something answers at the URL.
    :param models: the models that the server lists.
    :param owner: the owner of the first model, as the server reports it: ``vllm``, ``sglang``, ``llamacpp``.
    :param speaks_dialect: whether it looks like a server of the configured dialect.
    :param context: the context size of the first model in tokens, if the server reports it.
    """

    text: str
    answered: bool = False
    models: tuple[str, ...] = ()
    owner: str = ""
    speaks_dialect: bool = False
    context: int | None = None


def probe(endpoint_url: str, dialect: Dialect, headers: Mapping[str, str]) -> ProbeResult:
    """Probe an endpoint with one GET, or a second one in the other dialect, each with a timeout of 2 s.

    No prompt is sent, and no response of a server raises an error.
    """
    result, status = _send_probe(endpoint_url, dialect, headers)
    if result.answered and not result.speaks_dialect and not 300 <= status < 400:
        other: Dialect = "chatglm" if dialect == "openai" else "openai"
        second, status = _send_probe(endpoint_url, other, headers)
        if status == (200 if other == "openai" else 405) and second.speaks_dialect:
            text = f"{second.text} %chatglm_config dialect={other} selects it."
            result = replace(second, text=text, speaks_dialect=False)
    is_exposed = result.answered and is_open_to_others(endpoint_url)
    return replace(result, text=f"{result.text} {EXPOSED_WARNING}") if is_exposed else result


def _send_probe(endpoint_url: str, dialect: Dialect, headers: Mapping[str, str]) -> tuple[ProbeResult, int]:
    """Send one GET; return the result and the HTTP status, which is 0 if nothing answered."""
    url = openai.base_url(endpoint_url) + "/models" if dialect == "openai" else redact_url(endpoint_url)
    started = time.monotonic()
    try:
        with (
            new_session() as session,
            session.get(
                url,
                headers=dict(headers),
                timeout=PROBE_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
                proxies=requests_proxies(proxy_for(url)),
            ) as response,
        ):
            raw = _read_body(response, started)
    except (ChatGLMError, requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        words = {
            "unknown host": f"Unknown host: {sanitize_line(urlsplit(url).hostname or url)}.",
            "no route": f"No route leads to {sanitize_line(url)}.",
        }
        return ProbeResult(
            words.get(connection_failure(error), f"Nothing answers at {sanitize_line(url)} yet.")
        ), 0
    status = response.status_code
    return _read_openai_response(status, _parse_json(raw), url) if dialect == "openai" else _read_chatglm_response(
        status, url
    ), status


def _read_body(response: requests.Response, started: float) -> bytes:
    """Read what arrives before the timeout: a body of one byte per second must not block a cell."""
    raw = b""
    while len(raw) < MAX_PROBE_BYTES and time.monotonic() - started < PROBE_TIMEOUT_SECONDS:
        block = response.raw.read1(MAX_PROBE_BYTES, decode_content=True)
        if not block:
            break
        raw += block
    return raw


def _parse_json(raw: bytes) -> Any:
    try:
        return strict_json(raw.decode())
    except (ValueError, RecursionError):
        return None


def _read_openai_response(status: int, body: Any, url: str) -> ProbeResult:
    rows = body.get("data") if isinstance(body, dict) else None
    if status == 200 and isinstance(rows, list):
        names = [row.get("id") for row in rows if isinstance(row, dict)]
        models = tuple(sanitize_line(name, 100) for name in names if isinstance(name, str))
        listed = ", ".join(models[:5]) + (", …" if len(models) > 5 else "") or "no model"
        owners = [
            row["owned_by"] for row in rows if isinstance(row, dict) and isinstance(row.get("owned_by"), str)
        ]
        text = f"Found a server that speaks OpenAI's protocol, with {listed}."
        context = _context_length(rows[0]) if rows else None
        return ProbeResult(text, True, models, owners[0] if owners else "", speaks_dialect=True, context=context)
    if status in (401, 403):
        return ProbeResult(
            "Found a server that requires a key: %chatglm_config api_key", True, speaks_dialect=True
        )
    if status == 503:
        return ProbeResult("Found a server that is still loading its model.", True, speaks_dialect=True)
    return ProbeResult(
        f"Something answers at {sanitize_line(url)}, but does not list models (status {status}).", True
    )


def _context_length(row: Any) -> int | None:
    """Return a model's context size in tokens, by the keys of vLLM and SGLang, OpenRouter, and llama.cpp."""
    if not isinstance(row, dict):
        return None
    meta = row["meta"] if isinstance(row.get("meta"), dict) else {}
    sizes = (row.get("max_model_len"), row.get("context_length"), meta.get("n_ctx"), meta.get("n_ctx_train"))
    return next((size for size in sizes if type(size) is int and 0 < size < 2**31), None)


def _read_chatglm_response(status: int, url: str) -> ProbeResult:
    if status == 405:
        text = "Found a server that takes POST here, as ChatGLM's own api.py does."
        return ProbeResult(text, True, speaks_dialect=True)
    if status in (401, 403):
        return ProbeResult(
            "Found a server that requires a key: %chatglm_config api_key", True, speaks_dialect=True
        )
    return ProbeResult(
        f"Something answers at {sanitize_line(url)} (status {status}), but not as ChatGLM's own protocol does. "
        "A server that speaks OpenAI's has an address that ends in /v1.",
        True,
    )


def is_open_to_others(url: str) -> bool:
    """Return whether the server at a loopback URL listens on every network interface.

    Reads the kernel's socket tables on Linux; elsewhere, or if they can't be read, returns False.
    """
    if not is_loopback(url):
        return False
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return any(_listens_everywhere(table, port) for table in SOCKET_TABLES)


def _listens_everywhere(table: str, port: int) -> bool:
    try:
        lines = Path(table).read_text().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        fields = line.split()
        address, _, number = fields[1].rpartition(":")
        if fields[3] == LISTEN_STATE and int(number, 16) == port and address in ANY_ADDRESS:
            return True
    return False
