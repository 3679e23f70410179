"""Secrets: names that denote one, the secrets in a request's headers, and masking them in text."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

SECRET_NAMES = ("key", "token", "auth", "pass", "pwd", "sig", "jwt", "bearer", "cookie")
"""Names of secrets. As part of a longer name, as in ``max_token``, they mean something else."""

SECRET_WORDS = ("apikey", "secret", "password", "passwd", "passphrase", "authorization", "credential", "signature")
KEY_WORDS = ("privatekey", "accesskey", "subscriptionkey", "functionskey", "sessionid")
TOKEN_KINDS = ("access", "api", "auth", "bearer", "csrf", "id", "refresh", "security", "session", "user", "xsrf")
SECRET_NAME_PARTS = (*SECRET_WORDS, *KEY_WORDS, *(f"{kind}token" for kind in TOKEN_KINDS))
"""Any name that contains one of these denotes a secret, as ``zhipuai_api_key`` does; ``max_token`` doesn't."""

NOT_SECRET_NAMES = ("promptcachekey", "cachekey")
"""Keys of a request body that end in ``key`` but aren't secret."""

MAX_DEPTH = 20
"""How many levels of a nested value are searched for a secret."""

RUN_CHARACTERS = 5
"""Length of a run of characters that counts as part of a secret."""
MIN_SECRET_CHARACTERS = 4
"""A shorter value doesn't count as a secret: masking it would garble the text."""
MIN_CHARACTERS_FOR_RUNS = 8
"""Parts of a secret are masked too if it has at least this many characters."""
MIN_CHARACTERS_FOR_ENDING, ENDING_CHARACTERS = 17, 4
"""A secret of at least 17 characters keeps its last four, to identify it."""
MIN_CHARACTERS_IN_ANSWER = 12
"""A shorter secret isn't masked in answers: it may be a word, as vLLM's ``EMPTY``."""
PREFIX_CHARACTERS = 3
"""How many leading characters of a secret stay where it is masked in an answer."""

MARK = "…"

SCHEME = re.compile(
    r"(?:basic|bearer|token|apikey|api-key|key|digest|negotiate|ntlm|hoba|dpop|gnap) +", re.IGNORECASE
)
ANY_SCHEME = re.compile(r"[A-Za-z][\w-]* +")
TEXT_UNIT = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
OUR_COMMANDS = re.compile(r"(%chatglm\w*|CHATGLM_[A-Z_]+|\b(?:endpoint_url|api_key)\b)")
"""What our errors tell the user to type next."""

API_KEY_PATTERN = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|hf|gsk|xai|ghp)[-_][A-Za-z0-9_-]{16,64}|[0-9a-f]{32}\.[A-Za-z0-9]{16})"
)
"""Known forms of keys: those of OpenAI and similar services, of Hugging Face, and Z.ai's ``id.secret``."""


def is_secret_name(name: str) -> bool:
    """Return whether the value of a parameter, or of a URL's query, is a secret by its name."""
    plain = _normalize(name)
    if plain in SECRET_NAMES or any(part in plain for part in SECRET_NAME_PARTS):
        return plain not in NOT_SECRET_NAMES
    words = re.split(r"[^a-z0-9]+", name.lower())
    return len(words) > 1 and words[-1] == "key" and plain not in NOT_SECRET_NAMES


def find_secret_name(values: Mapping[str, Any]) -> str | None:
    """Return the name under which extra keys of a request body hold a secret, at any depth; None if none does.

    In nested values, where ``key`` and ``token`` are common words, only unambiguous names count.
    """
    for name, value in values.items():
        if is_secret_name(name) and isinstance(value, str):
            return name
        if nested := _find_nested(value, MAX_DEPTH):
            return f"{name}: {nested}"
    return None


def _find_nested(value: Any, levels: int) -> str | None:
    if levels and isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str) and any(part in _normalize(str(name)) for part in SECRET_NAME_PARTS):
                return str(name)
        return next((nested for inner in value.values() if (nested := _find_nested(inner, levels - 1))), None)
    if levels and isinstance(value, list | tuple):
        return next((nested for inner in value if (nested := _find_nested(inner, levels - 1))), None)
    return None


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in a request's headers.

    These are each value without its scheme, each cookie, each parameter, and the password of Basic credentials.
    """
    secrets = [secret for name, value in headers.items() for secret in _secrets_of(name.lower(), value.strip())]
    return tuple(dict.fromkeys(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS))


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
    """Return text with secrets masked, whatever their case, percent-encoded or not.

    If a secret has at least 8 characters, every run of five or more of them is masked, so the text can be cut
    before or after. A whole secret of at least 17 keeps its last four. Commands that our errors quote stay.
    """
    if not secrets:
        return text
    return "".join(
        part if number % 2 else _mask_part(part, secrets) for number, part in enumerate(OUR_COMMANDS.split(text))
    )


def _mask_part(text: str, secrets: Sequence[str]) -> str:
    units = TEXT_UNIT.findall(text)
    plain = "".join(_fold_unit(unit) for unit in units)
    runs = {
        folded[i : i + RUN_CHARACTERS]
        for secret in secrets
        if len(folded := _fold(secret)) >= MIN_CHARACTERS_FOR_RUNS
        for i in range(len(folded) - RUN_CHARACTERS + 1)
    }
    hidden = bytearray(len(plain))
    for i in range(len(plain) - RUN_CHARACTERS + 1):
        if plain[i : i + RUN_CHARACTERS] in runs:
            hidden[i : i + RUN_CHARACTERS] = b"\1" * RUN_CHARACTERS
    for folded in map(_fold, secrets):
        for match in re.finditer(re.escape(folded), plain):
            visible = ENDING_CHARACTERS if len(folded) >= MIN_CHARACTERS_FOR_ENDING else 0
            hidden[match.start() : match.end()] = b"\1" * (len(folded) - visible) + b"\0" * visible
    parts = [(MARK if not i or not hidden[i - 1] else "") if hidden[i] else unit for i, unit in enumerate(units)]
    return "".join(parts)


def _fold(text: str) -> str:
    return "".join(_fold_unit(unit) for unit in TEXT_UNIT.findall(text))


def _fold_unit(unit: str) -> str:
    """Return one character for one unit of a text, lower case and percent-decoded."""
    char = unquote(unit, "latin-1") if len(unit) == 3 else unit
    low = char.lower()
    return low if len(low) == 1 else char


def mask_values(value: Any, secrets: Sequence[str]) -> Any:
    """Return a JSON value with secrets masked in every text."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, Mapping):
        return {mask(str(name), secrets): mask_values(item, secrets) for name, item in value.items()}
    return [mask_values(item, secrets) for item in value] if isinstance(value, list | tuple) else value
