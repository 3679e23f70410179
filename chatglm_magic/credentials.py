"""Secrets: which names mean one, what in a request's headers is one, and how one is taken out of text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

WHOLE = ("key", "token", "auth", "pass", "pwd", "sig", "jwt", "bearer", "cookie")
"""Whole names; in a longer one, as in ``max_token``, they mean something else."""

PARTS = (
    *("apikey", "secret", "password", "passwd", "passphrase", "authorization", "credential", "signature"),
    *("privatekey", "accesskey", "subscriptionkey", "functionskey", "sessionid"),
    *(f"{kind}token" for kind in ("access", "api", "auth", "bearer", "csrf", "id", "refresh", "security")),
    *(f"{kind}token" for kind in ("session", "user", "xsrf")),
)
"""What is in the name of a secret wherever it stands, as in ``zhipuai_api_key``; a ``max_token`` is none."""

NOT_SECRET = ("promptcachekey", "cachekey")
"""Keys of a body that end in ``key`` and are none."""

DEEP = 20
"""How far into a value it is looked for a key."""

RUN = 5
"""Characters of a secret in a row that count as a part of it."""
SHORTEST = 4
"""Characters from which a value counts as a secret; removing shorter ones would garble the text."""
SHORTEST_WITH_PARTS = 8
"""Characters from which a part of a secret is taken out too."""
SHORTEST_WITH_END, SHOWN = 17, 4
"""Characters from which the last four of a secret stay, to tell which one it was."""
SHORTEST_IN_TEXT = 12
"""Characters from which a secret is taken out of an answer; a shorter one may be a word, as vLLM's ``EMPTY``."""
BEGINNING = 3
"""Characters of a secret that stay where it is taken out of an answer."""

MARK = "…"

SCHEME = re.compile(
    r"(?:basic|bearer|token|apikey|api-key|key|digest|negotiate|ntlm|hoba|dpop|gnap) +", re.IGNORECASE
)
ANY_SCHEME = re.compile(r"[A-Za-z][\w-]* +")
UNIT = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
OUR_WORDS = re.compile(r"(%chatglm\w*|CHATGLM_[A-Z_]+|\b(?:endpoint_url|api_key)\b)")
"""What is to be typed next, as our errors say it."""


LOOKS_LIKE_A_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|hf|gsk|xai|ghp)[-_][A-Za-z0-9_-]{16,64}|[0-9a-f]{32}\.[A-Za-z0-9]{16})"
)
"""The known forms of keys: OpenAI's and its likes', Hugging Face's, and Z.ai's ``id.secret``."""


def names_a_key(name: str) -> bool:
    """Tell whether a name, of a parameter or in an address, says that its value is a secret."""
    plain = _plain(name)
    if plain in WHOLE or any(part in plain for part in PARTS):
        return plain not in NOT_SECRET
    words = re.split(r"[^a-z0-9]+", name.lower())
    return len(words) > 1 and words[-1] == "key" and plain not in NOT_SECRET


def key_within(values: Mapping[str, Any]) -> str | None:
    """Return the name under which further keys of a body hold a secret, however deep; None if none does.

    Deep down, where ``key`` and ``token`` are common words, only the unmistakable names count.
    """
    for name, value in values.items():
        if names_a_key(name) and isinstance(value, str):
            return name
        if found := _deeper(value, DEEP):
            return f"{name}: {found}"
    return None


def _deeper(value: Any, left: int) -> str | None:
    if left and isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str) and any(part in _plain(str(name)) for part in PARTS):
                return str(name)
        return next((found for inner in value.values() if (found := _deeper(inner, left - 1))), None)
    if left and isinstance(value, list | tuple):
        return next((found for inner in value if (found := _deeper(inner, left - 1))), None)
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that a request's own headers hold: each value without its scheme, each cookie, each
    parameter, and the password of Basic credentials."""
    found = [secret for name, value in headers.items() for secret in _secrets_of(name.lower(), value.strip())]
    return tuple(dict.fromkeys(secret for secret in found if len(secret) >= SHORTEST))


def _secrets_of(name: str, value: str) -> Iterable[str]:
    if name == "cookie":
        yield from (part.partition("=")[2].strip(' "') for part in value.split(";"))
        return
    scheme = (ANY_SCHEME if name.endswith("authorization") else SCHEME).match(value)
    rest = value[scheme.end() :].strip() if scheme else value
    yield rest
    if scheme and scheme[0].strip().lower() == "basic":
        try:
            user_and_password = base64.b64decode(rest, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return
        yield user_and_password.partition(":")[2]
    elif "=" in rest.rstrip("="):
        yield from (part.partition("=")[2].strip(' "') for part in re.split("[;,]", rest))


def mask(text: str, secrets: Sequence[str]) -> str:
    """Return text without secrets, in capitals or not, percent-encoded or not.

    Of a secret of 8 characters or more every run of more than four is taken out, so that a text can be cut before
    or after. The last four of a whole one of 17 or more stay, and what our own errors say is to be typed.
    """
    if not secrets:
        return text
    return "".join(
        part if number % 2 else _masked(part, secrets) for number, part in enumerate(OUR_WORDS.split(text))
    )


def _masked(text: str, secrets: Sequence[str]) -> str:
    units = UNIT.findall(text)
    plain = "".join(_folded(unit) for unit in units)
    runs = {
        low[at : at + RUN]
        for secret in secrets
        if len(low := _fold(secret)) >= SHORTEST_WITH_PARTS
        for at in range(len(low) - RUN + 1)
    }
    hidden = bytearray(len(plain))
    for at in range(len(plain) - RUN + 1):
        if plain[at : at + RUN] in runs:
            hidden[at : at + RUN] = b"\1" * RUN
    for low in map(_fold, secrets):
        for found in re.finditer(re.escape(low), plain):
            shown = SHOWN if len(low) >= SHORTEST_WITH_END else 0
            hidden[found.start() : found.end()] = b"\1" * (len(low) - shown) + b"\0" * shown
    parts = [
        (MARK if not at or not hidden[at - 1] else "") if hidden[at] else unit for at, unit in enumerate(units)
    ]
    return "".join(parts)


def _fold(text: str) -> str:
    return "".join(_folded(unit) for unit in UNIT.findall(text))


def _folded(unit: str) -> str:
    """Return one character for one unit of a text, whatever its case and its encoding."""
    char = unquote(unit, "latin-1") if len(unit) == 3 else unit
    low = char.lower()
    return low if len(low) == 1 else char


def mask_values(value: Any, secrets: Sequence[str]) -> Any:
    """Return a JSON value in which every text is masked."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {mask(str(name), secrets): mask_values(item, secrets) for name, item in value.items()}
    return [mask_values(item, secrets) for item in value] if isinstance(value, list | tuple) else value
