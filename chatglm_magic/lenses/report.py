"""A lens as text for terminals, and as static HTML for saved notebooks: no script, every text escaped."""

from __future__ import annotations

import html as stdlib_html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from ..render.outer import outer
from ..render.text import pad, plural
from .labels import bits, percent

if TYPE_CHECKING:
    from .distribution import Distribution
    from .logprobs_kind import LogprobsKind
    from .position import Bar, Position


class Reshaped(Protocol):
    """A lens, as far as its report reads it."""

    @property
    def positions(self) -> Sequence[Position]: ...
    @property
    def complete(self) -> bool: ...
    @property
    def logprobs_kind(self) -> LogprobsKind: ...
    @property
    def answer_start(self) -> int: ...
    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float | None: ...
    def reshape(self) -> Sequence[Distribution]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Position]: ...


TEXT_PLACES = 24
"""How many places are shown."""

WIDTH = 12


def text(lens: Reshaped) -> str:
    """Return a line for each place: its token, its entropy, the likely candidates after temperature and cut."""
    first, lines = lens.answer_start, [caption(lens)]
    if first:
        lines.append(f"      … {plural(first, 'place')} of thinking before the answer: lens.at(0) is the first")
    last = first + TEXT_PLACES
    for position, found in zip(lens.positions[first:last], lens.reshape()[first:], strict=False):
        shown = [bar for bar in position.bars(found, limit=4) if bar.kind != "others"]
        said = " | ".join(f"{bar.label} {_fate(bar)}" for bar in shown)
        lines.append(
            f"{position.index:>4}  {pad(position.label, WIDTH)} {entropy_of(position, found):>12}  {said}"
        )
    left = len(lens) - last
    more = [f"      … {left} more places: lens.at(index)"] if left > 0 else []
    return "\n".join([*lines, *more])


def entropy_of(position: Position, found: Distribution) -> str:
    """Return the entropy at a place in words; of a part of a character alone it is not known."""
    return "not told" if position.hidden else bits(found.entropy)


def _fate(bar: Bar) -> str:
    return "cut" if bar.survives is False else percent(bar.probability)


def caption(lens: Reshaped) -> str:
    """Say what the figures are of."""
    asked = [
        f"{name} {value:g}"
        for name, value in (("temperature", lens.temperature), ("top_p", lens.top_p))
        if value is not None
    ]
    with_what = ", ".join(asked) or "the model's own probabilities, nothing re-shaped"
    if lens.logprobs_kind == "unknown":
        with_what = "probabilities as the server gives them, of unknown kind"
    named = max((position.ranked for position in lens), default=0)
    how = f"all {named} tokens named" if lens.complete else f"{named} tokens named, what others change as ranges"
    parts = sum(bool(position.hidden) for position in lens)
    untold = f" · {plural(parts, 'place')} not told in full: characters made of several tokens" if parts else ""
    undone = " · the server's temperature undone" if lens.logprobs_kind == "tempered" else ""
    return f"{plural(len(lens), 'place')} · {with_what}{undone} · {how}{untold}"


PLACES = 48
"""How many places have their candidates shown; the strip shows all."""

HIGHEST = 8.0
"""Bits at which a mark under a token is at its highest."""

MUTED = "color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,#767676))"
CODE = "font-family:var(--jp-code-font-family,monospace);white-space:pre-wrap;overflow-wrap:anywhere"
BAR = "var(--jp-brand-color1,#1976d2)"
HATCHED = "repeating-linear-gradient(135deg,var(--jp-ui-font-color2,#767676) 0 1px,transparent 1px 4px)"
"""Under a token of which the server does not tell in full."""

CELL = "text-align:left;padding:1px .8em 1px 0"
COLUMNS = ("token", "model", "after temperature", "drawn")
HEAD = "<tr>" + "".join(f'<th scope="col" style="{CELL};{MUTED}">{name}</th>' for name in COLUMNS) + "</tr>"


def html(lens: Reshaped) -> str:
    """Return the answer with a mark of its entropy under each token, and each place's candidates, folded away."""
    found = lens.reshape()
    first = lens.answer_start
    widest = max(range(first, len(found)), key=lambda at: found[at].entropy.high, default=0)
    tokens = [_token(p, d) for p, d in zip(lens.positions, found, strict=True)]
    strip = "".join(tokens[first:])
    thinking = "".join(tokens[:first])
    if thinking:
        title = f'<summary style="cursor:pointer;{MUTED}">Thinking: {plural(first, "place")}</summary>'
        thinking = f'<details>{title}<div style="{CODE};margin:.5em 0;line-height:1.2">{thinking}</div></details>'
    places = [
        _place(position, shape, opened=position.index == widest)
        for position, shape in zip(lens.positions[first : first + PLACES], found[first:], strict=False)
    ]
    left = len(lens) - first - len(places)
    more = f'<div style="{MUTED}">… {left} more places: lens.at(index)</div>' if left else ""
    return outer(
        f'<div style="{MUTED}">{_escaped(caption(lens))}; '
        "the higher the mark under a token, the more there was to choose from</div>"
        f'{thinking}<div style="{CODE};margin:.5em 0;line-height:1.2">{strip}</div>{"".join(places)}{more}'
    )


def _token(position: Position, found: Distribution) -> str:
    low, high = (round(min(value, HIGHEST) / HIGHEST * 22) for value in found.entropy)
    mark = f'<span style="display:block;height:{2 + low}px;background:{BAR}"></span>'
    if high > low:  # as high as it may be, in a paler colour
        mark += f'<span style="display:block;height:{high - low}px;background:{BAR};opacity:.35"></span>'
    if position.hidden:
        mark = f'<span style="display:block;height:8px;background:{HATCHED}"></span>'
    told = _escaped(f"{entropy_of(position, found)}, place {position.index}")
    return (
        f'<span title="{told}" style="display:inline-block;vertical-align:top;margin:0 1px 4px 0;min-width:6px">'
        f"{_escaped(position.label)}{mark}</span>"
    )


def bars(position: Position, found: Distribution) -> str:
    """Return a place's candidates as safe HTML: what the model says, what is left after temperature and top_p."""
    return f"<div>{position.index}: {_told(position, found)}</div>{_table(position, found)}"


def _place(position: Position, found: Distribution, *, opened: bool) -> str:
    return (
        f'<details{" open" if opened else ""}><summary style="cursor:pointer">{position.index}: '
        f"{_told(position, found)}</summary>{_table(position, found)}</details>"
    )


def _told(position: Position, found: Distribution) -> str:
    title = f'<span style="{CODE}">{_escaped(position.label)}</span>'
    return f'{title} <span style="{MUTED}">{entropy_of(position, found)}</span>'


def _table(position: Position, found: Distribution) -> str:
    rows = "".join(_row(bar) for bar in position.bars(found))
    note = ""
    if position.hidden:
        bytes_ = plural(position.hidden, "byte")
        note = (
            f'<div style="{MUTED}">The first {bytes_} of this text, a part of a character, came in tokens before '
            "it, of which the server tells nothing.</div>"
        )
    return f'{note}<table style="margin:.2em 0 .6em 1em"><thead>{HEAD}</thead><tbody>{rows}</tbody></table>'


def _row(bar: Bar) -> str:
    fate = percent(bar.probability) if bar.survives is not False else "cut"
    colour = BAR if bar.survives is not False else "var(--jp-border-color1,#9e9e9e)"
    picture = (
        f'<span style="display:inline-flex;width:160px;height:10px">{_part(bar.share.low, colour, 1)}'
        f"{_part(bar.share.high - bar.share.low, colour, 0.35)}</span>"
    )
    weight = "600" if bar.taken else "400"
    taken = " ←" if bar.taken else ""
    return (
        f'<tr><th scope="row" style="{CELL};font-weight:{weight};{CODE if bar.kind == "token" else MUTED}">'
        f"{_escaped(bar.label)}{taken}</th>"
        f'<td style="{CELL}">{percent(bar.before)}</td><td style="{CELL}">{picture} {percent(bar.share)}</td>'
        f'<td style="{CELL}">{fate}</td></tr>'
    )


def _part(share: float, colour: str, opacity: float) -> str:
    style = f"width:{100 * share:.1f}%;background:{colour};opacity:{opacity}"
    return f'<span style="{style}"></span>' if share >= 5e-4 else ""


def _escaped(text: str) -> str:
    return stdlib_html.escape(text)
