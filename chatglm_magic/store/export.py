"""Export of turns as JSON Lines, Markdown, HTML or CSV."""

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
from ..parameters import parameter_names
from ..render.answers import answer_html, escape_html, footer, incomplete_reason
from ..render.cjk import CJK
from ..render.text import format_time, one_line, quote_name
from ..values import Turn
from .columns import turns_values
from .query import Row

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
PAGE_STYLE = """
body{font:16px/1.5 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif}
body{max-width:50em;margin:2em auto;padding:0 1em;color:#212121;background:#fff}
section{border-top:1px solid #bdbdbd;padding:1em 0}
h1{font-size:1.5em;line-height:1.3;margin:0 0 .2em}h2{font-size:1.2em;margin:2em 0 .5em}
h3{font-size:.85em;font-weight:400;color:#616161;margin:0 0 .5em}
.prompt{white-space:pre-wrap;background:#f5f5f5;border-left:3px solid #1976d2;padding:.5em .8em;margin:0 0 1em}
.system{white-space:pre-wrap;color:#616161}
pre{background:#f5f5f5;padding:.5em .8em}
table{border-collapse:collapse}th,td{border:1px solid #bdbdbd;padding:.2em .6em}
@media (prefers-color-scheme:dark){body{color:#e0e0e0;background:#121212}.prompt,pre{background:#212121}
h3,.system{color:#bdbdbd}}
"""
CSV_COLUMNS = (
    "conversation",
    "created",
    "status",
    "kind",
    "model",
    *parameter_names("sampling"),
    "prompt",
    "answer",
    "reasoning",
    "finish_reason",
    "first_token",
    "first_thinking",
    "first_answer",
    "duration",
    "reasoning_tokens",
    "spent_on_thinking",
    "endpoint",
    "error",
    "id",
)
_BLANKS = r" \xa0\u1680\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff\""
_SEPARATORS = r";\t|\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_SIGNS = r"=+\-@＝＋－＠"
FORMULA_START = re.compile(
    rf"\A(?=[\t\r\n])|\A(?=[{_BLANKS}{_SEPARATORS}]*[{_SIGNS}])|(?<=[{_SEPARATORS}])(?=[{_BLANKS}]*[{_SIGNS}])"
)
"""Where a spreadsheet may start a formula: at the beginning of a cell, also after blanks, and after any character
that separates cells or lines when it doesn't assume commas, as in regions that write 0,5 for 0.5."""


RowSource = Callable[[], Iterable[Row]]


def export_rows(path: str | Path, rows: RowSource, by_conversation: RowSource, *, force: bool = False) -> Path:
    """Write turns to a file in the format of its ending; return its path.

    :param rows: yields the turns in the order of the query.
    :param by_conversation: yields them grouped by conversation, each in its own order.
    :raises CommandError: for another ending, or a path that can't be written to.
    """
    full = safe_files.resolve_target(path, force=force)
    writer = WRITERS.get(full.suffix.lower())
    if writer is None:
        raise CommandError(f"{quote_name(full.name)} must end in {', '.join(WRITERS)}, which selects the format.")
    source = rows if writer is _csv_table else by_conversation  # all but the table are for reading
    safe_files.write_atomically(full, writer(source()), force=force)
    return full


def _jsonl_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each turn as one line of JSON."""
    for row in rows:
        yield json.dumps(row.turn.to_json(), ensure_ascii=False, default=str) + "\n"


def turns_markdown(turns: Iterable[Turn]) -> Iterator[str]:
    """Yield turns as Markdown: prompts as typed, answers in their own Markdown."""
    for number, turn in enumerate(turns, 1):
        yield f"## {number} · {_turn_heading(turn)}\n\n"
        for name, text in (("System", turn.system), ("Prompt", turn.prompt), ("Thinking", turn.reasoning)):
            if text:
                yield f"{name}:\n\n{_fence(text)}\n\n"
        yield f"Answer:\n\n{turn.answer}\n\n"
        yield "".join(f"*{line}*\n\n" for line in (incomplete_reason(turn), footer(turn)) if line)


def _fence(text: str) -> str:
    """Return a text in a code fence longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _main_language(turns: Sequence[Turn]) -> str:
    """Return the main language of turns, Chinese or English, for a browser's fonts, hyphenation and voice."""
    letters = [char for turn in turns for char in f"{turn.prompt}{turn.answer}"[:2000] if char.isalpha()]
    chinese = sum(1 for char in letters if CJK.match(char))
    return "zh-Hans" if 3 * chinese > len(letters) else "en"


def _html_page(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a self-contained page that loads and runs nothing.

    :param rows: grouped by conversation, each in its own order.
    """
    rows = iter(rows)
    first = list(islice(rows, 20))
    turns = [row.turn for row in first]
    conversation = turns[0].conversation if turns else None
    is_one = all(turn.conversation == conversation for turn in turns) and bool(turns)
    title = escape_html(_conversation_title(turns[0]) if is_one else "ChatGLM history")
    yield (
        f'<!doctype html>\n<html lang="{_main_language(turns)}"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{PAGE_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    )
    conversation = conversation if is_one else None
    for number, turn in enumerate((row.turn for row in chain(first, rows)), 1):
        if turn.conversation != conversation:
            conversation = turn.conversation
            yield f"<h2>{escape_html(_conversation_title(turn))}</h2>\n"
        yield f"<section><h3>{number} · {escape_html(_turn_heading(turn))}</h3>\n"
        if turn.system:
            yield f'<p class="system">{escape_html(turn.system)}</p>\n'
        yield f'<div class="prompt">{escape_html(turn.prompt)}</div>\n{answer_html(turn)}\n</section>\n'
    yield "</body></html>\n"


def _csv_table(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a table for spreadsheets in which no cell is a formula, whatever the separator."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    yield "\ufeff"  # without it Excel garbles Chinese
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        numbers = turns_values(row.turn, row.position)
        values = (numbers[name] if name in numbers else getattr(row.turn, name) for name in CSV_COLUMNS)
        writer.writerow([_defuse_cell(value) for value in values])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _defuse_cell(value: object) -> object:
    return FORMULA_START.sub("'", value) if isinstance(value, str) else value


def _turn_heading(turn: Turn) -> str:
    status = "" if turn.status == "complete" else turn.status
    return " · ".join(part for part in (format_time(turn.created), turn.model or "", status) if part)


def _conversation_title(turn: Turn) -> str:
    """Return the title of a conversation by its first turn."""
    return one_line(turn.prompt, 80) or "(empty prompt)"


WRITERS: dict[str, Callable[[Iterable[Row]], Iterator[str]]] = {
    ".jsonl": _jsonl_lines,
    ".md": lambda rows: turns_markdown(row.turn for row in rows),
    ".html": _html_page,
    ".csv": _csv_table,
}
