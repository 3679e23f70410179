"""The viewer's own rules, beside those that all our widgets share."""

from __future__ import annotations

from ..look import BORDER, ERROR, FOCUS, GAP, MUTED, SURFACE, TEXT, UNSURE

LIST = f"""
.chatglm-viewer .chatglm-items{{display:block;border-top:1px solid {BORDER};max-height:min(62vh,640px);
 overflow-y:auto;overflow-x:hidden;scrollbar-width:thin}}
.chatglm-viewer .chatglm-item{{display:grid;grid-template-columns:auto minmax(0,1fr);gap:0 6px;
 align-items:start;border-bottom:1px solid {BORDER};margin:0;padding:4px 6px 5px;overflow:visible}}
.chatglm-viewer .chatglm-item>*{{margin:0}}
.chatglm-viewer .chatglm-item>.chatglm-tick{{grid-row:1/3;width:auto;min-width:0}}
.chatglm-viewer .chatglm-item .chatglm-tick span{{position:absolute;width:1px;height:1px;overflow:hidden;
 clip-path:inset(50%);white-space:nowrap}}
.chatglm-viewer .chatglm-no-ticks .chatglm-item{{grid-template-columns:minmax(0,1fr)}}
.chatglm-viewer .chatglm-no-ticks .chatglm-tick{{display:none}}
.chatglm-viewer .chatglm-item .jupyter-button{{width:100%;height:24px;line-height:22px;border:0;background:none;
 text-align:left;padding:0 2px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;color:{TEXT};
 box-shadow:none;font-weight:600;display:block}}
.chatglm-viewer .chatglm-item:hover{{background:{SURFACE}}}
.chatglm-viewer .chatglm-item.chatglm-open{{background:{SURFACE};box-shadow:inset 3px 0 {FOCUS}}}
.chatglm-viewer .chatglm-item .widget-html{{padding:0 2px}}
.chatglm-viewer .chatglm-snippet{{color:{TEXT};font-size:12.5px;line-height:1.4;display:-webkit-box;
 -webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden;overflow-wrap:anywhere}}
.chatglm-viewer .chatglm-snippet mark{{background:rgba(255,193,7,.4);color:inherit;border-radius:2px;
 text-decoration:underline}}
.chatglm-viewer .chatglm-itemfacts{{display:flex;flex-flow:row wrap;gap:0 {GAP};color:{MUTED};font-size:12px;
 line-height:18px;font-variant-numeric:tabular-nums}}
.chatglm-viewer .chatglm-itemfacts .chatglm-good{{color:{TEXT};font-weight:600}}
.chatglm-viewer .chatglm-itemfacts .chatglm-bad{{color:{ERROR}}}
.chatglm-viewer .chatglm-itemfacts .chatglm-unsure{{color:{UNSURE}}}
"""

CSS = f"""
.chatglm-viewer{{container-type:inline-size;width:100%;min-width:0;gap:6px;padding:3px}}
.chatglm-viewer>*{{margin:0}}
.chatglm-viewer .widget-html:has(>.widget-html-content:empty){{display:none}}
.chatglm-viewer .chatglm-quiet .jupyter-button{{height:24px;line-height:22px;padding:0 8px;min-width:0;
 font-size:12px}}
.chatglm-viewer .chatglm-bar{{align-items:flex-end}}
.chatglm-viewer .chatglm-bar>.widget-text{{flex:1 1 12em}}
.chatglm-viewer .chatglm-bar>.widget-dropdown{{flex:0 0 10.5em}}
.chatglm-viewer .widget-toggle-button.mod-active{{background:{SURFACE};box-shadow:none;border-color:{FOCUS};
 color:{TEXT}}}
.chatglm-viewer .chatglm-filters{{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2em,1fr));
 gap:6px {GAP};align-items:end;margin-bottom:6px}}
.chatglm-viewer .chatglm-filters>*,.chatglm-viewer .chatglm-pair>*{{margin:0;width:auto;min-width:0}}
.chatglm-viewer .chatglm-filters>:first-child,.chatglm-viewer .chatglm-pair{{grid-column:span 2}}
.chatglm-viewer .chatglm-pair{{display:grid;grid-template-columns:1fr 1fr;gap:{GAP}}}
.chatglm-viewer .chatglm-panes{{display:grid;grid-template-columns:minmax(0,1fr);gap:{GAP} 16px;align-items:start}}
.chatglm-viewer .chatglm-panes>*{{margin:0;min-width:0;gap:6px}}
.chatglm-viewer .chatglm-panes>*>*{{margin:0}}
.chatglm-viewer .chatglm-head{{justify-content:space-between;align-items:flex-start;flex-wrap:wrap;
 border-bottom:1px solid {BORDER};padding-bottom:6px;min-height:34px}}
.chatglm-viewer .chatglm-head>.widget-html{{flex:1 1 12em}}
.chatglm-viewer .chatglm-selected{{gap:8px;border:1px solid {FOCUS};border-radius:6px;padding:6px 10px}}
.chatglm-viewer .chatglm-selected>*{{margin:0}}
.chatglm-viewer .chatglm-file{{align-items:flex-end}}
.chatglm-viewer .chatglm-file>.widget-text{{flex:0 1 24em}}
.chatglm-viewer .chatglm-transcript.chatglm-reading .chatglm-log{{max-height:min(62vh,640px);overflow:auto}}
.chatglm-viewer dl{{max-height:none;width:auto;max-width:100%;box-sizing:border-box}}
.chatglm-viewer :is(dt,dd){{float:none;width:auto;margin:0;font-weight:400;white-space:normal}}
.chatglm-viewer dt{{white-space:nowrap}}
.chatglm-viewer .chatglm-part{{color:{MUTED};font-size:12px;font-weight:600;margin:6px 0 2px}}
.chatglm-viewer .chatglm-compared{{display:grid;gap:4px 20px;grid-template-columns:minmax(0,1fr) minmax(0,1fr);
 font-size:var(--jp-content-font-size1,14px)}}
.chatglm-viewer .chatglm-both{{grid-column:1/-1}}
{LIST}
@container (min-width:52em){{
.chatglm-viewer .chatglm-panes{{grid-template-columns:minmax(16em,22em) minmax(0,1fr)}}
}}
@container (max-width:52em){{
.chatglm-viewer .chatglm-items{{max-height:17em;border-bottom:1px solid {BORDER};padding-bottom:4px}}
}}
"""
