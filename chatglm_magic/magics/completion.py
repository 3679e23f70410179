"""Tab completion: options and their values, parameter names, and ``{{variables}}`` in a prompt."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from ..session import get_session
from ..session.settings import SETTING_NAMES
from .ask import ask_parser
from .history import history_parser
from .parser import Parser

HEAD = re.compile(r"[ \t]*(?:[\w.][\w.\[\]'\", ]*=[ \t]*)?%%?(chatglm(?:_\w+)?)(?=\s|$)")
VARIABLE = re.compile(r"\{\{ ?(\w*)\Z")
FLAG = re.compile(r"(?:^|\s)(-{1,2}[\w-]*)\Z")
CHOICE = re.compile(r"(?:^|\s)(-{1,2}[\w-]+)[= ](\w*)\Z")
WORD = re.compile(r"(\w*)\Z")


def matcher_for(shell: Any) -> Any:
    """Return a matcher for IPython's completer that knows our magics."""
    parser = ask_parser("%chatglm")

    @context_matcher()  # type: ignore[untyped-decorator]
    def chatglm_matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = context.line_with_cursor[: context.cursor_position]
        first = context.full_text.lstrip("\n").split("\n", 1)[0]
        here, cell = HEAD.match(line), HEAD.match(first)
        in_cell = bool(cell and first.lstrip().startswith("%%"))
        if (here or in_cell) and (found := VARIABLE.search(line)):
            names = [name for name in shell.user_ns if not name.startswith("_")]
            return _result(found[1], names, "variable", behind="}}")
        if not here:
            return _nothing()
        rest = line[here.end() :]
        if here[1] == "chatglm":
            return _options(parser, rest)
        if here[1] == "chatglm_history":
            return _options(history_parser(), rest)
        return _explored(here[1], rest)

    return chatglm_matcher


def _explored(name: str, rest: str) -> SimpleMatcherResult:
    if name == "chatglm_lens":
        from .lens import lens_parser

        return _options(lens_parser(), rest)
    if name == "chatglm_check":
        from .magics import check_parser

        return _options(check_parser(), rest)
    if name == "chatglm_sweep" and FLAG.search(rest):
        from .sweep import sweep_parser

        return _options(sweep_parser(), rest)
    return _parameters(rest) if name in ("chatglm_config", "chatglm_sweep") else _nothing()


def _options(parser: Parser, rest: str) -> SimpleMatcherResult:
    choice = CHOICE.search(rest)
    action = parser.find_action(choice[1]) if choice else None
    if choice and action and action.dest == "thinking":
        return _result(choice[2], list(get_session().thinking_levels), "value")
    if choice and action and action.choices:
        return _result(choice[2], list(action.choices), "value")
    return _flags(rest, parser.flags)


def _flags(rest: str, flags: list[str]) -> SimpleMatcherResult:
    flag = FLAG.search(rest)
    return _result(flag[1], flags, "option") if flag else _nothing()


def _parameters(rest: str) -> SimpleMatcherResult:
    found = WORD.search(rest)
    if found is None or (found.start() and rest[found.start() - 1] != " "):
        return _nothing()
    return _result(found[1], [*(f"{name}=" for name in SETTING_NAMES), "api_key"], "parameter")


def _result(fragment: str, words: list[str], kind: str, behind: str = "") -> SimpleMatcherResult:
    found = sorted(word for word in words if word.startswith(fragment))
    return {
        "completions": [SimpleCompletion(text=word + behind, type=kind) for word in found],
        "matched_fragment": fragment,
        "suppress": True,
    }


def _nothing() -> SimpleMatcherResult:
    return {"completions": [], "suppress": False}
