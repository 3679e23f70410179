"""A history as a file to take away: JSON lines, Markdown, a page, or a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from .. import safe_files
from ..errors import CommandError
from ..parameters import names
from ..render.answers import escape, footer, html, trouble
from ..render.cjk import CJK
from ..render.text import quoted
from ..values import Turn
from .columns import narrow
from .query import Row

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body{font:16px/1.5 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif}
body{max-width:50em;margin:2em auto;padding:0 1em;color:#212121;background:#fff}
section{border-top:1px solid #bdbdbd;padding:1em 0}
h2{font-size:.85em;font-weight:600;color:#616161;margin:0 0 .5em}
.prompt{white-space:pre-wrap;background:#f5f5f5;border-left:3px solid #1976d2;padding:.5em .8em;margin:0 0 1em}
.system{white-space:pre-wrap;color:#616161}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f5f5;padding:.5em .8em}
table{border-collapse:collapse}th,td{border:1px solid #bdbdbd;padding:.2em .6em}
@media (prefers-color-scheme:dark){body{color:#e0e0e0;background:#121212}.prompt,pre{background:#212121}}
"""
COLUMNS = (
    *("conversation", "created", "status", "kind", "model", *names("sampling"), "prompt", "answer"),
    *("reasoning", "finish_reason", "first_token", "first_thinking", "first_answer", "duration"),
    *("reasoning_tokens", "spent_on_thinking", "endpoint", "error", "id"),
)
_BLANKS = r" \xa0\u1680\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff\""
_SEPARATORS = r";\t|\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_SIGNS = r"=+\-@＝＋－＠"
FORMULA = re.compile(
    rf"\A(?=[\t\r\n])|\A(?=[{_BLANKS}{_SEPARATORS}]*[{_SIGNS}])|(?<=[{_SEPARATORS}])(?=[{_BLANKS}]*[{_SIGNS}])"
)
"""Where a spreadsheet may take what follows for a formula: at the beginning of a cell, after blanks too; and after
whatever separates cells and lines where it is not told that commas do, as in a region that writes 0,5 for 0.5."""


Rows = Callable[[], Iterable[Row]]


def export(path: str | Path, rows: Rows, by_conversation: Rows, *, force: bool = False) -> Path:
    """Write turns to a file, in the form that its ending names; return where it is.

    :param rows: yields them in the order of a history.
    :param by_conversation: yields those of a conversation together and in its order.
    :raises CommandError: for another ending, and for a path that can't be written to.
    """
    full = safe_files.target(path, force=force)
    form = FORMS.get(full.suffix.lower())
    if form is None:
        raise CommandError(f"{quoted(full.name)} must end in {', '.join(FORMS)}: that says which form is meant.")
    source = by_conversation if form is _jsonl else rows  # lines have no numbers
    safe_files.write_whole(full, form(source()), force=force)
    return full


def _jsonl(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each turn as one line."""
    for row in rows:
        yield json.dumps(row.turn.to_json(), ensure_ascii=False, default=str) + "\n"


def _markdown(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the turns as Markdown: prompts as they were typed, answers in the Markdown they came in."""
    for number, turn in enumerate((row.turn for row in rows), 1):
        yield f"## {number} · {_heading(turn)}\n\n"
        for name, text in (("System", turn.system), ("Prompt", turn.prompt), ("Thinking", turn.reasoning)):
            if text:
                yield f"{name}:\n\n{_fenced(text)}\n\n"
        yield f"Answer:\n\n{turn.answer}\n\n"
        yield "".join(f"*{line}*\n\n" for line in (trouble(turn), footer(turn)) if line)


def _fenced(text: str) -> str:
    """Return a text in a fence that nothing in it closes."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _language(turns: Sequence[Turn]) -> str:
    """Return the language of most of some turns, for a browser's fonts, hyphens and voice: Chinese or English."""
    letters = [char for turn in turns for char in f"{turn.prompt}{turn.answer}"[:2000] if char.isalpha()]
    chinese = sum(1 for char in letters if CJK.match(char))
    return "zh-Hans" if 3 * chinese > len(letters) else "en"


def _html(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a page that needs nothing else, loads nothing and runs nothing."""
    rows = iter(rows)
    first = list(islice(rows, 20))
    turns = [row.turn for row in first]
    yield (
        f'<!doctype html>\n<html lang="{_language(turns)}"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>ChatGLM history</title>\n<style>{STYLE}</style></head>\n<body>\n"
    )
    for number, turn in enumerate((row.turn for row in chain(first, rows)), 1):
        yield f"<section><h2>{number} · {escape(_heading(turn))}</h2>\n"
        if turn.system:
            yield f'<p class="system">{escape(turn.system)}</p>\n'
        yield f'<div class="prompt">{escape(turn.prompt)}</div>\n{html(turn)}\n</section>\n'
    yield "</body></html>\n"


def _csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table for a spreadsheet, in which no cell is a formula, whatever it takes for the separator."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    yield "\ufeff"  # without it Excel reads Chinese as something else
    writer.writerow(COLUMNS)
    for row in rows:
        numbers = narrow(row.turn, row.position)
        values = (numbers[name] if name in numbers else getattr(row.turn, name) for name in COLUMNS)
        writer.writerow([_cell(value) for value in values])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _cell(value: object) -> object:
    return FORMULA.sub("'", value) if isinstance(value, str) else value


def _heading(turn: Turn) -> str:
    return " · ".join(part for part in (turn.created, turn.model or "", turn.status) if part)


FORMS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    ".jsonl": _jsonl,
    ".md": _markdown,
    ".html": _html,
    ".csv": _csv,
}
