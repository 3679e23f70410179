"""How the explorer looks: rules beside those of :mod:`..look`."""

from __future__ import annotations

from ..look import BORDER, ERROR, FOCUS, GAP, MUTED, SURFACE, TEXT

CSS = f"""
.chatglm-explorer{{container-type:inline-size;width:100%;min-width:0;padding:3px;gap:8px}}
.chatglm-explorer>*,.chatglm-explorer .chatglm-side>*{{margin:0}}
.chatglm-explorer .chatglm-choices{{align-items:flex-end}}
.chatglm-explorer .chatglm-choices>.widget-dropdown{{flex:0 1 16em}}
.chatglm-explorer .chatglm-progress{{height:8px;border:1px solid {BORDER};border-radius:4px;overflow:hidden;
 background:{SURFACE};margin-bottom:3px}}
.chatglm-explorer .chatglm-progress>div{{height:100%;background:{FOCUS}}}
.chatglm-explorer .chatglm-legend span span{{display:inline-block;width:1.6em;height:.8em}}
.chatglm-explorer .chatglm-tables{{display:flex;flex-flow:row wrap;gap:14px 28px;margin:0}}
.chatglm-explorer .chatglm-tables>*{{margin:0;min-width:0;max-width:100%;gap:2px}}
.chatglm-explorer .chatglm-cells{{display:grid;gap:3px;overflow:auto;padding:3px;margin:0}}
.chatglm-explorer .chatglm-cells>*{{margin:0}}
.chatglm-explorer .chatglm-cells>.chatglm-axis{{grid-column:2/-1}}
.chatglm-explorer .chatglm-wide{{overflow:auto;max-height:70vh}}
.chatglm-explorer .chatglm-head{{font-size:12px;line-height:1.35;overflow-wrap:break-word;text-align:center;
 font-variant-numeric:tabular-nums}}
.chatglm-explorer .chatglm-head-axis,.chatglm-explorer .chatglm-head-corner{{color:{MUTED}}}
.chatglm-explorer .chatglm-head-line,.chatglm-explorer .chatglm-head-corner{{text-align:right;padding-right:4px}}
.chatglm-explorer .chatglm-head-corner{{white-space:nowrap}}
.chatglm-explorer .chatglm-head-line{{padding-top:5px}}
.chatglm-explorer .chatglm-cells .jupyter-button{{display:flex;align-items:flex-start;width:auto;min-width:0;
 height:auto;min-height:66px;white-space:pre-line;overflow:hidden;overflow-wrap:anywhere;text-align:left;
 line-height:1.35;padding:4px 7px;font-size:12px;border:1px solid transparent;color:{TEXT};
 font-variant-numeric:tabular-nums}}
.chatglm-explorer .chatglm-cells .jupyter-button:is(.chatglm-is-waiting,.chatglm-is-running,.chatglm-is-partial){{
 border:1px dashed {MUTED}}}
.chatglm-explorer .chatglm-cells .jupyter-button.chatglm-is-failed{{border:2px solid {ERROR}}}
.chatglm-explorer .chatglm-cells .jupyter-button.chatglm-is-open{{outline:2px solid {TEXT};outline-offset:-1px}}
.chatglm-explorer .chatglm-cells .jupyter-button.chatglm-is-pinned{{outline:4px double {TEXT};outline-offset:-1px}}
.chatglm-explorer .chatglm-beside{{display:flex;flex-flow:row wrap;gap:{GAP};align-items:flex-start;margin:0}}
.chatglm-explorer .chatglm-side{{flex:1 1 22em;min-width:0;gap:6px;margin:0}}
.chatglm-explorer .chatglm-side .widget-dropdown{{flex:0 1 16em}}
.chatglm-explorer .chatglm-label{{color:{MUTED};font-size:12px;font-weight:600;margin:6px 0 2px}}
.chatglm-explorer .chatglm-marked{{border-left:3px solid {BORDER};padding-left:10px}}
.chatglm-explorer .chatglm-answer{{overflow-wrap:anywhere}}
"""
