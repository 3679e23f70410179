"""Input transformers: what is typed after our magics reaches them as typed.

IPython reads a trailing ``?`` as a call for help and takes ``>>>`` prompts out of a cell's body; these two
come before it. Help on the magics themselves (``%chatglm?``) stays.
"""

from __future__ import annotations

import re
import tokenize
from typing import Any

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

PROMPT_MAGICS = ("chatglm", "chatglm_sweep", "chatglm_lens")
"""Magics whose text is a prompt."""

WIDE = "\u3000"
BLANKS = (" ", "\t", WIDE)
CELL = re.compile(rf"%%({'|'.join(PROMPT_MAGICS)})(?![\w?])[ \t\u3000]*(.*)")
LINE = re.compile(rf"%({'|'.join(PROMPT_MAGICS)})(?![\w?])[ \t\u3000]?(.*)")


class AskLine(TokenTransformBase):
    """Turns ``%chatglm text`` into the call itself before IPython looks for a ``?`` at its end.

    Works on tokens, so that strings, docstrings and comments are left alone.
    """

    priority = 4  # IPython's help transformer has 5
    at: tuple[int, int]

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> AskLine | None:
        """Return the first of our magics, at the start of a line or right of an assignment."""
        for line in tokens_by_line:
            first = next((i for i, t in enumerate(line) if t.type not in _INDENTS), None)
            if first is None:
                continue
            for at in (first, _after_assignment(line)):
                if at is not None and _asks(line, at):
                    # IPython sorts by this start; help begins at the line's first token, so must we.
                    found = cls(line[first].start)
                    found.at = (line[at].start[0] - 1, line[at].start[1])
                    return found
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Put the call in the place of the magic."""
        row, column = self.at
        end = find_end_of_continued_line(lines, row)
        text = assemble_continued_line(lines, (row, column), end)
        name = max((name for name in PROMPT_MAGICS if text[1:].startswith(name)), key=len)
        rest = text[1 + len(name) :]
        rest = rest[1:] if rest[:1] in BLANKS else rest
        call = f"{lines[row][:column]}get_ipython().run_line_magic({name!r}, {rest!r})\n"
        return [*lines[:row], call, *lines[end + 1 :]]


_INDENTS = {tokenize.INDENT, tokenize.DEDENT}


def _after_assignment(line: list[Any]) -> int | None:
    """Return the index behind the line's first ``=`` outside brackets."""
    depth = 0
    for index, token in enumerate(line):
        if token.string in "([{" and token.string:
            depth += 1
        elif token.string in ")]}" and token.string:
            depth -= 1
        elif token.string == "=" and depth == 0:
            return index + 1
    return None


def _asks(line: list[Any], at: int) -> bool:
    if at + 1 >= len(line) or line[at].string != "%" or line[at + 1].string not in PROMPT_MAGICS:
        return False
    sign, name = line[at], line[at + 1]
    if name.start != sign.end:
        return False
    rest = name.line[name.end[1] :].strip() if name.start[0] == name.end[0] else ""
    return rest not in ("?", "??")


def raw_cell(lines: list[str]) -> list[str]:
    """Turn a cell of ours into the call itself, so that nothing else changes its body."""
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        found = CELL.match(line.strip())
        if not found:
            return _wide(line.strip(), lines[number + 1 :]) or lines
        body = "".join(lines[number + 1 :])
        return [f"get_ipython().run_cell_magic({found[1]!r}, {found[2]!r}, {body!r})\n"]
    return lines


def _wide(line: str, rest: list[str]) -> list[str] | None:
    """Turn a single line of ours with a full-width blank into the call: Python 3.12's tokens end at that blank."""
    asked = LINE.match(line) if WIDE in line and not any(other.strip() for other in rest) else None
    return [f"get_ipython().run_line_magic({asked[1]!r}, {asked[2]!r})\n"] if asked else None


# Without this a terminal takes the cell to be complete after its first line.
raw_cell.has_side_effects = True  # type: ignore[attr-defined]


def install(shell: Any) -> None:
    """Put both transformers first."""
    manager = shell.input_transformer_manager
    manager.token_transformers.insert(0, AskLine)
    shell.input_transformers_cleanup.insert(0, raw_cell)


def remove(shell: Any) -> None:
    """Take both out again."""
    manager = shell.input_transformer_manager
    for transformers, ours in (
        (manager.token_transformers, AskLine),
        (shell.input_transformers_cleanup, raw_cell),
    ):
        if ours in transformers:
            transformers.remove(ours)
