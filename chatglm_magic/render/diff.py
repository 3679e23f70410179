"""Texts side by side with their differences marked: words, and single characters in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .answers import escape_html
from .cjk import CJK

__all__ = ["highlight_changes", "highlight_differences"]

MAX_HIGHLIGHTED_SHARE = 0.6
"""Share of two texts that differs from which on they are different texts, and marks would say nothing."""

MAX_COMPARED_UNITS = 8000
"""Units that are compared one by one, apart from what two texts begin and end with; else whole sentences are."""

ISOLATION_UNITS = 3
"""One common word is marked all the same where this many others differ on either side: it is a coincidence."""

# A unit is the blanks before it and a word; the last one of a text has the blanks at its end and no word.
# Letters make words, except those of Chinese, Japanese and Korean, which like signs are words by themselves.
_LETTER = rf"[^\W{CJK.pattern[1:-1]}]"
WORDS = re.compile(rf"(\s*)(\d+(?:\.\d+)+|(?:{_LETTER}|[\u0300-\u036f])+(?:['’]{_LETTER}+)*|\S|\Z)")
SENTENCES = re.compile(r"()([^\n.!?。！？]+[\n.!?。！？]*|[\n.!?。！？]+|\Z)")

TEXT_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere"
MARK_STYLE = (
    "background:rgba(255,152,0,.3);color:inherit;border-radius:2px;"
    "text-decoration:underline;text-decoration-thickness:2px;text-underline-offset:2px"
)
"""Readable on any ground, since the letters keep their colour; the line under them needs no colour at all."""

Span = tuple[int, int]
Unit = tuple[str, str]


def highlight_differences(texts: Sequence[str]) -> list[str]:
    """Return each text as safe HTML in which ``<mark>`` stands round what differs from the first one.

    In the first text it stands round what any other one lacks. Blanks and lines are kept. The time grows as the
    texts do: where more than 8 000 words or characters differ, whole sentences are compared, and where that is
    still too much, all from the first difference to the last one is marked.
    """
    spans: list[list[Span]] = [[] for _ in texts]
    for number, text in enumerate(texts):
        if text != texts[0]:
            first, spans[number] = _find_differences(texts[0], text)
            spans[0] += first
    return [_mark_spans(text, found) for text, found in zip(texts, spans, strict=True)]


def highlight_changes(before: str, text: str) -> tuple[str, float]:
    """Return a text as safe HTML with a ``<mark>`` round what another one lacks, and how much of both differs.

    :returns: the HTML, and the share of the characters of both texts that the other one lacks, 0 to 1.
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
    if len(units) > 1 and not units[-2][1]:  # the pattern finds the very end once more after blanks
        units.pop()
    return units


def _match_units(a: list[str], b: list[str], limit: int) -> list[tuple[int, int]] | None:
    """Return the places of common words, in order; None if more than ``limit`` would have to be compared.

    A limit of 0 takes any number and compares none.
    """
    top, head, tail = min(len(a), len(b)), 0, 0
    while head < top and a[head] == b[head]:
        head += 1
    while tail < top - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    inner, outer = a[head : len(a) - tail], b[head : len(b) - tail]
    if limit and max(len(inner), len(outer)) > limit:
        return None
    found = _drop_isolated(_longest_common_subsequence(inner, outer), len(inner), len(outer)) if limit else []
    ends = zip(range(len(a) - tail, len(a)), range(len(b) - tail, len(b)), strict=True)
    return [*((n, n) for n in range(head)), *((head + i, head + j) for i, j in found), *ends]


def _longest_common_subsequence(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence.

    A row of the table of lengths is one integer, whose bit is 0 where the length grows (Hyyrö 2004): 8 000 by
    8 000 words take some hundredths of a second, whatever they are.
    """
    places: dict[str, int] = {}
    for n, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << n
    row = full = (1 << len(a)) - 1
    rows = [full]
    for word in b:
        hit = row & places.get(word, 0)
        row = (row + hit | row - hit) & full
        rows.append(row)
    i, j, found = len(a), len(b), []
    while i and j:
        if rows[j] >> i - 1 & 1:
            i -= 1
            continue
        j -= 1
        if rows[j] >> i - 1 & 1:
            i -= 1
            found.append((i, j))
    return found[::-1]


def _drop_isolated(pairs: list[tuple[int, int]], a: int, b: int) -> list[tuple[int, int]]:
    """Leave out single words in common with much that differs round them; ``a`` and ``b`` are the texts' sizes."""
    kept, last = [], (-1, -1)
    for (i, j), (next_i, next_j) in zip(pairs, [*pairs[1:], (a, b)], strict=False):
        before, behind = max(i - last[0], j - last[1]) - 1, max(next_i - i, next_j - j) - 1
        if not (before >= ISOLATION_UNITS and behind >= ISOLATION_UNITS):
            kept.append((i, j))
            last = i, j
    return kept


def _changed_spans(ours: list[Unit], theirs: list[Unit], pairs: list[tuple[int, int]]) -> list[Span]:
    """Return the spans of our text that the other one lacks; blanks between two changed words go with them."""
    partner = [-1] * len(ours)
    for i, j in pairs:
        partner[i] = j
    spans, at, last, before = [], 0, False, -1
    for (blank, word), other in zip(ours, partner, strict=True):
        changed = other < 0
        respaced = not changed and not last and other == before + 1 and theirs[other][0] != blank
        if blank and (respaced or (changed and last)):
            spans.append((at, at + len(blank)))
        at += len(blank)
        if changed:
            spans.append((at, at + len(word)))
        at += len(word)
        last, before = changed, other
    return spans


def _mark_spans(text: str, spans: Iterable[Span]) -> str:
    parts, at = [], 0
    for start, end in _merge_spans(spans):
        parts += [escape_html(text[at:start]), f'<mark style="{MARK_STYLE}">{escape_html(text[start:end])}</mark>']
        at = end
    parts.append(escape_html(text[at:]))
    return f'<div style="{TEXT_STYLE}">{"".join(parts)}</div>'


def _merge_spans(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
