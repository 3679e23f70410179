"""Input transformers that pass the text after our magics on unchanged.

IPython treats a trailing ``?`` as a request for help, and removes ``>>>`` from the body of a cell. These two
transformers run first. Help on the magics themselves (``%chatglm?``) still works.
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections import Counter
from typing import Any

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

from ..parameters import suggest
from ..render.front_ends import current_shell
from ..render.text import write_escaped

PROMPT_MAGICS = ("chatglm", "chatglm_sweep", "chatglm_lens")
"""Magics whose argument is a prompt."""

OTHER_MAGICS = ("chatglm_config", "chatglm_history", "chatglm_panel", "chatglm_serve")
TIMER_MAGICS = ("time", "timeit", "prun", "memit", "mprun", "lprun")
"""Magics that run the rest of their line as code."""

WIDE_BLANK, WIDE_PERCENT = "\u3000", "\uff05"
BLANKS = (" ", "\t", WIDE_BLANK)
MAGIC_SIGNS = re.compile(rf"[%{WIDE_PERCENT}]{{1,2}}(?=(?:{'|'.join((*PROMPT_MAGICS, *OTHER_MAGICS))})(?![\w?]))")


def prompt_magics() -> tuple[str, ...]:
    """Return the magics whose argument is a prompt, including their aliases by ``%alias_magic``."""
    shell = current_shell()
    magics = shell.magics_manager.magics if shell is not None else {}
    return PROMPT_MAGICS + tuple(
        name
        for kind in ("line", "cell")
        for name, magic in magics.get(kind, {}).items()
        if getattr(magic, "magic_name", None) in PROMPT_MAGICS
    )


class PromptLineTransform(TokenTransformBase):
    """Turns ``%chatglm text`` into a call before IPython looks for a ``?`` at its end.

    It works on tokens, so that strings and comments stay unchanged.
    """

    priority = 4  # IPython's help transformer has 5
    magic_start: tuple[int, int]

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> PromptLineTransform | None:
        """Return the first prompt magic at the start of a line, after an assignment or after a timer."""
        for line in tokens_by_line:
            first = next((i for i, t in enumerate(line) if t.type not in INDENT_TOKENS), None)
            if first is None:
                continue
            for index in (first, _find_after_assignment(line), _find_after_timer(line, first)):
                if index is not None and _is_prompt_magic(line, index):
                    # IPython sorts by this position, and its help transformer uses the line's first token.
                    transform = cls(line[first].start)
                    transform.magic_start = (line[index].start[0] - 1, line[index].start[1])
                    return transform
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Replace the magic by the call."""
        row, column = self.magic_start
        end = find_end_of_continued_line(lines, row)
        text = assemble_continued_line(lines, (row, column), end)
        name = max((name for name in prompt_magics() if text[1:].startswith(name)), key=len)
        rest = text[1 + len(name) :]
        rest = rest[1:] if rest[:1] in BLANKS else rest
        before, call = lines[row][:column], f"get_ipython().run_line_magic({name!r}, {rest!r})"
        if timer := TIMER_LINE.match(before):
            code = f"{timer[3]}{call}"
            call = f"get_ipython().run_line_magic({timer[2]!r}, {code!r})"
            before = timer[1]
        return [*lines[:row], f"{before}{call}\n", *lines[end + 1 :]]


INDENT_TOKENS = {tokenize.INDENT, tokenize.DEDENT}
TIMER_LINE = re.compile(rf"(\s*)%({'|'.join(TIMER_MAGICS)})[ \t]+(.*)$", re.DOTALL)


def _find_after_timer(line: list[Any], first: int) -> int | None:
    """Return the index of a prompt magic that a timer runs, after the timer's options."""
    if line[first].string != "%" or first + 1 >= len(line) or line[first + 1].string not in TIMER_MAGICS:
        return None
    return next((index for index in range(first + 2, len(line)) if _is_prompt_magic(line, index)), None)


def _find_after_assignment(line: list[Any]) -> int | None:
    """Return the index after the line's first ``=`` outside brackets."""
    depth = 0
    for index, token in enumerate(line):
        if token.string in "([{" and token.string:
            depth += 1
        elif token.string in ")]}" and token.string:
            depth -= 1
        elif token.string == "=" and depth == 0:
            return index + 1
    return None


def _is_prompt_magic(line: list[Any], index: int) -> bool:
    if index + 1 >= len(line) or line[index].string != "%" or line[index + 1].string not in prompt_magics():
        return False
    sign, name = line[index], line[index + 1]
    if name.start != sign.end:
        return False
    rest = name.line[name.end[1] :].strip() if name.start[0] == name.end[0] else ""
    return rest not in ("?", "??")


def transform_cell(lines: list[str]) -> list[str]:
    """Turn a cell with a prompt magic into a call, so that no other transformer changes its body."""
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        typed = MAGIC_SIGNS.sub(lambda match: "%" * len(match[0]), line.strip(), count=1)
        names = "|".join(map(re.escape, prompt_magics()))
        match = re.match(rf"%%({names})(?![\w?])[ \t\u3000]*(.*)", typed)
        if not match:
            return _transform_wide_line(line.strip(), typed, lines[number + 1 :]) or lines
        body = "".join(lines[number + 1 :])
        return [f"get_ipython().run_cell_magic({match[1]!r}, {match[2]!r}, {body!r})\n"]
    return lines


def _transform_wide_line(line: str, typed: str, rest: list[str]) -> list[str] | None:
    """Turn a one-line cell with a full-width sign or blank into a call: Python can't tokenize these."""
    if not (WIDE_BLANK in line or line[:1] == WIDE_PERCENT) or any(other.strip() for other in rest):
        return None
    names = "|".join(map(re.escape, (*prompt_magics(), *OTHER_MAGICS)))
    match = re.match(rf"%({names})(?![\w?])[ \t\u3000]?(.*)", typed)
    return [f"get_ipython().run_line_magic({match[1]!r}, {match[2]!r})\n"] if match else None


# Without this, a terminal considers the cell complete after its first line.
transform_cell.has_side_effects = True  # type: ignore[attr-defined]


PROMPT_LINE = re.compile(r"\s*(?:([^\W\d]\w*)\s*=\s*)?(%{1,2})(\w{1,40})[ \t\u3000]+(\S.*)")


class PinfoOverride:
    """Replaces IPython's ``pinfo`` for prompts that end in ``?`` and that the transformers didn't see.

    In the cell that loads the extension, the prompt is sent after all; for a misspelled magic, a message explains
    what is wrong.
    """

    def __init__(self, shell: Any, name: str) -> None:
        self._shell, self._name = shell, name
        self._original = shell.find_line_magic(name)  # IPython may load it only now
        self._call_counts: Counter[str] = Counter()
        self.loading = True
        """Whether the cell that loads the extension is still running."""

    def __call__(self, line: str = "", namespaces: Any = None) -> Any:
        """Send the prompt in a line of the cell, or explain why not; pass anything else on to IPython."""
        match = self._find_prompt_line(line)
        known = self._shell.magics_manager.magics["line"]
        if match is not None and self.loading and match[3] in prompt_magics():
            variable, signs, name, prompt = match.groups()
            if signs == "%" and not (variable and match.string[:1].isspace()):
                answer = self._shell.run_line_magic(name, prompt, _stack_depth=3)  # with the cell's variables
                if variable:
                    self._shell.user_ns[variable] = answer
                return None if variable else answer
            self._explain(
                f"{signs}{name} was not loaded when this cell was read, so the ? at its end asked for help, and "
                "nothing was sent. Run the cell again, or load chatglm_magic in a cell of its own."
            )
        elif match is not None and match[3] not in known and (close := suggest(match[3], prompt_magics())):
            hint = close.replace("mean ", f"mean {match[2]}")
            self._explain(
                f"No magic {match[2]}{match[3]}. {hint} (The ? at the line's end asked for help, and nothing was "
                "sent.)"
            )
        elif self._original is not None:
            return self._original(line)
        return None

    def _find_prompt_line(self, word: str) -> re.Match[str] | None:
        """Return the line of the cell with a magic and a prompt that ends in a word and ``?``.

        If there are several, each call returns the next one, in the order in which the cell requests help.
        """
        typed = self._shell.history_manager.input_hist_raw[-1:] or [""]
        lines = [line.rstrip() for line in typed[0].splitlines()]
        lines = [line for line in lines if line.endswith("?") and line.rstrip("?").endswith(word)]
        matches = [match for match in map(PROMPT_LINE.match, lines) if match]
        if not matches:
            return None
        self._call_counts[word] += 1
        return matches[(self._call_counts[word] - 1) % len(matches)]

    def _explain(self, text: str) -> None:
        write_escaped(sys.stderr, text + "\n")

    def install(self) -> None:
        """Replace IPython's magic."""
        if self._original is not None:
            self._shell.magics_manager.magics["line"][self._name] = self

    def remove(self) -> None:
        """Restore IPython's magic."""
        if self._original is not None:
            self._shell.magics_manager.magics["line"][self._name] = self._original


def install_transforms(shell: Any) -> None:
    """Put both transformers first, and replace IPython's help magics."""
    manager = shell.input_transformer_manager
    manager.token_transformers.insert(0, PromptLineTransform)
    shell.input_transformers_cleanup.insert(0, transform_cell)
    for name in ("pinfo", "pinfo2"):
        PinfoOverride(shell, name).install()


def mark_loaded(shell: Any) -> None:
    """Record that the cell that loaded the extension has ended."""
    for name in ("pinfo", "pinfo2"):
        if isinstance(override := shell.magics_manager.magics["line"].get(name), PinfoOverride):
            override.loading = False


def remove_transforms(shell: Any) -> None:
    """Undo :func:`install_transforms`."""
    for name in ("pinfo", "pinfo2"):
        if isinstance(override := shell.magics_manager.magics["line"].get(name), PinfoOverride):
            override.remove()
    manager = shell.input_transformer_manager
    for transformers, ours in (
        (manager.token_transformers, PromptLineTransform),
        (shell.input_transformers_cleanup, transform_cell),
    ):
        if ours in transformers:
            transformers.remove(ours)
