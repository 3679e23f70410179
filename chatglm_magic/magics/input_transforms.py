"""Input transformers: what is typed after our magics reaches them as typed.

IPython reads a trailing ``?`` as a call for help and takes ``>>>`` prompts out of a cell's body; these two
come before it. Help on the magics themselves (``%chatglm?``) stays.
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
"""Magics whose text is a prompt."""

OTHERS = ("chatglm_config", "chatglm_history", "chatglm_panel", "chatglm_serve")
TIMERS = ("time", "timeit", "prun", "memit", "mprun", "lprun")
"""Magics that run the rest of their line as code."""

WIDE, WIDE_PERCENT = "\u3000", "\uff05"
BLANKS = (" ", "\t", WIDE)
SIGNS = re.compile(rf"[%{WIDE_PERCENT}]{{1,2}}(?=(?:{'|'.join((*PROMPT_MAGICS, *OTHERS))})(?![\w?]))")


def prompt_magics() -> tuple[str, ...]:
    """Return the magics whose text is a prompt, with their names by ``%alias_magic``."""
    running = current_shell()
    found = running.magics_manager.magics if running is not None else {}
    return PROMPT_MAGICS + tuple(
        name
        for kind in ("line", "cell")
        for name, magic in found.get(kind, {}).items()
        if getattr(magic, "magic_name", None) in PROMPT_MAGICS
    )


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
            for at in (first, _after_assignment(line), _after_timer(line, first)):
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
        name = max((name for name in prompt_magics() if text[1:].startswith(name)), key=len)
        rest = text[1 + len(name) :]
        rest = rest[1:] if rest[:1] in BLANKS else rest
        before, call = lines[row][:column], f"get_ipython().run_line_magic({name!r}, {rest!r})"
        if timer := TIMER.match(before):  # it runs the rest of its line as code
            code = f"{timer[3]}{call}"
            call = f"get_ipython().run_line_magic({timer[2]!r}, {code!r})"
            before = timer[1]
        return [*lines[:row], f"{before}{call}\n", *lines[end + 1 :]]


_INDENTS = {tokenize.INDENT, tokenize.DEDENT}
TIMER = re.compile(rf"(\s*)%({'|'.join(TIMERS)})[ \t]+(.*)$", re.DOTALL)


def _after_timer(line: list[Any], first: int) -> int | None:
    """Return the index of a magic of ours that a timer runs, behind its options."""
    if line[first].string != "%" or first + 1 >= len(line) or line[first + 1].string not in TIMERS:
        return None
    return next((at for at in range(first + 2, len(line)) if _asks(line, at)), None)


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
    if at + 1 >= len(line) or line[at].string != "%" or line[at + 1].string not in prompt_magics():
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
        typed = SIGNS.sub(lambda found: "%" * len(found[0]), line.strip(), count=1)
        names = "|".join(map(re.escape, prompt_magics()))
        found = re.match(rf"%%({names})(?![\w?])[ \t\u3000]*(.*)", typed)
        if not found:
            return _wide(line.strip(), typed, lines[number + 1 :]) or lines
        body = "".join(lines[number + 1 :])
        return [f"get_ipython().run_cell_magic({found[1]!r}, {found[2]!r}, {body!r})\n"]
    return lines


def _wide(line: str, typed: str, rest: list[str]) -> list[str] | None:
    """Turn a single line of ours with a full-width sign or blank into the call: Python's tokens end there."""
    if not (WIDE in line or line[:1] == WIDE_PERCENT) or any(other.strip() for other in rest):
        return None
    names = "|".join(map(re.escape, (*prompt_magics(), *OTHERS)))
    asked = re.match(rf"%({names})(?![\w?])[ \t\u3000]?(.*)", typed)
    return [f"get_ipython().run_line_magic({asked[1]!r}, {asked[2]!r})\n"] if asked else None


# Without this a terminal takes the cell to be complete after its first line.
raw_cell.has_side_effects = True  # type: ignore[attr-defined]


PROMPT_LINE = re.compile(r"\s*(?:([^\W\d]\w*)\s*=\s*)?(%{1,2})(\w{1,40})[ \t\u3000]+(\S.*)")


class Help:
    """IPython's ``pinfo`` where a prompt was meant: it ends in ``?``, and was read before we could see it.

    That happens in the cell that loads the extension, where the prompt is sent all the same, and to a misspelled
    magic, where a line says what is wrong.
    """

    def __init__(self, shell: Any, name: str) -> None:
        self._shell, self._name = shell, name
        self._before = shell.find_line_magic(name)  # not the table's: IPython may load it only now
        self._calls: Counter[str] = Counter()
        self.loading = True
        """Whether the cell that loads the extension is still running."""

    def __call__(self, line: str = "", namespaces: Any = None) -> Any:
        """Send the prompt that a line of the cell holds, or say why not; anything else is IPython's to explain."""
        found = self._prompt_line(line)
        known = self._shell.magics_manager.magics["line"]
        if found is not None and self.loading and found[3] in prompt_magics():
            variable, signs, name, prompt = found.groups()
            if signs == "%" and not (variable and found.string[:1].isspace()):
                answer = self._shell.run_line_magic(name, prompt, _stack_depth=3)  # with the cell's variables
                if variable:
                    self._shell.user_ns[variable] = answer
                return None if variable else answer
            self._explain(
                f"{signs}{name} was not loaded when this cell was read, so the ? at its end asked for help, and "
                "nothing was sent. Run the cell again, or load chatglm_magic in a cell of its own."
            )
        elif found is not None and found[3] not in known and (close := suggest(found[3], prompt_magics())):
            hint = close.replace("mean ", f"mean {found[2]}")
            self._explain(
                f"No magic {found[2]}{found[3]}. {hint} (The ? at the line's end asked for help, and nothing was "
                "sent.)"
            )
        elif self._before is not None:
            return self._before(line)
        return None

    def _prompt_line(self, word: str) -> re.Match[str] | None:
        """Return the line of the cell that has a magic with a prompt and ends in a word and ``?``.

        Where several do, they come in turn, as the cell calls for help.
        """
        typed = self._shell.history_manager.input_hist_raw[-1:] or [""]
        asked = [line.rstrip() for line in typed[0].splitlines()]
        lines = [line for line in asked if line.endswith("?") and line.rstrip("?").endswith(word)]
        found = [match for match in map(PROMPT_LINE.match, lines) if match]
        if not found:
            return None
        self._calls[word] += 1
        return found[(self._calls[word] - 1) % len(found)]

    def _explain(self, text: str) -> None:
        write_escaped(sys.stderr, text + "\n")

    def install(self) -> None:
        """Stand in for IPython's own."""
        if self._before is not None:
            self._shell.magics_manager.magics["line"][self._name] = self

    def remove(self) -> None:
        """Put IPython's own back."""
        if self._before is not None:
            self._shell.magics_manager.magics["line"][self._name] = self._before


def install(shell: Any) -> None:
    """Put both transformers first, and have help explain what they came too late for."""
    manager = shell.input_transformer_manager
    manager.token_transformers.insert(0, AskLine)
    shell.input_transformers_cleanup.insert(0, raw_cell)
    for name in ("pinfo", "pinfo2"):
        Help(shell, name).install()


def end_loading(shell: Any) -> None:
    """Note that the cell that loaded the extension has ended."""
    for name in ("pinfo", "pinfo2"):
        if isinstance(help_ := shell.magics_manager.magics["line"].get(name), Help):
            help_.loading = False


def remove(shell: Any) -> None:
    """Take all of it out again."""
    for name in ("pinfo", "pinfo2"):
        if isinstance(help_ := shell.magics_manager.magics["line"].get(name), Help):
            help_.remove()
    manager = shell.input_transformer_manager
    for transformers, ours in (
        (manager.token_transformers, AskLine),
        (shell.input_transformers_cleanup, raw_cell),
    ):
        if ours in transformers:
            transformers.remove(ours)
