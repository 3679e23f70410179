"""What a reader sees of HTML: its text alone."""

from __future__ import annotations

from functools import lru_cache
from html.parser import HTMLParser

UNSEEN = ("style", "script", "title")
BLOCKS = ("p", "div", "br", "li", "tr", "pre", "summary", "details", "h1", "h2", "h3", "h4", "table", "ol", "ul")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in UNSEEN
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in UNSEEN
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


@lru_cache(maxsize=512)
def strip_markup(html: str) -> str:
    """Return the text of a piece of HTML, its blocks on lines of their own."""
    text = _Text()
    text.feed(html)
    text.close()
    return "\n".join(line for line in "".join(text.parts).splitlines() if line.strip())
