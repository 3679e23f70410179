"""``%chatglm_history``: lists, searches, shows, undoes, resumes, forks, exports, imports and deletes turns."""

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

TURNS_PER_PAGE = 20
LIST_ACTION = "--list"


def history_parser() -> Parser:
    """Return the parser of ``%chatglm_history``."""
    parser = Parser("%chatglm_history", description="List, search and keep conversations; lists 20 turns a page.")
    actions = parser.add_argument_group("what to do, one at a time")
    parser.set_defaults(action=LIST_ACTION, value=None)

    def add(flag: str, help: str, **options: Any) -> None:
        actions.add_argument(flag, action=_ActionOption, help=help, **({"nargs": 0} | options))

    turn_number: dict[str, Any] = {"nargs": None, "type": _turn_number, "metavar": "N"}
    file: dict[str, Any] = {"nargs": None, "metavar": "FILE"}
    add(LIST_ACTION, "list the turns, newest first (the default)")
    add("--search", "turns that contain these words, in any language", nargs=None, metavar="TEXT")
    add("--show", "one turn, whole", **turn_number)
    add("--undo", "undo the last turn")
    add("--reset", "start a new conversation")
    add("--resume", "continue an earlier conversation, by default the newest", nargs="?", metavar="ID")
    add("--fork", "start a conversation with a copy of the turns up to N", **turn_number)
    add("--export", "write a .jsonl, .md, .html or .csv file (in .md images and HTML stay live)", **file)
    add("--import", "read a .jsonl of turns, or a list of OpenAI-style messages (.json, .jsonl)", **file)
    parser.takes_words |= {"--search", "--export", "--import"}
    add("--forget", "permanently delete the conversation's turns")
    add("--view", "show the history viewer")
    how = parser.add_argument_group("and how")
    how.add_argument("--all", action="store_true", help="every conversation, not the current one alone")
    how.add_argument("--page", type=positive_int, default=1, metavar="N", help="another page of the list")
    how.add_argument("--force", action="store_true", help="let --export overwrite a file")
    parser.add_help_option()
    return parser


class _ActionOption(argparse.Action):
    """Stores an action and its value; rejects a second one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, flag: str | None = None) -> None:
        if namespace.action != LIST_ACTION:
            raise CommandError(f"use either {namespace.action} or {flag}, not both (see {parser.prog} --help)")
        namespace.action = flag
        namespace.value = None if isinstance(values, list) else values


def _turn_number(text: str) -> int:
    return positive_int(text.removeprefix("#"))


def read_history_options(line: str) -> argparse.Namespace:
    """Return the options of a line: ``action`` with its ``value``, ``all``, ``page`` and ``force``.

    :raises CommandError: for an unknown option, two actions, and a missing or unexpected value.
    """
    parser = history_parser()
    options, rest = parse_options(parser, line)
    expect_no_operands(parser, rest)
    return options


def run_history_action(session: Session, options: argparse.Namespace) -> str:
    """Run the action of a line; return the text to print."""
    return ACTIONS[options.action](session, options)


def find_turn(session: Session, options: argparse.Namespace) -> Turn:
    """Return the turn with the number given to ``--show`` or ``--fork``.

    :raises ChatGLMError: if there is none.
    """
    for number, row in _number_turns(_selected_history(session, options)):
        if number == options.value:
            return row.turn
    raise ChatGLMError(f"Turn {options.value} doesn't exist: %chatglm_history lists them.", kind="not_found")


def turn_text(turn: Turn) -> str:
    """Return a turn as text, with everything known about it."""
    lines = [f"Prompt:   {turn.prompt}", f"Status:   {turn.status}"]
    facts = " · ".join(filter(None, (footer(turn), describe_speed(turn))))
    lines += [f"Model:    {facts}"] if facts else []
    lines += [f"Asked at: {turn.endpoint}, {turn.created}"] if turn.endpoint else []
    lines += [f"System:   {turn.system}"] if turn.system else []
    lines += ["", "Thinking:", turn.reasoning] if turn.reasoning else []
    return "\n".join([*lines, "", answer_text(turn)])


def turn_bundle(turn: Turn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the MIME bundle of a turn and its prompt; facts that vary between runs are in the metadata."""
    style = "white-space:pre-wrap;font-weight:600;margin-bottom:.5em"
    prompt = f'<div style="{style}">{escape_html(turn.prompt)}</div>'
    data = escape_json_surrogates(html_output(f"{turn.prompt}\n\n{answer_text(turn)}", prompt + answer_html(turn)))
    return data, {"chatglm": escape_json_surrogates(provenance(turn))}


def _selected_history(session: Session, options: argparse.Namespace) -> History:
    history = session.history
    return history.all if options.all else history


def _number_turns(history: History) -> list[tuple[int, Row]]:
    """Number turns by position within a conversation; over all conversations, as the store does."""
    numbers_of_store = history.query.conversation is None
    return [(row.number if numbers_of_store else index, row) for index, row in enumerate(history.rows(), 1)]


def _list(session: Session, options: argparse.Namespace) -> str:
    history = _selected_history(session, options)
    matches = history.search(options.value) if options.value else history
    total, skip = len(matches), (options.page - 1) * TURNS_PER_PAGE
    newest_first = matches.sort("newest" if options.all else "position", reverse=not options.all)
    page = newest_first.rows(skip, TURNS_PER_PAGE)
    if not page:
        return _describe_empty_page(options, total)
    numbers: dict[int, int] = {}
    if options.value and not options.all:
        numbers = {row.number: number for number, row in _number_turns(history)}
    lines = []
    for index, row in enumerate(page):
        turn, number = row.turn, numbers.get(row.number, total - skip - index)
        mark = "" if turn.status == "complete" else f" ({turn.status})"
        kind = "" if turn.kind == "chat" else f" [{turn.kind}]"
        label = f"#{row.number}" if options.all else str(number)
        lines += [f"{label:>4}  {_short_line(turn.prompt)}{mark}{kind}", f"      → {_short_line(turn.answer)}"]
    if total > TURNS_PER_PAGE:
        pages = -(-total // TURNS_PER_PAGE)
        more = f"; --page {options.page + 1} has older ones" if options.page < pages else ""
        lines.append(f"Page {options.page} of {pages}, {total} turns{more}.")
    return "\n".join(lines)


def _describe_empty_page(options: argparse.Namespace, total: int) -> str:
    if total:
        return f"Page {options.page} doesn't exist: {total} turns are {-(-total // TURNS_PER_PAGE)} pages."
    if options.value:
        return f"No turns match {options.value!r}." + (
            "" if options.all else " (--all searches every conversation.)"
        )
    return "There are no turns yet. Ask: %chatglm PROMPT"


def _undo(session: Session, options: argparse.Namespace) -> str:
    turn = session.undo()
    return f"Undone: {_short_line(turn.prompt)}" if turn else "Nothing to undo."


def _reset(session: Session, options: argparse.Namespace) -> str:
    session.reset()
    return "Started a new conversation."


def _resume(session: Session, options: argparse.Namespace) -> str:
    count = session.resume(options.value)
    first = next((_short_line(turn.prompt) for turn in session.turns), "")
    return f"Resumed: {first}\n{plural(count, 'turn')}, {session.turns_in_context} in context."


def _fork(session: Session, options: argparse.Namespace) -> str:
    turn = find_turn(session, options)
    session.fork(turn.id)
    return f"Started a new conversation from: {_short_line(turn.prompt)}"


def _export(session: Session, options: argparse.Namespace) -> str:
    history = _selected_history(session, options)
    history.export(options.value, force=options.force)
    return f"{plural(len(history), 'turn')} written to {options.value}."


def _import(session: Session, options: argparse.Namespace) -> str:
    from ..store.imports import read_turns

    turns = read_turns(options.value)
    new = session.store.add(turns)
    ids = list(dict.fromkeys(turn.conversation for turn, _ in turns))
    known = f" ({plural(len(turns) - new, 'turn')} already there)" if new < len(turns) else ""
    return f"{plural(new, 'turn')} imported{known}. Continue with: %chatglm_history --resume {ids[-1]}"


def _forget(session: Session, options: argparse.Namespace) -> str:
    count = session.forget(everything=options.all)
    what = "every conversation" if options.all else "the conversation"
    return f"Permanently deleted {plural(count, 'turn')} of {what}, including their search-index entries."


ACTIONS: dict[str, Callable[[Session, argparse.Namespace], str]] = {
    LIST_ACTION: _list,
    "--search": _list,
    "--show": lambda session, options: turn_text(find_turn(session, options)),
    "--undo": _undo,
    "--reset": _reset,
    "--resume": _resume,
    "--fork": _fork,
    "--export": _export,
    "--import": _import,
    "--forget": _forget,
}


def _short_line(text: str) -> str:
    """Return a text as one short line."""
    flat = " ".join(text[:400].split())
    return flat if len(flat) <= 90 else flat[:89] + "…"
