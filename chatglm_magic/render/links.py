"""Links that show where they lead, and images that are named instead of fetched."""

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

__all__ = ["add_links", "is_clickable"]

_MAX_URL_CHARS = 2_000
_MAX_SHORT_URL_CHARS = 48
_MAX_ALT_CHARS = 200
# A reference can be used many times: with no allowance, 300 KB of text would make gigabytes of HTML.
_MAX_ADDED_CHARS = 100_000

# No user name, no backslash and no percent sign before the path: browsers read these otherwise than people.
# Internationalised names arrive here as `xn--`, and are shown so.
_WEB = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^\\\s]*)?\Z", re.IGNORECASE)
_MAIL = re.compile(r"mailto:[A-Za-z0-9.!#$&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+(\?[^\\\s]*)?\Z", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#\\]*)")
_READABLE = re.compile(r"[\w./~-]*\Z")


def add_links(md: "MarkdownIt") -> None:
    """Makes `md` parse links and images with any target, and then keep only what is safe to click."""
    # Else the parser leaves an image with a target it dislikes standing as source, `data:` megabytes included.
    md.validateLink = lambda url: True  # type: ignore[method-assign]
    md.core.ruler.push("links", _rewrite_links)


def is_clickable(href: str) -> bool:
    """Whether `href` is a plain http, https or mailto address that leads where it seems to lead."""
    return len(href) <= _MAX_URL_CHARS and bool(_WEB.match(href) or _MAIL.match(href))


def _rewrite_links(state: "StateCore") -> None:
    """Core rule: rewrites the links and images of every paragraph, within one allowance."""
    allowance = _Allowance()
    for block in state.tokens:
        if any(child.type in ("link_open", "image") for child in block.children or ()):
            block.children = list(_rewrite_tokens(block.children or [], state.md, allowance))


class _Allowance:
    """What one answer may still have added to its own words: anchors, targets, names of images."""

    def __init__(self) -> None:
        self._left = _MAX_ADDED_CHARS

    def spend(self, cost: int) -> bool:
        """Takes `cost`; False, for good, once there is not enough."""
        self._left -= cost
        return self._left >= 0


def _rewrite_tokens(children: "list[Token]", md: "MarkdownIt", allowance: _Allowance) -> "Iterator[Token]":
    """The tokens of one paragraph: links followed by their target, images by name."""
    href, label, clickable, granted = "", "", False, False
    for token in children:
        if token.type == "link_open":
            href, label = str(token.attrs.get("href", "")), ""
            granted = allowance.spend(2 * min(len(href), _MAX_URL_CHARS) + _MAX_SHORT_URL_CHARS)
            clickable = granted and is_clickable(href)
            if clickable:
                token.attrs = {"href": href, "title": href} if _short_url(href).endswith("…") else {"href": href}
                yield token
        elif token.type == "link_close":
            if clickable:
                yield token
            if granted and not _is_target(label, href, md):
                yield _note_token(_short_url(href))
        else:
            if token.type == "image":
                token = _text_token(_image_name(token) if allowance.spend(_MAX_ALT_CHARS) else token.content)
            label += token.content
            yield token


def _is_target(label: str, href: str, md: "MarkdownIt") -> bool:
    """Whether `label`, the text of a link, is its target already, as in ``<https://example.org>``."""
    label = label.strip()
    host = re.split(r"[/?#]", label.partition("://")[2] or label, maxsplit=1)[0]
    # A host in other letters may look like one in these: then the `xn--` form is worth showing.
    if not label or len(label) > _MAX_URL_CHARS or not host.isascii():
        return False
    return href.rstrip("/") in {
        md.normalizeLink(prefix + label).rstrip("/") for prefix in ("", "https://", "mailto:")
    }


def _short_url(href: str) -> str:
    """`href` in its short form, the host always whole: ``numpy.org/doc/stable/refe…``; as it is if not safe."""
    if not is_clickable(href):
        return href if len(href) <= _MAX_SHORT_URL_CHARS else href[:_MAX_SHORT_URL_CHARS] + "…"
    plain = re.sub(r"\A(https://|mailto:)", "", href, flags=re.IGNORECASE).rstrip("/")
    # Chinese addresses are legible only when decoded; the host is never encoded here.
    if _READABLE.match(decoded := unquote(plain)):
        plain = decoded
    longest = max(_MAX_SHORT_URL_CHARS, len(plain.removeprefix("http://").partition("/")[0]) + len("http://"))
    return plain if len(plain) <= longest else plain[:longest] + "…"


def _image_name(token: "Token") -> str:
    """The words that stand for an image: its host, and its description if it has one."""
    host = _HOST.match(str(token.attrs.get("src", "")))
    alt = "".join(child.content for child in token.children or ())
    alt = alt if len(alt) <= _MAX_ALT_CHARS else alt[:_MAX_ALT_CHARS] + "…"
    return "[image: " + " — ".join(filter(None, (host[1][:100] if host else "", alt.strip()))) + "]"


def _note_token(target: str) -> "Token":
    from markdown_it.token import Token

    return Token("html_inline", "", 0, content=f" <small>({escape(target)})</small>")


def _text_token(content: str) -> "Token":
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)
