"""The explorer's style rules, in addition to those of :mod:`..look`."""

from __future__ import annotations

from ..look import BORDER, ERROR, FOCUS, GAP, MUTED, SURFACE, TEXT

CSS = f"""
.chatglm-explorer{{container-type:inline-size;width:100%;min-width:0;padding:3px;gap:8px}}
.chatglm-explorer>*,.chatglm-explorer .chatglm-side>*{{margin:0}}
.chatglm-explorer .chatglm-choices{{align-items:flex-end}}
.chatglm-explorer .chatglm-choices>.widget-dropdown{{flex:0 1 17em}}
.chatglm-explorer .chatglm-progress{{height:6px;border-radius:3px;overflow:hidden;background:{SURFACE};
 margin-bottom:3px}}
.chatglm-explorer .chatglm-progress>div{{height:100%;background:{FOCUS};transition:width .2s}}
.chatglm-explorer .chatglm-main{{display:flex;flex-flow:column nowrap;gap:14px;margin:0;align-items:stretch}}
.chatglm-explorer .chatglm-all-cells{{flex:1 1 auto;min-width:0;margin:0}}
.chatglm-explorer .chatglm-grid{{width:100%;margin:0;min-width:0;display:flex;flex-flow:row wrap;gap:14px 28px}}
.chatglm-explorer .chatglm-grid>*{{display:contents}}
.chatglm-explorer .chatglm-table{{flex:1 1 24em;min-width:0;max-width:100%}}
.chatglm-explorer .chatglm-cells{{display:grid;gap:3px;overflow:auto;padding:3px}}
.chatglm-explorer .chatglm-tall{{max-height:75vh}}
.chatglm-explorer [role=row]{{display:contents}}
.chatglm-explorer [role=gridcell]{{display:flex;min-width:0}}
.chatglm-explorer .chatglm-wide{{overflow:auto;max-height:70vh}}
.chatglm-explorer .chatglm-head{{font-size:12px;line-height:1.35;overflow-wrap:break-word;text-align:center;
 font-variant-numeric:tabular-nums;font-weight:600}}
.chatglm-explorer .chatglm-head[role=rowheader]{{text-align:right;padding:6px 5px 0 0}}
.chatglm-explorer .chatglm-corner{{text-align:right;font-weight:400;color:{MUTED};padding-right:5px}}
.chatglm-explorer .chatglm-tile{{flex:1 1 auto;display:flex;flex-flow:row wrap;align-content:flex-start;
 min-width:0;min-height:62px;margin:0;padding:5px 8px;gap:1px 8px;border:1px solid transparent;border-radius:4px;
 cursor:pointer;text-align:left;font:inherit;font-size:13px;line-height:1.35;color:{TEXT};background:transparent;
 font-variant-numeric:tabular-nums;overflow:hidden}}
.chatglm-explorer .chatglm-tile:hover{{border-color:{MUTED}}}
.chatglm-explorer :is(.chatglm-figure,.chatglm-state,.chatglm-facts){{font-size:12px;color:{TEXT};opacity:.85}}
.chatglm-explorer .chatglm-state{{flex:1 1 auto;text-align:right}}
.chatglm-explorer .chatglm-text{{flex:1 0 100%;font-weight:600;overflow-wrap:anywhere;display:-webkit-box;
 -webkit-box-orient:vertical;-webkit-line-clamp:3;overflow:hidden}}
.chatglm-explorer .chatglm-facts{{flex:1 0 100%}}
.chatglm-explorer .chatglm-tile:is(.chatglm-is-waiting,.chatglm-is-sent,.chatglm-is-partial){{
 border:1px dashed {BORDER}}}
.chatglm-explorer .chatglm-tile.chatglm-is-running{{border:1px solid {FOCUS}}}
.chatglm-explorer .chatglm-tile.chatglm-is-failed{{border:1px solid {ERROR}}}
.chatglm-explorer .chatglm-tile.chatglm-is-open{{outline:2px solid {TEXT};outline-offset:-1px}}
.chatglm-explorer .chatglm-tile.chatglm-is-pinned{{outline:4px double {TEXT};outline-offset:-1px}}
.chatglm-explorer .chatglm-beside{{display:flex;flex-flow:row wrap;gap:{GAP};align-items:flex-start;margin:0;
 min-width:0}}
.chatglm-explorer .chatglm-side{{flex:1 1 18em;min-width:0;gap:4px;margin:0}}
.chatglm-explorer .chatglm-side>.chatglm-row:first-child{{justify-content:space-between}}
.chatglm-explorer .chatglm-side .widget-dropdown{{flex:0 1 16em}}
.chatglm-explorer .chatglm-sample{{border-top:1px solid {BORDER};padding-top:8px}}
.chatglm-explorer .chatglm-label{{color:{MUTED};font-size:12px;margin:2px 0}}
.chatglm-explorer .chatglm-marked{{border-left:3px solid {BORDER};padding-left:10px;line-height:1.5}}
.chatglm-explorer .chatglm-answer{{overflow-wrap:anywhere}}
/* JupyterLab itself takes 180 of a page's 1100 pixels. */
@container (min-width:900px){{
 .chatglm-explorer .chatglm-main{{flex-flow:row nowrap;align-items:flex-start}}
 .chatglm-explorer .chatglm-all-cells{{flex:1 1 0}}
 .chatglm-explorer .chatglm-beside{{flex:0 0 min(38%,30em)}}
 .chatglm-explorer .chatglm-beside.chatglm-both{{flex:0 0 46%}}
}}
"""
