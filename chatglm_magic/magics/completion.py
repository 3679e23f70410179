"""Tab completion of options and their values, parameter names, and ``{{variables}}`` in a prompt."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ..session import get_session
from ..session.settings import SETTING_NAMES
from .ask import ask_parser
from .history import history_parser
from .parser import Parser

MAGIC = re.compile(r"[ \t]*(?:[\w.][\w.\[\]'\", ]*=[ \t]*)?%%?(chatglm(?:_\w+)?)(?=\s|$)")
VARIABLE = re.compile(r"\{\{ ?(\w*)\Z")
FLAG = re.compile(r"(?:^|\s)(-{1,2}[\w-]*)\Z")
FLAG_WITH_VALUE = re.compile(r"(?:^|\s)(-{1,2}[\w-]+)[= ](\w*)\Z")
NAME = re.compile(r"(\w*)\Z")


def make_matcher(shell: Any) -> Any:
    """Return a matcher for IPython's completer that completes our magics."""
    parser = ask_parser("%chatglm")

    @context_matcher()  # type: ignore[untyped-decorator]
    def chatglm_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = context.line_with_cursor[: context.cursor_position]
        first_line = context.full_text.lstrip("\n").split("\n", 1)[0]
        magic = MAGIC.match(line)
        is_in_cell = first_line.lstrip().startswith("%%") and MAGIC.match(first_line)
        if (magic or is_in_cell) and (variable := VARIABLE.search(line)):
            names = [name for name in shell.user_ns if not name.startswith("_")]
            return _completions(variable[1], names, "variable", suffix="}}")
        if not magic:
            return _no_completions()
        text = line[magic.end() :]
        return _complete_options(parser, text) if magic[1] == "chatglm" else _complete_line(magic[1], text)

    return chatglm_matcher


def _complete_line(magic: str, text: str) -> SimpleMatcherResult:
    """Complete the line of any magic but ``%chatglm``; the parsers are imported when they are needed."""
    if magic == "chatglm_history":
        return _complete_options(history_parser(), text)
    if magic == "chatglm_lens":
        from .lens import lens_parser

        return _complete_options(lens_parser(), text)
    if magic == "chatglm_check":
        from .magics import check_parser

        return _complete_options(check_parser(), text)
    if magic == "chatglm_sweep" and FLAG.search(text):
        from .sweep import sweep_parser

        return _complete_options(sweep_parser(), text)
    return _complete_parameter(text) if magic in ("chatglm_config", "chatglm_sweep") else _no_completions()


def _complete_options(parser: Parser, text: str) -> SimpleMatcherResult:
    match = FLAG_WITH_VALUE.search(text)
    action = parser.find_action(match[1]) if match else None
    if match and action and action.dest == "thinking":
        return _completions(match[2], list(get_session().thinking_levels), "value")
    if match and action and action.choices:
        return _completions(match[2], list(action.choices), "value")
    flag = FLAG.search(text)
    return _completions(flag[1], parser.flags, "option") if flag else _no_completions()


def _complete_parameter(text: str) -> SimpleMatcherResult:
    match = NAME.search(text)
    if match is None or (match.start() and text[match.start() - 1] != " "):
        return _no_completions()
    return _completions(match[1], [*(f"{name}=" for name in SETTING_NAMES), "api_key"], "parameter")


def _completions(fragment: str, words: list[str], kind: str, suffix: str = "") -> SimpleMatcherResult:
    matches = sorted(word for word in words if word.startswith(fragment))
    return {
        "completions": [SimpleCompletion(text=word + suffix, type=kind) for word in matches],
        "matched_fragment": fragment,
        "suppress": True,
    }


def _no_completions() -> SimpleMatcherResult:
    return {"completions": [], "suppress": False}
