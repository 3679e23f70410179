"""Changes to the parsed document before it becomes HTML: task lists, table cells, endless paragraphs."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token

__all__ = ["add_shape"]

# Beyond these a paragraph's inline marks stay as typed, because some of the parser's rules are quadratic.
_LONGEST_PARAGRAPH = 10_000
_MOST_BRACKETS = 300
_TASK = re.compile(r"\[([ xX])\][ \t]+")


def add_shape(md: "MarkdownIt") -> None:
    """Adds the changes to `md`; the limit takes the place of its own inline step."""
    md.core.ruler.at("inline", _inline)
    md.core.ruler.after("inline", "cells", _cells)
    md.core.ruler.after("inline", "task_lists", _task_lists)


def _inline(state: "StateCore") -> None:
    """Core rule: parses the inline marks of every paragraph of a sane length."""
    from markdown_it.token import Token

    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) > _LONGEST_PARAGRAPH or token.content.count("[") > _MOST_BRACKETS:
            token.children.append(Token("text", "", 0, content=token.content))
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def _cells(state: "StateCore") -> None:
    """Core rule: a column with no alignment of its own is left-aligned; Jupyter sets output tables right."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open"):
            token.attrs.setdefault("style", "text-align:left")


def _task_lists(state: "StateCore") -> None:
    """Core rule: ``- [x] done`` gets a box that is a character; a real check box would be a form."""
    for item, _, text in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type == "list_item_open" and text.type == "inline" and text.children:
            _box(item, text.children[0])


def _box(item: "Token", first: "Token") -> None:
    match = _TASK.match(first.content) if first.type == "text" else None
    if match:
        first.content = ("☐ " if match[1] == " " else "☑ ") + first.content[match.end() :]
        item.attrs["style"] = "list-style-type:none"
