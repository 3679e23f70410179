"""Tokens and figures as short text, with control characters escaped."""

from __future__ import annotations

from ..values import Candidate
from .distribution import Bounds

CONTROL_SIGNS = {"\n": "⏎", "\r": "␍", "\t": "⇥"}
MAX_LABEL_CHARS = 40
"""Maximum length of a displayed token."""
CERTAIN_BELOW_BITS = 0.07
"""Entropy in bits below which a position is as good as certain: like a choice among 1.05."""


def token_label(candidate: Candidate) -> str:
    """Return a token with visible line ends and blanks at its ends, and partial characters as bytes."""
    if not candidate.token and not candidate.data:
        return f"⟨control {candidate.id}⟩" if candidate.id is not None else "⟨control⟩"
    if candidate.raw is None:
        return make_readable(candidate.token)
    return make_readable(candidate.data.decode("utf-8", "backslashreplace"))


def make_readable(text: str) -> str:
    """Return text on one line, without characters that could mislead a terminal or a reader."""
    inner = text.strip(" ")
    leading = len(text) - len(text.lstrip(" ")) if inner else len(text)
    text = "␣" * leading + inner + "␣" * (len(text) - leading - len(inner))
    shown = "".join(
        CONTROL_SIGNS.get(char) or (char if char.isprintable() else ascii(char)[1:-1]) for char in text
    )
    return shown if len(shown) <= MAX_LABEL_CHARS else shown[: MAX_LABEL_CHARS - 1] + "…"


def format_percent(share: Bounds) -> str:
    """Return a probability in per cent, as a range if it is uncertain."""
    low, high = _format_share(share.low), _format_share(share.high)
    if high.startswith("<"):
        low = high
    return f"{low} %" if low == high else f"{low}–{high} %"


def format_bits(entropy: Bounds) -> str:
    """Return an entropy in bits, as a range if it is uncertain."""
    low, high = f"{entropy.low:.2f}", f"{entropy.high:.2f}"
    return f"{low} bits" if low == high else f"{low}–{high} bits"


def format_choices(entropy: Bounds) -> str:
    """Return how many equally likely tokens have this entropy (2 to its power): ``~5``, ``~2–4``."""
    low, high = (round(2 ** min(value, 60.0)) for value in entropy)
    return f"~{low}" if low == high else f"~{low}–{high}"


def describe_openness(entropy: Bounds) -> str:
    """Describe how open a position is, by its entropy."""
    if entropy.high < CERTAIN_BELOW_BITS:
        return "as good as certain"
    if 2**entropy.high < 1.5:
        return "almost certain"
    return f"open like a choice among {format_choices(entropy)}"


def _format_share(share: float) -> str:
    value = 100 * share
    if 0 < value < 0.1:
        return "< 0.1"
    if 99.9 < value < 100:
        return "> 99.9"
    return f"{value:.0f}" if value in (0, 100) else f"{value:.1f}"
