"""``{{name}}`` in a prompt: a variable's text in its place, by its plain name; nothing is evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PLACE = re.compile(r"\{\{ ?([^\W\d]\w*) ?\}\}")


def insert(prompt: str, names: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the prompt with its variables in place, and the names that do not exist, left as typed."""
    missing: list[str] = []

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in names:
            return str(names[name])
        missing.append(name)
        return found[0]

    return PLACE.sub(value, prompt), missing
