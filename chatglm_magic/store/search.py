"""Parsing of search queries, and splitting of texts into the words of the search index."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

_SINGLE_CHARS = (
    # kana, bopomofo, hangul, ideographs with their extensions, and the marks 々〆〇
    r"\u1100-\u11ff\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u30fa\u30fc-\ua4cf"
    r"\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
    # arrows, mathematics, boxes, dingbats, emoji
    r"\u2190-\u2bff\U0001f000-\U0001fbff"
    # symbols that occur in names (C++, C#, R&D); not the asterisks, dashes and bars of Markdown
    r"#$%&+<=>@^~\xa2-\xa5\xa7\xa9\xac\xae\xb0\xb1\xb6\xd7\xf7\u20a0-\u20cf"
)
_SEPARATORS = (
    # controls, whitespace, other punctuation of ASCII and Latin-1, general and Chinese punctuation, private use
    r"\x00-\x20!\"'()*,\-./:;?\[\\\]_`{|}\x7f-\xa1\xa6\xa8\xab\xad\xaf\xb4\xb7\xb8\xbb\xbf"
    r"\u2000-\u206f\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u3040\u30fb\ufe00-\ufe6f\ufff0-\uffff"
    r"\ud800-\uf8ff\U000e0000-\U0010ffff"
)
_WORD = re.compile(f"[{_SINGLE_CHARS}]|[^{_SINGLE_CHARS}{_SEPARATORS}]+")
_SINGLE_CHAR = re.compile(f"[{_SINGLE_CHARS}]")

TEXT_SEPARATOR = "\ue000"
"""Separates the texts of one turn, so that no phrase spans two of them."""
_FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
MIN_PREFIX_LETTERS = 3
"""A word of at least this length also finds the words that begin with it."""


def fold(text: str) -> str:
    """Return a text with differences of width, form and case removed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def split_words(text: str) -> list[str]:
    """Return the words of a text in their order."""
    return _WORD.findall(fold(text))


def index_text(*texts: str) -> str:
    """Return texts in the form in which the index stores them."""
    return f" {TEXT_SEPARATOR} ".join(" ".join(split_words(text)) for text in texts)


class SearchQuery:
    """A parsed search: every part of the query between spaces is a phrase, and all phrases must occur.

    A query of punctuation alone has no words; it is searched for literally, in halfwidth and fullwidth form.
    """

    def __init__(self, text: str) -> None:
        self._phrases = [phrase for part in text.split() if (phrase := split_words(part))]
        plain = unicodedata.normalize("NFKC", text.strip())
        self._literal = (plain, plain.translate(_FULLWIDTH)) if plain and not self._phrases else ()

    @property
    def fts_query(self) -> str | None:
        """The query in FTS5's syntax; words contain no quotation marks, so none acts as an operator."""
        return " AND ".join(f'"{" ".join(phrase)}"{" *" * _is_prefix(phrase)}' for phrase in self._phrases) or None

    def matches(self, *texts: str | None) -> bool:
        """Return whether texts that aren't in the index match the query."""
        if self._literal:
            return any(form in text for text in texts if text for form in self._literal)
        words = f" {index_text(*(text or '' for text in texts))} "
        return all(f" {' '.join(phrase)}{' ' * (not _is_prefix(phrase))}" in words for phrase in self._phrases)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of all matches in the first 100,000 characters of a text."""
        text = text[:MAX_MARKED_CHARS]
        folded = fold(text)
        if len(folded) == len(text):
            return [match.span() for match in self._pattern.finditer(folded)]
        parts = [fold(char) for char in text]  # one that becomes several, such as ﬁ, shifts the rest
        origins = [index for index, part in enumerate(parts) for _ in part]
        matches = self._pattern.finditer("".join(parts))
        return [(origins[match.start()], origins[match.end() - 1] + 1) for match in matches]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        if self._literal:
            return re.compile("|".join(map(re.escape, self._literal)))
        return re.compile("|".join(map(_phrase_pattern, self._phrases)) or r"(?!)")


MAX_MARKED_CHARS = 100_000
EXCERPT_LEAD_CHARS, EXCERPT_CHARS = 30, 110
"""Characters of an excerpt before its first match, and in total."""


def excerpt(search: str | None, texts: Sequence[str]) -> list[tuple[str, bool]]:
    """Return an excerpt of the first text with a match, or else of the first that isn't empty.

    :returns: its parts, each with whether it is a match.
    """
    query = SearchQuery(search or "")
    match = next(((text, spans) for text in texts if search and (spans := query.spans(text))), None)
    text, spans = match or (next((text for text in texts if text.strip()), ""), [])
    start = max(0, spans[0][0] - EXCERPT_LEAD_CHARS) if spans else 0
    end = start + EXCERPT_CHARS
    parts, position = [("…", False)] if start else [], start
    for left, right in spans:
        if left >= position and right <= end:
            parts += [(text[position:left], False), (text[left:right], True)]
            position = right
    parts += [(text[position:end], False), ("…" if end < len(text) else "", False)]
    return [(re.sub(r"\s+", " ", part), is_match) for part, is_match in parts if part]


def _phrase_pattern(phrase: list[str]) -> str:
    letter = f"[^{_SINGLE_CHARS}{_SEPARATORS}]"
    before = "" if _SINGLE_CHAR.match(phrase[0]) else f"(?<!{letter})"
    after = "" if _is_prefix(phrase) or _SINGLE_CHAR.match(phrase[-1]) else f"(?!{letter})"
    return before + f"[{_SEPARATORS}]*".join(map(re.escape, phrase)) + after


def _is_prefix(phrase: list[str]) -> bool:
    """Return whether a phrase's last word also matches longer words that begin with it."""
    return len(phrase[-1]) >= MIN_PREFIX_LETTERS and not _SINGLE_CHAR.match(phrase[-1])
