"""A key in a magic's line would be saved with the notebook, and in IPython's history: it is refused."""

from __future__ import annotations

import re

from ..errors import CommandError

NO_KEYS = (
    "a key does not belong in a cell, which is saved with the notebook: delete it there, then type "
    "%chatglm_config api_key, which asks for it"
)
LOOKS_LIKE_ONE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|hf|gsk|xai|ghp)[-_][A-Za-z0-9_-]{16,64}|[0-9a-f]{32}\.[A-Za-z0-9]{16})"
)
"""The forms of keys that are known: OpenAI's and its likes', Hugging Face's, and Z.ai's ``id.secret``."""


def refuse_keys(line: str) -> None:
    """Refuse a line that holds what looks like a key; the body of a cell is not looked at.

    :raises CommandError: which does not repeat it.
    """
    if LOOKS_LIKE_ONE.search(line):
        raise CommandError(NO_KEYS)
