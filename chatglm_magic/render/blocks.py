"""A growing answer as a list of blocks of safe HTML: a finished block is rendered and sent only once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import Any

from .highlight import Highlighter
from .markdown import block_starts, find_references, render_fragment
from .text import escape_page_controls

MAX_PARAGRAPH_CHARS, MAX_CODE_CHARS = 4_000, 12_000
"""Length beyond which a paragraph or a code block is split into several blocks, so that a page stays fast."""

MAX_BLOCK_CHARS = 60_000
"""Maximum length of any other block, such as a list or a table; a longer one is shown as plain text."""

SPLIT_SEARCH_CHARS = 400
"""Number of characters beyond the limit that are searched for a place to split."""

_AMBIGUOUS_LINE = re.compile(r"[ ]{0,3}(\d{1,9}[.)]?|[-+*>#=|~`_$\\]+)?[ \t]*\Z")
"""An unfinished line that may begin a block or continue the one before."""

_FENCE = re.compile(r"[ ]{0,3}(`{3,}+|~{3,}+)[^\n]*+\n")
_LINE_END = re.compile("\n")
_NOT_PROSE = re.compile(r"\s*([-+*>|#]|\d+[.)]|\$\$|\\\[)")
_OTHER_LINE_ENDS = re.compile("\r\n|[\r\u2028\u2029]")
_SPLIT_POINT = re.compile(r"\n|\s|[。！？；，、]")


class BlockRenderer:
    """Renders the blocks of one answer, which can be updated with a longer text or a different one."""

    def __init__(self) -> None:
        self._text = ""
        self._references: Mapping[str, Any] = {}
        self._reset()

    def _reset(self) -> None:
        self._finished: list[str] = []
        self._start, self._fence = 0, ""
        self._highlighter = Highlighter()

    def update(self, text: str, *, ended: bool = True) -> list[str]:
        """Return the blocks of a text.

        :param text: Markdown of a model.
        :param ended: whether it is complete. If not, the last block may still change.
        """
        if _OTHER_LINE_ENDS.search(text):
            text = _OTHER_LINE_ENDS.sub("\n", text)
        if not text.startswith(self._text[: self._start]):
            self._reset()
        if ended and (references := find_references(text)) != self._references:
            self._references = references  # a link's target may follow the link
            self._reset()
        self._text = text
        while self._finish_blocks(text, ended=ended):
            pass
        tail = text[self._start :]
        last = self._render(self._fence + tail, Highlighter(), streaming=not ended) if tail.strip() else ""
        return [*self._finished, last] if last else list(self._finished)

    def _finish_blocks(self, text: str, *, ended: bool) -> bool:
        """Render the blocks that can't change any more; return whether there may be more of them."""
        tail = text[self._start : self._start + MAX_BLOCK_CHARS]
        is_all = len(tail) == len(text) - self._start
        starts = [max(start - len(self._fence), 0) for start in block_starts(self._fence + tail)]
        if len(starts) > 1 and not (ended and is_all) and _AMBIGUOUS_LINE.match(tail[starts[-1] :]):
            starts.pop()
        if len(starts) == 1:
            return self._split(tail)
        for start, end in pairwise(starts):
            before = self._start
            self._split(tail[start:end])
            self._finish_block(tail[start + self._start - before : end])
            self._fence = ""
        return True

    def _split(self, block: str) -> bool:
        """Render the first parts of a block that is too long; return whether there were any.

        A text is split in the same places whether it arrives at once or in pieces.
        """
        fence = _FENCE.match(self._fence + block)
        if not fence and len(block) < MAX_BLOCK_CHARS and _NOT_PROSE.match(block):
            return False
        limit, breaks = (MAX_CODE_CHARS, _LINE_END) if fence else (MAX_PARAGRAPH_CHARS, _SPLIT_POINT)
        start = 0
        while len(block) - start >= limit + SPLIT_SEARCH_CHARS:
            match = breaks.search(block, start + limit, start + limit + SPLIT_SEARCH_CHARS)
            end = match.end() if match else start + limit
            self._finish_block(block[start:end], f"\n{fence[1]}" if fence else "")
            self._fence = fence[0] if fence else ""
            start = end
        return start > 0

    def _finish_block(self, source: str, end: str = "") -> None:
        """Render a final block; ``end`` closes a code block that continues in the next one."""
        self._start += len(source)
        if block := self._render(self._fence + source + end, self._highlighter):
            self._finished.append(block)

    def _render(self, source: str, highlighter: Highlighter, *, streaming: bool = False) -> str:
        html = None
        if len(source) <= MAX_BLOCK_CHARS:
            references = self._references
            html = render_fragment(source, streaming=streaming, highlighter=highlighter, references=references)
        return (
            html
            if html is not None
            else f'<pre style="white-space:pre-wrap">{escape(escape_page_controls(source))}</pre>'
        )


def plain_blocks(text: str) -> list[str]:
    """Return a text as blocks of safe HTML without parsing it: a prompt isn't Markdown."""
    return [f'<p class="chatglm-plain">{escape(escape_page_controls(text))}</p>'] if text else []
