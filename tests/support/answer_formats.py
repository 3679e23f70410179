"""One answer, and what each format makes of it."""

from __future__ import annotations

CODE = 'x = {"a": [1, 2]}'
TEXT = f"See **this**:\n\n```json\n{CODE[4:]}\n```\n"
PIECES = [TEXT[:8], TEXT[8:]]

PLAIN = {
    "rich": TEXT,
    "text": TEXT,
    "markdown": TEXT,
    "code": '{"a": [1, 2]}',
    "json": '{\n  "a": [\n    1,\n    2\n  ]\n}',
}
"""What each format makes of the answer, as plain text."""
WHOLE = ("code", "json")
"""Formats that need the whole answer."""
