"""``%chatglm_history``: lists, searches, shows, takes back, resumes, forks, exports, imports and forgets turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import ChatGLMError
from ..render.bundle import encodable, escape, footer, html, plain, provenance, speed
from ..render.outer import output
from ..session import Session
from ..values import Turn
from .history_line import Order, number

if TYPE_CHECKING:
    from ..store import History, Row

PAGE = 20


def run(session: Session, order: Order) -> str:
    """Do what a line says; return what to print."""
    return DOES[order.action](session, order)


def chosen(session: Session, order: Order) -> Turn:
    """Return the turn that ``--show`` or ``--fork`` names.

    :raises ChatGLMError: if there is none of that number.
    """
    wanted = number(order.word.removeprefix("#"), order.action)
    for shown, row in _numbered(_history(session, order)):
        if shown == wanted:
            return row.turn
    raise ChatGLMError(f"There is no turn {wanted}: %chatglm_history lists them.", kind="not_found")


def whole(turn: Turn) -> str:
    """Return one turn as text, with all that is known of it."""
    lines = [f"Prompt:   {turn.prompt}", f"Status:   {turn.status}"]
    lines += [f"Model:    {part}" for part in (" · ".join(filter(None, (footer(turn), speed(turn)))),) if part]
    lines += [f"Asked at: {turn.endpoint}, {turn.created}"] if turn.endpoint else []
    lines += [f"System:   {turn.system}"] if turn.system else []
    lines += ["", "Thinking:", turn.reasoning] if turn.reasoning else []
    return "\n".join([*lines, "", plain(turn)])


def bundle_of(turn: Turn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one turn with its prompt for a notebook; what varies from run to run stands in the metadata."""
    prompt = f'<div style="white-space:pre-wrap;font-weight:600;margin-bottom:.5em">{escape(turn.prompt)}</div>'
    data = encodable(output(f"{turn.prompt}\n\n{plain(turn)}", prompt + html(turn)))
    return data, {"chatglm": encodable(provenance(turn))}


def _history(session: Session, order: Order) -> History:
    history = session.history
    return history.all if order.everything else history


def _numbered(history: History) -> list[tuple[int, Row]]:
    """Number turns: within a conversation by their place in it, over all of them as the store does."""
    rows = history.rows()
    return [(row.number if history.query.conversation is None else at, row) for at, row in enumerate(rows, 1)]


def _list(session: Session, order: Order) -> str:
    history = _history(session, order)
    found = history.search(order.word) if order.word else history
    total, skip = len(found), (order.page - 1) * PAGE
    rows = found.sort("newest" if order.everything else "position", reverse=not order.everything)
    page = rows.rows(skip, PAGE)
    if not page:
        return _nothing(order, total)
    numbers = {row.number: at for at, row in _numbered(history)} if order.word and not order.everything else {}
    lines = []
    for at, row in enumerate(page):
        turn, here = row.turn, numbers.get(row.number, total - skip - at)
        mark = "" if turn.status == "complete" else f" ({turn.status})"
        kind = "" if turn.kind == "chat" else f" [{turn.kind}]"
        shown = f"#{row.number}" if order.everything else str(here)
        lines += [f"{shown:>4}  {line(turn.prompt)}{mark}{kind}", f"      → {line(turn.answer)}"]
    if total > PAGE:
        pages = -(-total // PAGE)
        more = f"; --page {order.page + 1} has older ones" if order.page < pages else ""
        lines.append(f"Page {order.page} of {pages}, {total} turns{more}.")
    return "\n".join(lines)


def _nothing(order: Order, total: int) -> str:
    if total:
        return f"There is no page {order.page}: {total} turns are {-(-total // PAGE)} pages."
    if order.word:
        return f"No turn has {order.word!r}." + (
            "" if order.everything else " (--all looks in every conversation.)"
        )
    return "There are no turns yet. Ask: %chatglm PROMPT"


def _undo(session: Session, order: Order) -> str:
    turn = session.undo()
    return f"Taken back: {line(turn.prompt)}" if turn else "There is no turn to take back."


def _reset(session: Session, order: Order) -> str:
    session.reset()
    return "A new conversation has begun."


def _resume(session: Session, order: Order) -> str:
    count = session.resume(order.word or None)
    first = next((line(turn.prompt) for turn in session.turns), "")
    return f"Going on with: {first}\n{_turns(count)}, of which {session.context} are sent along."


def _fork(session: Session, order: Order) -> str:
    turn = chosen(session, order)
    session.fork(turn.id)
    return f"A new conversation goes on from: {line(turn.prompt)}"


def _export(session: Session, order: Order) -> str:
    history = _history(session, order)
    history.export(order.word, force=order.force)
    return f"{_turns(len(history))} written to {order.word}."


def _import(session: Session, order: Order) -> str:
    from ..store.imports import read as read_file

    turns = read_file(order.word)
    new = session.store.add(turns)
    ids = list(dict.fromkeys(turn.conversation for turn, _ in turns))
    there = f" ({_turns(len(turns) - new)} had been there already)" if new < len(turns) else ""
    return f"{_turns(new)} imported{there}. Go on with them: %chatglm_history --resume {ids[-1]}"


def _forget(session: Session, order: Order) -> str:
    count = session.forget(everything=order.everything)
    what = "every conversation" if order.everything else "the conversation"
    return f"Forgotten for good: {_turns(count)} of {what}, also in the search index and in free pages."


def _turns(count: int) -> str:
    return f"{count} turn{'s' * (count != 1)}"


DOES: dict[str, Callable[[Session, Order], str]] = {
    "--list": _list,
    "--search": _list,
    "--show": lambda session, order: whole(chosen(session, order)),
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
