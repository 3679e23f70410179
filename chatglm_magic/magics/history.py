"""``%chatglm_history``: lists, searches, shows, takes back, resumes, forks, exports, imports and forgets turns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ChatGLMError, CommandError
from ..render.answers import (
    answer_html,
    answer_text,
    describe_speed,
    escape_html,
    escape_json_surrogates,
    footer,
    provenance,
)
from ..render.outer import html_output
from ..render.text import plural
from ..session import Session
from ..values import Turn
from .parser import Parser, expect_no_operands, parse_options, positive_int

if TYPE_CHECKING:
    from ..store import History, Row

PAGE = 20
LIST = "--list"


def history_parser() -> Parser:
    """Return the parser of ``%chatglm_history``."""
    parser = Parser("%chatglm_history", description="List, search and keep conversations; lists 20 turns a page.")
    actions = parser.add_argument_group("what to do, one at a time")
    parser.set_defaults(action=LIST, value=None)

    def add(flag: str, help: str, **options: Any) -> None:
        actions.add_argument(flag, action=_Choose, help=help, **({"nargs": 0} | options))

    add(LIST, "list the turns, newest first (the default)")
    add("--search", "turns that contain these words, in any language", nargs=None, metavar="TEXT")
    add("--show", "one turn, whole", nargs=None, type=_number, metavar="N")
    add("--undo", "take the last turn back")
    add("--reset", "start a new conversation")
    add("--resume", "continue an earlier conversation, by default the newest", nargs="?", metavar="ID")
    add("--fork", "start a conversation with a copy of the turns up to N", nargs=None, type=_number, metavar="N")
    add(
        "--export",
        "write a .jsonl, .md, .html or .csv file (in .md images and HTML stay live)",
        nargs=None,
        metavar="FILE",
    )
    add(
        "--import",
        "read a .jsonl of turns, or a list of OpenAI-style messages (.json, .jsonl)",
        nargs=None,
        metavar="FILE",
    )
    parser.takes_words |= {"--search", "--export", "--import"}
    add("--forget", "permanently delete the conversation's turns")
    add("--view", "show the history viewer")
    how = parser.add_argument_group("and how")
    how.add_argument("--all", action="store_true", help="every conversation, not the current one alone")
    how.add_argument("--page", type=positive_int, default=1, metavar="N", help="another page of the list")
    how.add_argument("--force", action="store_true", help="let --export overwrite a file")
    parser.add_help_option()
    return parser


class _Choose(argparse.Action):
    """Takes an action with its value; there can be one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, flag: str | None = None) -> None:
        if namespace.action != LIST:
            raise CommandError(f"use either {namespace.action} or {flag}, not both (see {parser.prog} --help)")
        namespace.action = flag
        namespace.value = None if isinstance(values, list) else values


def _number(text: str) -> int:
    return positive_int(text.removeprefix("#"))


def read(line: str) -> argparse.Namespace:
    """Return what a line says: ``action`` with its ``value``, ``all``, ``page`` and ``force``.

    :raises CommandError: for an unknown option, two actions, and a missing or needless value.
    """
    parser = history_parser()
    options, rest = parse_options(parser, line)
    expect_no_operands(parser, rest)
    return options


def run(session: Session, options: argparse.Namespace) -> str:
    """Do what a line says; return what to print."""
    return ACTIONS[options.action](session, options)


def chosen(session: Session, options: argparse.Namespace) -> Turn:
    """Return the turn that ``--show`` or ``--fork`` names.

    :raises ChatGLMError: if there is none of that number.
    """
    wanted = options.value
    for shown, row in _numbered(_history(session, options)):
        if shown == wanted:
            return row.turn
    raise ChatGLMError(f"There is no turn {wanted}: %chatglm_history lists them.", kind="not_found")


def whole(turn: Turn) -> str:
    """Return one turn as text, with all that is known of it."""
    lines = [f"Prompt:   {turn.prompt}", f"Status:   {turn.status}"]
    lines += [
        f"Model:    {part}" for part in (" · ".join(filter(None, (footer(turn), describe_speed(turn)))),) if part
    ]
    lines += [f"Asked at: {turn.endpoint}, {turn.created}"] if turn.endpoint else []
    lines += [f"System:   {turn.system}"] if turn.system else []
    lines += ["", "Thinking:", turn.reasoning] if turn.reasoning else []
    return "\n".join([*lines, "", answer_text(turn)])


def bundle_of(turn: Turn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one turn with its prompt for a notebook; what varies from run to run stands in the metadata."""
    prompt = (
        f'<div style="white-space:pre-wrap;font-weight:600;margin-bottom:.5em">{escape_html(turn.prompt)}</div>'
    )
    data = escape_json_surrogates(html_output(f"{turn.prompt}\n\n{answer_text(turn)}", prompt + answer_html(turn)))
    return data, {"chatglm": escape_json_surrogates(provenance(turn))}


def _history(session: Session, options: argparse.Namespace) -> History:
    history = session.history
    return history.all if options.all else history


def _numbered(history: History) -> list[tuple[int, Row]]:
    """Number turns: within a conversation by their place in it, over all of them as the store does."""
    rows = history.rows()
    return [(row.number if history.query.conversation is None else at, row) for at, row in enumerate(rows, 1)]


def _list(session: Session, options: argparse.Namespace) -> str:
    history = _history(session, options)
    found = history.search(options.value) if options.value else history
    total, skip = len(found), (options.page - 1) * PAGE
    rows = found.sort("newest" if options.all else "position", reverse=not options.all)
    page = rows.rows(skip, PAGE)
    if not page:
        return _nothing(options, total)
    numbers = {row.number: at for at, row in _numbered(history)} if options.value and not options.all else {}
    lines = []
    for at, row in enumerate(page):
        turn, here = row.turn, numbers.get(row.number, total - skip - at)
        mark = "" if turn.status == "complete" else f" ({turn.status})"
        kind = "" if turn.kind == "chat" else f" [{turn.kind}]"
        shown = f"#{row.number}" if options.all else str(here)
        lines += [f"{shown:>4}  {line(turn.prompt)}{mark}{kind}", f"      → {line(turn.answer)}"]
    if total > PAGE:
        pages = -(-total // PAGE)
        more = f"; --page {options.page + 1} has older ones" if options.page < pages else ""
        lines.append(f"Page {options.page} of {pages}, {total} turns{more}.")
    return "\n".join(lines)


def _nothing(options: argparse.Namespace, total: int) -> str:
    if total:
        return f"There is no page {options.page}: {total} turns are {-(-total // PAGE)} pages."
    if options.value:
        return f"No turns match {options.value!r}." + (
            "" if options.all else " (--all searches every conversation.)"
        )
    return "There are no turns yet. Ask: %chatglm PROMPT"


def _undo(session: Session, options: argparse.Namespace) -> str:
    turn = session.undo()
    return f"Taken back: {line(turn.prompt)}" if turn else "There is no turn to take back."


def _reset(session: Session, options: argparse.Namespace) -> str:
    session.reset()
    return "Started a new conversation."


def _resume(session: Session, options: argparse.Namespace) -> str:
    count = session.resume(options.value)
    first = next((line(turn.prompt) for turn in session.turns), "")
    return f"Resumed: {first}\n{plural(count, 'turn')}, {session.turns_in_context} in context."


def _fork(session: Session, options: argparse.Namespace) -> str:
    turn = chosen(session, options)
    session.fork(turn.id)
    return f"Started a new conversation from: {line(turn.prompt)}"


def _export(session: Session, options: argparse.Namespace) -> str:
    history = _history(session, options)
    history.export(options.value, force=options.force)
    return f"{plural(len(history), 'turn')} written to {options.value}."


def _import(session: Session, options: argparse.Namespace) -> str:
    from ..store.imports import read_turns

    turns = read_turns(options.value)
    new = session.store.add(turns)
    ids = list(dict.fromkeys(turn.conversation for turn, _ in turns))
    there = f" ({plural(len(turns) - new, 'turn')} already there)" if new < len(turns) else ""
    return f"{plural(new, 'turn')} imported{there}. Continue with: %chatglm_history --resume {ids[-1]}"


def _forget(session: Session, options: argparse.Namespace) -> str:
    count = session.forget(everything=options.all)
    what = "every conversation" if options.all else "the conversation"
    return f"Permanently deleted {plural(count, 'turn')} of {what}, including their search-index entries."


ACTIONS: dict[str, Callable[[Session, argparse.Namespace], str]] = {
    LIST: _list,
    "--search": _list,
    "--show": lambda session, options: whole(chosen(session, options)),
    "--undo": _undo,
    "--reset": _reset,
    "--resume": _resume,
    "--fork": _fork,
    "--export": _export,
    "--import": _import,
    "--forget": _forget,
}


def line(text: str) -> str:
    """Return a text as one short line."""
    flat = " ".join(text[:400].split())
    return flat if len(flat) <= 90 else flat[:89] + "…"
