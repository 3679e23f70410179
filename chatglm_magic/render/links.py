"""Links that show their target, and images that are named instead of loaded."""

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
# A reference can be used many times: without a limit, 300 KB of text would become gigabytes of HTML.
_MAX_ADDED_CHARS = 100_000

# No user name, no backslash and no percent sign before the path: browsers and people read these differently.
# Internationalised names arrive here as `xn--`, and are displayed like that.
_WEB = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^\\\s]*)?\Z", re.IGNORECASE)
_MAIL = re.compile(r"mailto:[A-Za-z0-9.!#$&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+(\?[^\\\s]*)?\Z", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#\\]*)")
_READABLE = re.compile(r"[\w./~-]*\Z")


def add_links(md: "MarkdownIt") -> None:
    """Make ``md`` parse links and images with any target, and then keep only what is safe to click."""
    # Otherwise the parser shows the source of an image with a refused target, including megabytes of `data:`.
    md.validateLink = lambda url: True  # type: ignore[method-assign]
    md.core.ruler.push("links", _rewrite_links)


def is_clickable(href: str) -> bool:
    """Return whether ``href`` is a plain http, https or mailto address that leads where it seems to lead."""
    return len(href) <= _MAX_URL_CHARS and bool(_WEB.match(href) or _MAIL.match(href))


def _rewrite_links(state: "StateCore") -> None:
    """Rewrite the links and images of every paragraph, within one allowance (a core rule)."""
    allowance = _Allowance()
    for block in state.tokens:
        if any(child.type in ("link_open", "image") for child in block.children or ()):
            block.children = list(_rewrite_tokens(block.children or [], state.md, allowance))


class _Allowance:
    """The number of characters that may still be added to an answer: anchors, targets, image names."""

    def __init__(self) -> None:
        self._remaining = _MAX_ADDED_CHARS

    def spend(self, cost: int) -> bool:
        """Deduct ``cost``; return False, also from all later calls, if too little is left."""
        self._remaining -= cost
        return self._remaining >= 0


def _rewrite_tokens(children: "list[Token]", md: "MarkdownIt", allowance: _Allowance) -> "Iterator[Token]":
    """Yield the tokens of one paragraph, with targets after links and names instead of images."""
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
    """Return whether the text of a link already is its target, as in ``<https://example.org>``."""
    label = label.strip()
    host = re.split(r"[/?#]", label.partition("://")[2] or label, maxsplit=1)[0]
    # A host in non-ASCII letters may look like an ASCII one: then the `xn--` form is displayed too.
    if not label or len(label) > _MAX_URL_CHARS or not host.isascii():
        return False
    return href.rstrip("/") in {
        md.normalizeLink(prefix + label).rstrip("/") for prefix in ("", "https://", "mailto:")
    }


def _short_url(href: str) -> str:
    """Shorten ``href`` but never its host: ``numpy.org/doc/stable/refe…``; an unsafe one is only cut."""
    if not is_clickable(href):
        return href if len(href) <= _MAX_SHORT_URL_CHARS else href[:_MAX_SHORT_URL_CHARS] + "…"
    plain = re.sub(r"\A(https://|mailto:)", "", href, flags=re.IGNORECASE).rstrip("/")
    # Chinese addresses are legible only when decoded; the host is never encoded here.
    if _READABLE.match(decoded := unquote(plain)):
        plain = decoded
    longest = max(_MAX_SHORT_URL_CHARS, len(plain.removeprefix("http://").partition("/")[0]) + len("http://"))
    return plain if len(plain) <= longest else plain[:longest] + "…"


def _image_name(token: "Token") -> str:
    """Return the text that replaces an image: its host, and its description if it has one."""
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
