"""The appearance of all widgets: one style sheet, and the HTML and layout helpers that they share.

Colours come from the theme: JupyterLab's variable, else VS Code's, else a value that is legible on light and dark
backgrounds. Class names begin with ``chatglm-``, and every rule is scoped to ``chatglm-box``.
"""

from __future__ import annotations

import re
from typing import Any

import ipywidgets as w
import traitlets

from ..render.answers import escape_html
from ..render.outer import NO_TYPESETTING_CLASSES, disable_typesetting

TEXT = "var(--jp-ui-font-color1,var(--vscode-foreground,inherit))"
MUTED = "var(--jp-ui-font-color2,var(--vscode-descriptionForeground,#767676))"
ERROR = "var(--jp-error-color1,var(--vscode-errorForeground,#d32f2f))"
UNSURE = "#b26a00"
BORDER = "var(--jp-border-color2,var(--vscode-widget-border,rgba(128,128,128,.4)))"
SURFACE = "var(--jp-layout-color2,rgba(128,128,128,.1))"
FOCUS = "var(--jp-brand-color1,var(--vscode-focusBorder,#1976d2))"

GAP = "10px"
"""Space between neighbouring elements, in rows and in columns."""

PROSE = f"""
.chatglm-box .chatglm-answer :is(p,pre,ul,ol){{margin:0}}
.chatglm-box .chatglm-answer :is(p,ul,ol,blockquote,table){{margin-bottom:1em}}
.chatglm-box .chatglm-answer :is(ul,ol){{padding-left:2em}}
.chatglm-box .chatglm-answer :is(ul,ol) :is(ul,ol){{margin-bottom:0}}
.chatglm-box .chatglm-answer blockquote{{margin:1em 2em;padding:0 1em;border-left:5px solid {BORDER}}}
.chatglm-box .chatglm-answer :is(pre,code){{font-family:var(--jp-code-font-family,monospace);
 font-size:var(--jp-code-font-size,13px);line-height:var(--jp-code-line-height,1.3077)}}
.chatglm-box .chatglm-answer :not(pre)>code{{background:{SURFACE};padding:1px 5px}}
.chatglm-box .chatglm-answer table{{border-collapse:collapse;font-size:var(--jp-ui-font-size1,12px)}}
.chatglm-box .chatglm-answer :is(td,th){{padding:.5em;line-height:normal;vertical-align:middle}}
.chatglm-box .chatglm-answer thead{{border-bottom:1px solid {BORDER}}}
.chatglm-box .chatglm-answer tbody tr:nth-child(odd){{background:{SURFACE}}}
.chatglm-box .chatglm-answer>:last-child>:last-child{{margin-bottom:0}}
"""
"""Typesets answers in widgets as in cells, where JupyterLab has these rules and this package adds only its own."""

CSS = f"""{PROSE}
.chatglm-box{{color:{TEXT};font-size:var(--jp-ui-font-size1,13px);gap:{GAP};overflow:visible;box-sizing:border-box}}
.chatglm-box .widget-box,.chatglm-box.widget-box{{overflow:visible}}
.chatglm-box .chatglm-row{{display:flex;flex-flow:row wrap;align-items:center;gap:6px {GAP}}}
.chatglm-box .chatglm-column{{display:flex;flex-flow:column nowrap;gap:{GAP}}}
.chatglm-box .chatglm-row>*,.chatglm-box .chatglm-column>*{{margin:0}}
.chatglm-box .chatglm-above{{flex-flow:column nowrap;align-items:stretch;width:auto;height:auto;min-width:0}}
.chatglm-box .chatglm-above>.widget-label{{width:auto;text-align:left;height:auto;line-height:1.5;margin:0 0 2px;
 padding:0;color:{MUTED};font-size:12px}}
.chatglm-box .chatglm-above>input,.chatglm-box .chatglm-above>select,.chatglm-box .chatglm-above>textarea{{
 width:100%;flex:0 0 auto;box-sizing:border-box;margin:0}}
.chatglm-box input:not([type=checkbox]),.chatglm-box select{{min-height:28px}}
.chatglm-box :is(input:not([type=checkbox],[type=range]),select,textarea){{border-radius:6px}}
.chatglm-box :is(input,select,textarea){{color:{TEXT}}}
.chatglm-box :is(input,textarea)::placeholder{{color:{MUTED};opacity:1}}
.chatglm-box select{{appearance:auto;background-image:none;padding:2px 4px}}
.chatglm-box option{{color:var(--jp-ui-font-color1,#212121);background:var(--jp-layout-color1,#fff)}}
.chatglm-box .widget-checkbox{{width:auto;height:28px;line-height:28px;margin:0;overflow:visible}}
.chatglm-box .widget-checkbox .widget-label-basic{{display:flex;align-items:center;gap:6px;margin:0;
 line-height:28px;overflow:visible}}
.chatglm-box .widget-checkbox input[type=checkbox]{{flex:0 0 auto;margin:0}}
.chatglm-box .widget-html,.chatglm-box .widget-htmlmath{{width:auto;min-width:0;margin:0}}
.chatglm-box .widget-html-content{{flex:1 1 auto;min-width:0;line-height:1.5;
 font-size:var(--jp-ui-font-size1,13px)}}
.chatglm-box .widget-html-content>.{NO_TYPESETTING_CLASSES.replace(" ", ".")}{{display:contents}}
.chatglm-box .jupyter-button{{width:auto;min-width:4.5em;height:28px;line-height:26px;padding:0 12px;margin:0;
 border-radius:6px;border:1px solid {BORDER}}}
.chatglm-box .jupyter-button:not(.mod-primary,.mod-danger,.mod-active){{background:transparent}}
.chatglm-box .jupyter-button:not(.mod-primary,.mod-danger,.mod-active):hover:enabled{{background:{SURFACE};
 box-shadow:none}}
.chatglm-box .jupyter-button.mod-primary{{border-color:transparent}}
.chatglm-box .jupyter-button:disabled{{opacity:.5}}
.chatglm-box button:focus-visible,.chatglm-box input:focus-visible,.chatglm-box select:focus-visible,
.chatglm-box textarea:focus-visible,.chatglm-box summary:focus-visible,.chatglm-box .noUi-handle:focus-visible,
.chatglm-box a:focus-visible{{outline:2px solid {FOCUS}!important;outline-offset:1px}}
.chatglm-box .chatglm-card{{border:1px solid {BORDER};border-radius:10px;padding:{GAP}}}
.chatglm-box .chatglm-small{{color:{MUTED};font-size:12px;line-height:1.5}}
.chatglm-box .chatglm-heading{{font-weight:600;line-height:1.5}}
.chatglm-box .chatglm-failed{{color:{ERROR}}}
.chatglm-box .chatglm-status details{{color:{TEXT}}}
.chatglm-box summary{{cursor:pointer}}
.chatglm-box .chatglm-status pre{{white-space:pre-wrap;overflow:auto;max-height:16em;margin:4px 0;padding:6px 8px;
 border:1px solid {BORDER};border-radius:3px;font-size:12px;background:{SURFACE}}}
"""

FALLBACK = """
.chatglm-box .chatglm-fallback{max-height:0;overflow:hidden;visibility:hidden;
 animation:chatglm-late 1ms linear 4s forwards}
.chatglm-box:has(.chatglm-live) .chatglm-fallback{display:none}
@keyframes chatglm-late{to{max-height:none;overflow:visible;visibility:visible}}
"""
"""Shows elements of class ``chatglm-fallback`` if no page module has created a ``chatglm-live`` within 4 s."""


class _NotTypeset(traitlets.HasTraits):
    """Shields a widget's HTML from typesetters: see :mod:`..render.outer`."""

    @traitlets.validate("value")
    def _shield(self, proposal: dict[str, Any]) -> str:
        return disable_typesetting(proposal["value"])


class Html(_NotTypeset, w.HTML):  # type: ignore[misc]
    """HTML that a page never typesets."""


class Typeset(_NotTypeset, w.HTMLMath):  # type: ignore[misc]
    """HTML in which a page typesets only the formulas of answers."""


def style_sheet(css: str = "", *owners: str) -> w.HTML:
    """Return an invisible widget that holds the shared rules, followed by ``css``.

    It must be inside an element with the class ``chatglm-box``: ``box.add_class("chatglm-box")``.

    :param owners: classes whose rules override shared ones, even if another widget adds those again later: each
        class is repeated in its selectors, which raises their specificity.
    """
    for owner in owners:
        css = re.sub(rf"\.{owner}(?![\w-])", f".{owner}.{owner}", css)
    return w.HTML(f"<style>{CSS}{css}</style>", layout=w.Layout(display="none"))


def status_html(text: str, *, failed: bool = False, details: str = "") -> str:
    """Return a line that a screen reader announces, as safe HTML; ``details`` are plain text, collapsed."""
    role = 'role="alert"' if failed else 'role="status" aria-live="polite"'
    more = f"<details><summary>Details</summary><pre>{escape_html(details)}</pre></details>" if details else ""
    colour = "chatglm-failed" if failed else "chatglm-small"
    return f'<div class="chatglm-status" {role}><span class="{colour}">{escape_html(text)}</span>{more}</div>'


def small_html(text: str) -> str:
    """Return a line in smaller, paler type, as safe HTML."""
    return f'<div class="chatglm-small">{escape_html(text)}</div>'


def heading_html(text: str, level: int = 3) -> str:
    """Return a heading as safe HTML, without ``<h3>``, which would appear in the notebook's table of contents."""
    return f'<div class="chatglm-heading" role="heading" aria-level="{level}">{escape_html(text)}</div>'


def button(text: str, *, tooltip: str = "", primary: bool = False, **options: Any) -> w.Button:
    """Return a button with a text, since an icon alone has no name for a screen reader."""
    style = "primary" if primary else ""
    return w.Button(description=text, tooltip=tooltip or None, button_style=style, **options)


def label_above(widget: Any) -> Any:
    """Put a widget's description above it instead of to its left; return the widget."""
    widget.add_class("chatglm-above")
    return widget


def row(*children: Any) -> w.Box:
    """Return widgets side by side, wrapping if there is no room."""
    return with_class(w.Box(children), "chatglm-row")


def column(*children: Any) -> w.Box:
    """Return widgets one below the other."""
    return with_class(w.Box(children), "chatglm-column")


def close_all(widget: Any) -> None:
    """Close a widget and its descendants, whose state would otherwise be saved as long as the kernel lives."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for part in (getattr(widget, "style", None), getattr(widget, "layout", None), widget):
        if isinstance(part, w.Widget):
            part.close()


def with_class(box: w.Box, name: str) -> w.Box:
    """Add a CSS class to a box; return the box."""
    box.add_class(name)
    return box
