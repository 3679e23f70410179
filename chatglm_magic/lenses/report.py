"""A lens as text for terminals, and as HTML without scripts for pages and saved notebooks.

Positions are displayed starting at 1; :meth:`.lens.Lens.at` starts at 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Protocol

from ..render.outer import disable_typesetting
from ..render.text import pad, plural
from .labels import describe_openness, format_bits, format_choices, format_percent, make_readable

if TYPE_CHECKING:
    from .distribution import Bounds, Distribution
    from .logprobs_kind import LogprobsKind
    from .position import Bar, Position


class LensReadings(Protocol):
    """What a report reads of a lens."""

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


MAX_TEXT_POSITIONS = 24
"""Maximum number of positions in the text."""

TOKEN_COLUMNS = 12


def lens_text(lens: LensReadings) -> str:
    """Return a line for each position: its token, its entropy, and its likely candidates after the cut."""
    first, lines = lens.answer_start, [caption(lens)]
    if len(lens):
        lines.append("A position of 2.32 bits is as open as a choice among ~5: 2 to the power of the bits.")
    if first:
        lines.append(f"      … {plural(first, 'position')} of thinking before the answer")
    last = first + MAX_TEXT_POSITIONS
    for position, distribution in zip(lens.positions[first:last], lens.reshape()[first:], strict=False):
        shown = [bar for bar in position.bars(distribution, limit=4) if bar.kind != "others"]
        candidates = " | ".join(f"{bar.label} {_describe_chance(bar)}" for bar in shown)
        entropy = distribution.entropy
        openness = "unknown" if position.hidden else f"{format_bits(entropy)} {format_choices(entropy):>4}"
        lines.append(f"{position.index + 1:>4}  {pad(position.label, TOKEN_COLUMNS)} {openness:>17}  {candidates}")
    remaining = len(lens) - last
    more = [f"      … {plural(remaining, 'more position')}"] if remaining > 0 else []
    return "\n".join([*lines, *more])


def entropy_of(position: Position, distribution: Distribution) -> str:
    """Describe a position's entropy; for a part of a character it is unknown."""
    entropy = distribution.entropy
    return "unknown" if position.hidden else f"{format_bits(entropy)}, {describe_openness(entropy)}"


def _describe_chance(bar: Bar) -> str:
    return "cut" if bar.survives is False else format_percent(bar.probability)


def caption(lens: LensReadings) -> str:
    """Describe the figures: how many positions, which parameters, which candidates."""
    parameters = [
        f"{name} {value:g}"
        for name, value in (("temperature", lens.temperature), ("top_p", lens.top_p))
        if value is not None
    ]
    basis = ", ".join(parameters) or "the model's own probabilities, nothing re-shaped"
    if lens.logprobs_kind == "unknown":
        basis = "probabilities as the server gives them, of unknown kind"
    named = max((position.ranked for position in lens), default=0)
    how = f"all {named} tokens named" if lens.complete else f"{named} tokens named, what others change as ranges"
    partial = sum(bool(position.hidden) for position in lens)
    hidden = ""
    if partial:
        hidden = f" · {plural(partial, 'position')} not reported in full: characters made of several tokens"
    undone = " · the server's temperature undone" if lens.logprobs_kind == "tempered" else ""
    return f"{plural(len(lens), 'position')} · {basis}{undone} · {how}{hidden}"


MAX_LISTED_POSITIONS = 48
"""Maximum number of positions with candidates in a saved notebook; the answer has all positions."""

SHADE_LEVELS = 8
"""Number of shades, besides none."""
MAX_SHADED_BITS = 4.0
"""Entropy in bits of the strongest shade: a choice among 16."""

TINT = "30,144,255"
MUTED_STYLE = "color:var(--jp-ui-font-color2,var(--vscode-descriptionForeground,#767676))"
CODE_STYLE = "font-family:var(--jp-code-font-family,monospace);white-space:pre-wrap;overflow-wrap:anywhere"
PROSE_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.8"
HATCHED = f"repeating-linear-gradient(135deg,rgba({TINT},.5) 0 1px,transparent 1px 4px)"
"""The background of a token that the server doesn't report in full."""
LINE_COLOUR = "var(--jp-warn-color1,#e65100)"


def shade_colour(level: int) -> str:
    """Return the background of a token for a level from 0 to :data:`SHADE_LEVELS`."""
    return f"rgba({TINT},{0.6 * level / SHADE_LEVELS:.3g})"


def shade_levels(position: Position, distribution: Distribution) -> tuple[int, int] | None:
    """Return the lower and upper level of openness, 0 to :data:`SHADE_LEVELS`; None if it is unknown."""
    if position.hidden:
        return None
    entropy = distribution.entropy
    low, high = (round(min(value, MAX_SHADED_BITS) / MAX_SHADED_BITS * SHADE_LEVELS) for value in entropy)
    return low, high


def token_html(position: Position) -> str:
    """Return a token of the answer as safe HTML; line ends and empty tokens have a sign."""
    if not position.token.strip(" ").strip():
        sign = position.label if position.token.strip(" ") else "·" if not position.token else position.token
        ends = "".join(char for char in position.token if char == "\n")
        return f'<span style="{MUTED_STYLE}">{escape(sign)}</span>{ends}'
    parts = re.split(r"( +|\n+)", position.token)
    return "".join(part if index % 2 else escape(make_readable(part)) for index, part in enumerate(parts))


def lens_html(lens: LensReadings) -> str:
    """Return the answer with shaded tokens, and the collapsed candidates of each position."""
    distributions, first = lens.reshape(), lens.answer_start
    bounds = [distribution.entropy.high for distribution in distributions]
    most_open = max(range(first, len(bounds)), key=bounds.__getitem__, default=0)
    positions = lens.positions[first : first + MAX_LISTED_POSITIONS]
    listed = [
        _position_details(position, distribution, opened=position.index == most_open)
        for position, distribution in zip(positions, distributions[first:], strict=False)
    ]
    remaining = len(lens) - first - len(listed)
    more = f'<div style="{MUTED_STYLE}">… {plural(remaining, "more position")}</div>' if remaining else ""
    head = f'<div style="{MUTED_STYLE}">{escape(caption(lens))}</div>'
    return disable_typesetting(f"{head}{answer_prose_html(lens)}{legend_html()}{''.join(listed)}{more}")


def answer_prose_html(lens: LensReadings) -> str:
    """Return the answer with shaded tokens and their top three candidates as titles; thinking is collapsed."""
    first = lens.answer_start
    tokens = [_shaded_token(p, d) for p, d in zip(lens.positions, lens.reshape(), strict=True)]
    thinking = "".join(tokens[:first])
    if thinking:
        title = f'<summary style="cursor:pointer;{MUTED_STYLE}">Thinking: {plural(first, "position")}</summary>'
        thinking = f'<details>{title}<div style="{PROSE_STYLE};margin:.5em 0">{thinking}</div></details>'
    return f'{thinking}<div style="{PROSE_STYLE};margin:.5em 0">{"".join(tokens[first:])}</div>'


def legend_html() -> str:
    """Return the legend of the shades as safe HTML."""
    tile = '<span style="display:inline-block;width:1.4em;height:.8em;background:{}"></span>'
    tiles = "".join(tile.format(shade_colour(level)) for level in range(1, SHADE_LEVELS + 1))
    return (
        f'<div style="{MUTED_STYLE};font-size:.85em;margin:.2em 0 .6em">The stronger a shade, the more open the '
        f"position: like a choice among "
        f'<span style="white-space:nowrap">1 {tiles} {2**MAX_SHADED_BITS:.0f} or more</span></div>'
    )


def _shaded_token(position: Position, distribution: Distribution) -> str:
    level = shade_levels(position, distribution)
    ground = f"background:{HATCHED if level is None else shade_colour(level[0])}"
    if level is not None and level[1] > level[0]:  # the upper bound as a line
        ground += f";border-bottom:3px solid {shade_colour(level[1])}"
    likely = ", ".join(f"{bar.label} {_describe_chance(bar)}" for bar in position.bars(distribution, limit=3)[:3])
    title = escape(f"Position {position.index + 1}: {entropy_of(position, distribution)}. {likely}")
    return f'<span title="{title}" style="{ground}">{token_html(position)}</span>'


def tooltip_html(position: Position, distribution: Distribution) -> str:
    """Return a token's tooltip as safe HTML: how open the position is, and the top three candidates."""
    rows = "".join(
        f'<tr><td style="{CODE_STYLE}">{escape(bar.label)}</td><td>{_describe_chance(bar)}</td></tr>'
        for bar in [bar for bar in position.bars(distribution, limit=3) if bar.kind == "token"][:3]
    )
    words = "unknown" if position.hidden else describe_openness(distribution.entropy)
    return f"<div>Position {position.index + 1}: {words}</div><table><tbody>{rows}</tbody></table>"


def candidates_html(position: Position, distribution: Distribution) -> str:
    """Return a position's candidates as safe HTML: model, after the temperature, after the cut."""
    return _table(position, distribution)


def position_heading(position: Position, distribution: Distribution) -> str:
    """Return a position's number, token and entropy as safe HTML."""
    token = f'<span style="{CODE_STYLE};font-weight:600">{escape(position.label)}</span>'
    return (
        f"Position {position.index + 1}: {token} "
        f'<span style="{MUTED_STYLE}">{entropy_of(position, distribution)}</span>'
    )


def describe_draw(position: Position, distribution: Distribution) -> str:
    """Describe the rank of the token that was drawn, and its probability with these parameters.

    .. code-block:: pycon

        >>> describe_draw(position, position.reshape(1.0, 0.9))
        'The arrow marks the token of the answer: the 2nd most likely, with a chance of 20.3 %.'
    """
    index = position.taken
    rank = f"not among the {position.ranked} most likely"
    if index < position.ranked:
        rank = "the most likely" if index == 0 else f"the {_ordinal(index + 1)} most likely"
    chance = distribution.probability(index)
    fate = "; these settings cut it" if chance.high == 0 else f", with a chance of {format_percent(chance)}"
    return f"The arrow marks the token of the answer: {rank}{fate}."


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _position_details(position: Position, distribution: Distribution, *, opened: bool) -> str:
    heading, table = position_heading(position, distribution), _table(position, distribution, limit=6)
    return (
        f'<details{" open" if opened else ""}><summary style="cursor:pointer">{heading}</summary>{table}</details>'
    )


def _table(position: Position, distribution: Distribution, limit: int = 10) -> str:
    bars = position.bars(distribution, limit)
    rows = [_row(bar) for bar in bars]
    if line := _cut_row(bars, distribution):
        rows.insert(*line)
    note = f'<div style="{MUTED_STYLE};font-size:.9em">{escape(describe_draw(position, distribution))}</div>'
    if position.hidden:
        bytes_ = plural(position.hidden, "byte")
        note = (
            f'<div style="{MUTED_STYLE}">The first {bytes_} of this text, part of a character, came in earlier '
            "tokens that the server doesn't report.</div>"
        )
    cuts = [f"top_k {distribution.top_k}"] if distribution.top_k else []
    names = (
        "token",
        "model",
        f"temperature {distribution.temperature:g}",
        ", ".join([*cuts, f"top_p {distribution.top_p:g}"]),
    )
    heads = "".join(f'<th scope="col" style="text-align:left;{MUTED_STYLE}">{name}</th>' for name in names)
    return (
        f'{note}<table style="margin:.2em 0 .6em;width:100%;max-width:52em;table-layout:fixed">'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _cut_row(bars: list[Bar], distribution: Distribution) -> tuple[int, str] | None:
    """Return the index and the HTML of the row that separates the cut candidates; None if nothing is cut."""
    kept = [bar.survives is True for bar in bars]
    if all(kept) or not (distribution.top_k or distribution.top_p < 1 or distribution.temperature == 0):
        return None
    names = [f"top_k {distribution.top_k}"] if distribution.top_k else []
    names += [f"top_p {distribution.top_p:g}"] if distribution.top_p < 1 else []
    low, high = distribution.survivors
    count = f"at least {low}" if distribution.may_keep_rest else f"{low} to {high}" if low < high else f"{low}"
    words = f"{' and '.join(names) or 'temperature 0'} keeps {count} token{'' if count == '1' else 's'}"
    style = f"text-align:left;border-top:2px solid {LINE_COLOUR};padding-top:0"
    small = f'<span style="font-size:.85em;{MUTED_STYLE}">{words}</span>'
    return kept.index(False), f'<tr style="background:none"><td colspan="4" style="{style}">{small}</td></tr>'


def _row(bar: Bar) -> str:
    is_cut = bar.survives is False
    font = CODE_STYLE if bar.kind == "token" else MUTED_STYLE
    style = f"text-align:left;font-weight:{600 if bar.taken else 400};{font}"
    name = f'<th scope="row" style="{style}">{escape(bar.label)}{" ←" if bar.taken else ""}</th>'
    drawn = f'<td style="{MUTED_STYLE};text-align:left">cut</td>' if is_cut else _share_cell(bar.probability)
    return f'<tr style="background:none">{name}{_share_cell(bar.before)}{_share_cell(bar.share)}{drawn}</tr>'


def _share_cell(share: Bounds) -> str:
    """Return a table cell with a bar as long as a share; a paler bar extends to the upper bound."""
    low, high = (f"{100 * part:.3g}%" for part in share)
    pale = f",rgba({TINT},.18) {low} {high}" if high != low else ""
    bar = f"linear-gradient(90deg,rgba({TINT},.4) {low}{pale},transparent {high})"
    return f'<td style="text-align:left;background:{bar}">{format_percent(share)}</td>'
