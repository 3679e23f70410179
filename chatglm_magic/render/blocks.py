"""An answer that grows, as a list of blocks of safe HTML: what is finished is neither made nor sent twice."""

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
"""Characters after which a paragraph or a code block goes on in a further block, so that a page stays quick."""

MAX_BLOCK_CHARS = 60_000
"""Characters of any other block, a list or a table; beyond these its text is shown as it stands."""

SPLIT_SEARCH_CHARS = 400
"""Characters beyond the limit among which a place to divide a text is looked for."""

_AMBIGUOUS_LINE = re.compile(r"[ ]{0,3}(\d{1,9}[.)]?|[-+*>#=|~`_$\\]+)?[ \t]*\Z")
"""A line of which it can't be told yet whether it begins a block or goes on with the one before."""

_FENCE = re.compile(r"[ ]{0,3}(`{3,}+|~{3,}+)[^\n]*+\n")
_LINE_END = re.compile("\n")
_NOT_PROSE = re.compile(r"\s*([-+*>|#]|\d+[.)]|\$\$|\\\[)")
_OTHER_LINE_ENDS = re.compile("\r\n|[\r\u2028\u2029]")
_SPLIT_POINT = re.compile(r"\n|\s|[。！？；，、]")


class BlockRenderer:
    """Makes the blocks of one answer, which may be updated with a longer text, or with another one."""

    def __init__(self) -> None:
        self._text = ""
        self._references: Mapping[str, Any] = {}
        self._reset()

    def _reset(self) -> None:
        self._done: list[str] = []
        self._start, self._fence = 0, ""
        self._highlighter = Highlighter()

    def update(self, text: str, *, ended: bool = True) -> list[str]:
        """Return the blocks of a text.

        :param text: Markdown of a model.
        :param ended: whether it is whole. If it isn't, the last block may still change with what follows.
        """
        if _OTHER_LINE_ENDS.search(text):
            text = _OTHER_LINE_ENDS.sub("\n", text)
        if not text.startswith(self._text[: self._start]):
            self._reset()
        if ended and (references := find_references(text)) != self._references:
            self._references = references  # a link's target may stand behind it
            self._reset()
        self._text = text
        while self._finish_blocks(text, ended=ended):
            pass
        tail = text[self._start :]
        last = self._render(self._fence + tail, Highlighter(), streaming=not ended) if tail.strip() else ""
        return [*self._done, last] if last else list(self._done)

    def _finish_blocks(self, text: str, *, ended: bool) -> bool:
        """Finish the blocks that nothing can change any more; return whether there may be more of them."""
        tail = text[self._start : self._start + MAX_BLOCK_CHARS]
        is_all = len(tail) == len(text) - self._start
        starts = [max(start - len(self._fence), 0) for start in block_starts(self._fence + tail)]
        if len(starts) > 1 and not (ended and is_all) and _AMBIGUOUS_LINE.match(tail[starts[-1] :]):
            starts.pop()
        if len(starts) == 1:
            return self._split(tail)
        for start, end in pairwise(starts):
            divided = self._start
            self._split(tail[start:end])
            self._finish_block(tail[start + self._start - divided : end])
            self._fence = ""
        return True

    def _split(self, block: str) -> bool:
        """Finish the first parts of a block that is too long; return whether there were any.

        A text is divided in the same places whether it comes at once or piece by piece.
        """
        fence = _FENCE.match(self._fence + block)
        if not fence and len(block) < MAX_BLOCK_CHARS and _NOT_PROSE.match(block):
            return False
        limit, breaks = (MAX_CODE_CHARS, _LINE_END) if fence else (MAX_PARAGRAPH_CHARS, _SPLIT_POINT)
        at = 0
        while len(block) - at >= limit + SPLIT_SEARCH_CHARS:
            found = breaks.search(block, at + limit, at + limit + SPLIT_SEARCH_CHARS)
            end = found.end() if found else at + limit
            self._finish_block(block[at:end], f"\n{fence[1]}" if fence else "")
            self._fence = fence[0] if fence else ""
            at = end
        return at > 0

    def _finish_block(self, source: str, end: str = "") -> None:
        """Make a block that will not change; ``end`` closes a code block that goes on in the next one."""
        self._start += len(source)
        if block := self._render(self._fence + source + end, self._highlighter):
            self._done.append(block)

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
    """Return a text as it stands, line for line, as blocks of safe HTML: a prompt is not Markdown."""
    return [f'<p class="chatglm-plain">{escape(escape_page_controls(text))}</p>'] if text else []
