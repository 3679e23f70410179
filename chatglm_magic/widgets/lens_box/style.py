"""How the lens looks: rules beside those of :mod:`..look`."""

from __future__ import annotations

from ...lenses.report import HATCHED
from ..look import BORDER, FOCUS, MUTED

LEVELS = 8
"""How many heights the mark of a token's entropy has, besides none."""

BAR = "var(--jp-brand-color1,var(--vscode-focusBorder,#1976d2))"
PALE = f"color-mix(in srgb,{BAR} 35%,transparent)"
STEP = 2.5
"""Pixels between two heights."""


def _levels() -> str:
    marks = (("low", "before"), ("high", "after"))
    return "".join(
        f".chatglm-lens button.chatglm-{name}-{n}::{part}{{height:{1 + STEP * n}px}}\n"
        for name, part in marks
        for n in range(LEVELS + 1)
    )


CSS = f"""
.chatglm-lens .chatglm-strip{{display:flex;flex-flow:row wrap;gap:6px 2px;margin:0;overflow:visible}}
.chatglm-lens .chatglm-strip .jupyter-button{{position:relative;min-width:10px;height:auto;line-height:20px;
 padding:1px 3px {6 + STEP * LEVELS:.0f}px;border:1px solid transparent;background:transparent;color:inherit;
 font-family:var(--jp-code-font-family,monospace);font-size:13px;white-space:pre;text-overflow:clip;
 overflow:visible;box-shadow:none}}
.chatglm-lens .chatglm-strip .jupyter-button:hover{{border-color:{BORDER}}}
.chatglm-lens .chatglm-strip .chatglm-open{{border-color:{FOCUS};font-weight:600}}
.chatglm-lens .chatglm-strip .jupyter-button::before,.chatglm-lens .chatglm-strip .jupyter-button::after{{
 content:"";position:absolute;left:2px;right:2px;bottom:2px;background:{BAR}}}
.chatglm-lens .chatglm-strip .jupyter-button::after{{background:{PALE}}}
.chatglm-lens .chatglm-strip .chatglm-untold::before{{height:10px;background:{HATCHED}}}
.chatglm-lens .chatglm-strip .chatglm-answer-start{{border-left:3px solid {MUTED};padding-left:5px}}
.chatglm-lens .chatglm-shape{{display:grid;gap:8px 24px;grid-template-columns:repeat(auto-fit,minmax(240px,1fr))}}
.chatglm-lens .chatglm-bars table{{border-collapse:collapse;margin:0;font-size:13px}}
.chatglm-lens .chatglm-bars th,.chatglm-lens .chatglm-bars td{{background:none}}
.chatglm-lens .chatglm-bars thead th{{font-weight:400;color:{MUTED}}}
{_levels()}"""
