"""The answer of a lens as text, each token shaded by how open it was, and the sliders, as one widget."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import anywidget
import traitlets as t

from ...lenses import Distribution, Lens
from ...lenses.report import HATCHED, SHADE_LEVELS, shade_colour, shade_levels, token_html, tooltip_html
from ...render.answers import escape_html
from ...render.outer import disable_typesetting
from ...render.text import plural
from ..look import BORDER, ERROR, FOCUS, MUTED, TEXT

MAX_UNSCROLLED_TOKENS = 100
"""Tokens that are displayed without scrolling."""

SLIDER_LIMITS = {"temperature": (2.0, 10.0), "top_p": (1.0, 1.0)}
"""The usual right end of each slider, and the maximum that can be typed."""


class LensView(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """The answer with its tokens, and two sliders; the page's part is ``view.js``.

    :param fixed: whether the sliders are disabled.
    """

    _esm = (files(__package__) / "view.js").read_text(encoding="utf-8")

    html = t.Unicode().tag(sync=True)
    """The tokens."""
    marks = t.List(t.Unicode()).tag(sync=True)
    """How open each position is, as two levels, certain and possible, such as ``2-3``; ``?`` if unknown."""
    tips = t.List(t.Unicode()).tag(sync=True)
    """The tooltip of each token, as safe HTML."""
    sliders = t.List(t.Dict()).tag(sync=True)
    temperature = t.Float(1.0).tag(sync=True)
    top_p = t.Float(1.0).tag(sync=True)
    fixed = t.Bool(False).tag(sync=True)
    index = t.Int(0).tag(sync=True)
    """The selected token, from 0."""
    pointed = t.Int(-1).tag(sync=True)
    """The token under the pointer; -1 for none."""
    ready = t.Bool(False)
    """Whether a page has displayed the view."""

    def __init__(self, lens: Lens, *, fixed: bool) -> None:
        self._lens = lens
        requested = {"temperature": lens.temperature, "top_p": lens.top_p}
        values = {name: 1.0 if value is None else value for name, value in requested.items()}
        sliders = [
            {
                "name": name,
                "asked": values[name],
                "usual": max(usual, values[name]),
                "most": max(most, values[name]),
                "step": 0.05,
            }
            for name, (usual, most) in SLIDER_LIMITS.items()
        ]
        super().__init__(html=_tokens_html(lens), sliders=sliders, fixed=fixed, **values)
        self.add_class("chatglm-view")
        self.on_msg(self._on_message)

    @t.validate("temperature", "top_p")
    def _limit_value(self, proposal: dict[str, Any]) -> float:
        """Clamp a value to its range; the page itself rejects others with a message."""
        limits = {slider["name"]: slider["most"] for slider in self.sliders}
        return float(max(0.0, min(proposal["value"], limits.get(proposal["trait"].name, proposal["value"]))))

    @t.validate("index", "pointed")
    def _limit_index(self, proposal: dict[str, Any]) -> int:
        minimum = 0 if proposal["trait"].name == "index" else -1
        return max(minimum, min(int(proposal["value"]), len(self._lens) - 1))

    def mark(self, distributions: Sequence[Distribution]) -> None:
        """Show how open each position is, and its likely candidates, after the sliders have moved."""
        pairs = list(zip(self._lens, distributions, strict=True))
        self.marks = ["?" if (level := shade_levels(*pair)) is None else "{}-{}".format(*level) for pair in pairs]
        self.tips = [tooltip_html(*pair) for pair in pairs]

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict) and content.get("ready"):
            self.ready = True


def _tokens_html(lens: Lens) -> str:
    tokens = [
        f'<span role="option" tabindex="-1" aria-selected="false" data-n="{position.index}" '
        f'aria-label="{escape_html(position.label or "empty")}">{token_html(position)}</span>'
        for position in lens
    ]
    first = lens.answer_start
    long = " chatglm-long" if len(lens) - first > MAX_UNSCROLLED_TOKENS else ""
    thinking = f'<div role="listbox" aria-label="Tokens of the thinking">{"".join(tokens[:first])}</div>'
    title = f"<summary>Thinking: {plural(first, 'position')}</summary>"
    return disable_typesetting(
        (f"<details>{title}{thinking}</details>" if first else "")
        + f'<div class="chatglm-tokens{long}" role="listbox" aria-label="Tokens of the answer">'
        f"{''.join(tokens[first:])}</div>"
    )


def _shade_rules() -> str:
    rules = []
    for level in range(SHADE_LEVELS + 1):
        rules.append(f'.chatglm-view [data-open^="{level}-"]{{background:{shade_colour(level)}}}')
        if level:
            unsure = "".join(f':not([data-open="{level}-{level}"])')
            rules.append(
                f'.chatglm-view [data-open$="-{level}"]{unsure}{{box-shadow:0 2px {shade_colour(level)}}}'
            )
    return "\n".join(rules)


CSS = f"""
.chatglm-view{{display:flex;flex-flow:column nowrap;gap:10px;width:auto;margin:0;min-width:0;overflow:visible}}
.chatglm-view .chatglm-sliders{{display:grid;gap:6px 32px;
 grid-template-columns:repeat(auto-fit,minmax(280px,1fr))}}
.chatglm-view .chatglm-slider{{display:grid;grid-template-columns:6.5em minmax(0,1fr) 5em 28px;gap:2px 8px;
 align-items:center}}
.chatglm-view .chatglm-range{{width:100%;margin:0;accent-color:{FOCUS};height:20px}}
.chatglm-view .chatglm-number{{width:100%;height:28px;box-sizing:border-box;padding:0 6px;margin:0;
 border-radius:3px;border:1px solid {BORDER};background:transparent;color:{TEXT};font:inherit;
 font-variant-numeric:tabular-nums}}
.chatglm-view .chatglm-number[aria-invalid=true]{{border-color:{ERROR}}}
.chatglm-view .chatglm-reset{{height:28px;width:28px;padding:0;border:1px solid {BORDER};border-radius:3px;
 background:transparent;color:{TEXT};font:inherit;cursor:pointer}}
.chatglm-view .chatglm-reset:disabled{{opacity:.35;cursor:default}}
.chatglm-view .chatglm-error{{grid-column:2/-1;color:{ERROR};font-size:12px}}
.chatglm-view .chatglm-error:empty{{display:none}}
.chatglm-view .chatglm-frame{{position:relative;min-width:0}}
.chatglm-view .chatglm-prose{{font-size:15px;line-height:1.9;padding:2px}}
.chatglm-view .chatglm-tokens{{white-space:pre-wrap;overflow-wrap:anywhere;max-width:60em}}
.chatglm-view .chatglm-prose:has(.chatglm-long){{max-height:13.5em;overflow-y:auto}}
.chatglm-view details{{color:{MUTED};font-size:13px;white-space:pre-wrap}}
.chatglm-view [data-n]{{cursor:pointer;padding:2px 0;border-radius:2px}}
.chatglm-view [data-n]:hover{{outline:1px solid {MUTED}}}
.chatglm-view [data-n][aria-selected=true]{{outline:2px solid {TEXT};position:relative}}
.chatglm-view [data-n]:focus-visible{{outline:2px solid {FOCUS}!important;outline-offset:1px}}
.chatglm-view [data-open="?"]{{background:{HATCHED}}}
.chatglm-view .chatglm-tip{{position:absolute;z-index:5;pointer-events:none;padding:6px 10px;border-radius:4px;
 border:1px solid {BORDER};background:var(--jp-layout-color1,var(--vscode-editorWidget-background,#fff));
 color:{TEXT};box-shadow:0 2px 8px rgba(0,0,0,.25);font-size:12px;line-height:1.5;white-space:nowrap}}
.chatglm-view .chatglm-tip[hidden]{{display:none}}
.chatglm-view .chatglm-tip table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}
.chatglm-view .chatglm-tip td{{padding:0 12px 0 0}}
{_shade_rules()}
"""
