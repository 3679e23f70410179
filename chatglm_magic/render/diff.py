"""Highlight the differences of texts: by words, and by characters in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .answers import escape_html
from .cjk import CJK

__all__ = ["highlight_changes", "highlight_differences"]

MAX_HIGHLIGHTED_SHARE = 0.6
"""Share of differing characters above which two texts are unrelated, so that highlighting is useless."""

MAX_COMPARED_UNITS = 8000
"""Maximum number of words compared, not counting a common beginning and end; beyond it, sentences are."""

ISOLATION_UNITS = 3
"""A single common word counts as different if at least this many words on each side differ: a coincidence."""

# A unit is a word with the blanks before it; the last unit of a text may be blanks without a word.
# Letters form words, but each Chinese, Japanese or Korean letter, like each sign, is a word by itself.
_LETTER = rf"[^\W{CJK.pattern[1:-1]}]"
WORDS = re.compile(rf"(\s*)(\d+(?:\.\d+)+|(?:{_LETTER}|[\u0300-\u036f])+(?:['’]{_LETTER}+)*|\S|\Z)")
SENTENCES = re.compile(r"()([^\n.!?。！？]+[\n.!?。！？]*|[\n.!?。！？]+|\Z)")

TEXT_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere"
MARK_STYLE = (
    "background:rgba(255,152,0,.3);color:inherit;border-radius:2px;"
    "text-decoration:underline;text-decoration-thickness:2px;text-underline-offset:2px"
)
"""Readable on any background, since the text keeps its colour; the underline doesn't depend on colour."""

Span = tuple[int, int]
Unit = tuple[str, str]


def highlight_differences(texts: Sequence[str]) -> list[str]:
    """Return each text as safe HTML, with its differences from the first text in ``<mark>``.

    In the first text, what any other text lacks is marked. Blanks and line ends are preserved. To bound the time,
    sentences are compared if more than 8 000 words or characters differ; if that is still too much, everything
    from the first difference to the last one is marked.
    """
    spans: list[list[Span]] = [[] for _ in texts]
    for number, text in enumerate(texts):
        if text != texts[0]:
            first, spans[number] = _find_differences(texts[0], text)
            spans[0] += first
    return [_mark_spans(*pair) for pair in zip(texts, spans, strict=True)]


def highlight_changes(before: str, text: str) -> tuple[str, float]:
    """Return a text as safe HTML with a ``<mark>`` around what ``before`` lacks, and how much differs.

    :returns: the HTML, and the share of the characters of both texts that differ, 0 to 1.
    """
    theirs, ours = _find_differences(before, text)
    size = sum(end - start for start, end in (*_merge_spans(theirs), *_merge_spans(ours)))
    return _mark_spans(text, ours), size / max(len(before) + len(text), 1)


def _find_differences(a: str, b: str) -> tuple[list[Span], list[Span]]:
    """Return where each of two texts differs from the other."""
    for cut, limit in ((WORDS, MAX_COMPARED_UNITS), (SENTENCES, MAX_COMPARED_UNITS), (SENTENCES, 0)):
        ours, theirs = _split_units(cut, a), _split_units(cut, b)
        pairs = _match_units([word for _, word in ours], [word for _, word in theirs], limit)
        if pairs is not None:
            break
    assert pairs is not None  # the last limit takes anything
    return _changed_spans(ours, theirs, pairs), _changed_spans(theirs, ours, [(j, i) for i, j in pairs])


def _split_units(cut: re.Pattern[str], text: str) -> list[Unit]:
    units = cut.findall(text)
    if len(units) > 1 and not units[-2][1]:  # after blanks, the pattern matches the end of the text again
        units.pop()
    return units


def _match_units(a: list[str], b: list[str], limit: int) -> list[tuple[int, int]] | None:
    """Return the index pairs of common words, in order; None if more than ``limit`` would have to be compared.

    With a limit of 0, any number is accepted and only a common beginning and end are matched.
    """
    shorter, head, tail = min(len(a), len(b)), 0, 0
    while head < shorter and a[head] == b[head]:
        head += 1
    while tail < shorter - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    rest_a, rest_b = a[head : len(a) - tail], b[head : len(b) - tail]
    if limit and max(len(rest_a), len(rest_b)) > limit:
        return None
    pairs = _drop_isolated(_longest_common_subsequence(rest_a, rest_b), len(rest_a), len(rest_b)) if limit else []
    ends = zip(range(len(a) - tail, len(a)), range(len(b) - tail, len(b)), strict=True)
    return [*((n, n) for n in range(head)), *((head + i, head + j) for i, j in pairs), *ends]


def _longest_common_subsequence(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Return the index pairs of a longest common subsequence.

    A row of the table of lengths is one integer, whose bit is 0 where the length grows (Hyyrö 2004): 8 000 by
    8 000 words take a few hundredths of a second in any case.
    """
    masks: dict[str, int] = {}
    for index, word in enumerate(a):
        masks[word] = masks.get(word, 0) | 1 << index
    row = full = (1 << len(a)) - 1
    rows = [full]
    for word in b:
        hit = row & masks.get(word, 0)
        row = (row + hit | row - hit) & full
        rows.append(row)
    i, j, pairs = len(a), len(b), []
    while i and j:
        if rows[j] >> i - 1 & 1:
            i -= 1
            continue
        j -= 1
        if rows[j] >> i - 1 & 1:
            i -= 1
            pairs.append((i, j))
    return pairs[::-1]


def _drop_isolated(pairs: list[tuple[int, int]], a: int, b: int) -> list[tuple[int, int]]:
    """Drop common words that are isolated among differing ones; ``a`` and ``b`` are the numbers of words."""
    kept, last = [], (-1, -1)
    for (i, j), (next_i, next_j) in zip(pairs, [*pairs[1:], (a, b)], strict=False):
        before, behind = max(i - last[0], j - last[1]) - 1, max(next_i - i, next_j - j) - 1
        if not (before >= ISOLATION_UNITS and behind >= ISOLATION_UNITS):
            kept.append((i, j))
            last = i, j
    return kept


def _changed_spans(ours: list[Unit], theirs: list[Unit], pairs: list[tuple[int, int]]) -> list[Span]:
    """Return the spans of the first text that the second lacks, including blanks between two changed words."""
    partner = [-1] * len(ours)
    for i, j in pairs:
        partner[i] = j
    spans, position, last, before = [], 0, False, -1
    for (blank, word), other in zip(ours, partner, strict=True):
        changed = other < 0
        respaced = not changed and not last and other == before + 1 and theirs[other][0] != blank
        if blank and (respaced or (changed and last)):
            spans.append((position, position + len(blank)))
        position += len(blank)
        if changed:
            spans.append((position, position + len(word)))
        position += len(word)
        last, before = changed, other
    return spans


def _mark_spans(text: str, spans: Iterable[Span]) -> str:
    parts, position = [], 0
    for start, end in _merge_spans(spans):
        parts.append(escape_html(text[position:start]))
        parts.append(f'<mark style="{MARK_STYLE}">{escape_html(text[start:end])}</mark>')
        position = end
    parts.append(escape_html(text[position:]))
    return f'<div style="{TEXT_STYLE}">{"".join(parts)}</div>'


def _merge_spans(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
