"""Stored turns as a lazy sequence, a preview and a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import ParameterError
from ..parameters import parameter_names
from ..render.answers import completion_tokens, escape_html
from ..render.dataframe import build_dataframe
from ..render.outer import disable_typesetting
from ..render.text import align_columns, one_line
from ..values import Pair, Turn
from . import columns
from .query import QUERY_FIELDS, Order, Query, Row

if TYPE_CHECKING:
    from .store import Store


FIRST_COLUMNS = ("number", "conversation", "position", "created", "status", "kind", "model")
COMPUTED_COLUMNS = (*parameter_names("sampling"), "tokens")
DERIVED_COLUMNS = ("first_thinking", "spent_on_thinking")
"""Columns that are computed from a turn's fields."""


def turns_frame(rows: Iterable[Row]) -> Any:
    """Return a table with a row per turn: its fields, and temperature, top_p and max_token as numbers.

    :raises ChatGLMError: if pandas is not installed.
    """
    other = (name for name in columns.READ_ORDER if name not in FIRST_COLUMNS)
    return build_dataframe(map(_frame_record, rows), [*FIRST_COLUMNS, *COMPUTED_COLUMNS, *other, *DERIVED_COLUMNS])


def _frame_record(row: Row) -> dict[str, Any]:
    numbers = columns.turns_values(row.turn, row.position)
    return (
        {name: getattr(row.turn, name) for name in (*columns.READ_ORDER, *DERIVED_COLUMNS)}
        | {name: numbers[name] for name in ("position", *COMPUTED_COLUMNS)}
        | {"number": row.number}
    )


TABLE_HEADINGS = ("#", "asked", "status", "model", "tokens", "prompt", "answer")
PROMPT_CHARS, ANSWER_CHARS = 40, 60
"""How much of each the preview displays."""


def turns_text(first: Sequence[Row], total: int) -> str:
    """Return a preview of the first of ``total`` turns as aligned lines."""
    rows, more = _table_cells(first, total)
    return "\n".join([*align_columns([TABLE_HEADINGS, *rows]), *([more] if more else [])])


def turns_html(first: Sequence[Row], total: int) -> str:
    """Return a preview of the first of ``total`` turns as an HTML table."""
    rows, more = _table_cells(first, total)
    cell = 'style="text-align:left;vertical-align:top"'
    head = "".join(f"<th {cell}>{name}</th>" for name in TABLE_HEADINGS)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{escape_html(text)}</td>' for text in row)}</tr>" for row in rows)
    note = f"<p>{escape_html(more)}</p>" if more else ""
    return disable_typesetting(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}")


def _table_cells(rows: Sequence[Row], total: int) -> tuple[list[tuple[str, ...]], str]:
    more = f"{total} turns, the first {len(rows)} are shown." if total > len(rows) else ""
    return [_table_row(row) for row in rows], more or ("" if rows else "No turns.")


def _table_row(row: Row) -> tuple[str, ...]:
    turn = row.turn
    return (
        str(row.number),
        one_line(turn.created[:16].replace("T", " ")),
        turn.status,
        one_line(turn.model or "", 24),
        str(completion_tokens(turn) or ""),
        one_line(turn.prompt, PROMPT_CHARS),
        one_line(turn.answer, ANSWER_CHARS),
    )


PAGE_TURNS = 200
"""How many turns are read at once during iteration."""
PREVIEW_TURNS = 20


class History:
    """The turns of a store that match a query, in its order; each access reads the current state.

    ``len``, iteration, ``history[3]``, ``history[-1]`` and slices work as with a list of turns.

    :raises ChatGLMError: by every method, if the store can't be read now.
    """

    def __init__(self, store: Store, query: Query | None = None) -> None:
        self.store = store
        self.query = query or Query()

    @property
    def all(self) -> History:
        """The same query over all conversations."""
        return History(self.store, replace(self.query, conversation=None))

    def filter(self, **conditions: Any) -> History:
        """Return the turns that also match these conditions, which are the fields of :class:`Query`.

        :raises ParameterError: for an unknown condition or an invalid value.
        """
        for name in conditions:
            if name not in QUERY_FIELDS:
                raise ParameterError(
                    f"Unknown condition {name!r}. Expected one of {', '.join(QUERY_FIELDS)}.", kind="unknown_name"
                )
        return History(self.store, replace(self.query, **conditions))

    def sort(self, by: Order, reverse: bool = False) -> History:
        """Return the same turns in another order.

        :raises ParameterError: for an unknown order.
        """
        return History(self.store, replace(self.query, order=by, reverse=reverse))

    def search(self, text: str) -> History:
        """Return the turns that contain all words of a text, the newest first."""
        return History(self.store, replace(self.query, text=text, order="newest", reverse=False))

    def rows(self, offset: int = 0, limit: int | None = None) -> list[Row]:
        """Return a page of turns with their numbers and positions."""
        return self.store.find(self.query, offset=offset, limit=limit)

    def pairs(self) -> list[Pair]:
        """Return the complete turns of the conversation as (prompt, answer), in its order."""
        complete = History(
            self.store, replace(self.query, status="complete", kind="chat", order="position", reverse=False)
        )
        return [turn.pair for turn in complete if turn.answer and not turn.outside]

    def to_dataframe(self) -> Any:
        """Return the turns as a ``pandas.DataFrame`` with a row per turn; durations are in seconds.

        :raises ChatGLMError: if pandas is not installed.
        """
        return turns_frame(self.walk())

    def export(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the turns to a file that ends in .jsonl, .md, .html or .csv; return its path.

        The file is written completely or not at all, and only its owner can read it.

        :param force: whether to replace an existing file.
        :raises CommandError: for a path that can't be written to.
        """
        from .export import export_rows

        return export_rows(path, self.walk, self._by_conversation, force=force)

    def walk(self) -> Iterator[Row]:
        """Yield all rows; the selection is fixed at the first one, their texts are read page by page."""
        numbers = iter(self.store.numbers(self.query))
        while page := list(islice(numbers, PAGE_TURNS)):
            yield from self.store.rows(page)

    def _by_conversation(self) -> Iterator[Row]:
        """Yield all rows grouped by conversation, each in its own order."""
        ordered = self.sort("position")
        names = dict.fromkeys(turn.conversation for turn in ordered) if self.query.conversation is None else {}
        for part in [ordered.filter(conversation=name) for name in names] or [ordered]:
            yield from part.walk()

    def __len__(self) -> int:
        return self.store.count(self.query)

    def __iter__(self) -> Iterator[Turn]:
        return (row.turn for row in self.walk())

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> list[Turn]: ...
    def __getitem__(self, index: int | slice) -> Turn | list[Turn]:
        if isinstance(index, slice):
            return [row.turn for row in self.store.rows(self.store.numbers(self.query)[index])]
        offset = index if index >= 0 else index + len(self)
        rows = self.rows(offset, 1) if offset >= 0 else []
        if not rows:
            raise IndexError(f"Turn {index} doesn't exist: there are {len(self)}.")
        return rows[0].turn

    def __repr__(self) -> str:
        return f"<History of {len(self)} turns>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(turns_text(self.rows(0, PREVIEW_TURNS), len(self)))

    def _repr_html_(self) -> str:
        return turns_html(self.rows(0, PREVIEW_TURNS), len(self))
