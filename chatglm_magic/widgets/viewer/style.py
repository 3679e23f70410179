"""The viewer's own rules, beside those that all our widgets share."""

from __future__ import annotations

from ..look import BORDER, ERROR, FOCUS, GAP, MUTED, SURFACE, TEXT, UNSURE

LIST = f"""
.chatglm-viewer .chatglm-lines{{display:block;border-top:1px solid {BORDER};container-type:inline-size}}
.chatglm-viewer .chatglm-line{{display:grid;grid-template-columns:6em minmax(0,1fr) 31em;gap:0 {GAP};
 align-items:center;border-bottom:1px solid {BORDER};margin:0;padding:1px 4px}}
.chatglm-viewer .chatglm-no-ticks .chatglm-line{{grid-template-columns:minmax(0,1fr) 31em}}
.chatglm-viewer .chatglm-no-ticks .widget-checkbox{{display:none}}
.chatglm-viewer .chatglm-line>*{{margin:0}}
.chatglm-viewer .chatglm-line .jupyter-button{{width:100%;border:0;background:none;text-align:left;padding:0 4px;
 overflow:hidden;text-overflow:ellipsis;white-space:nowrap;color:{TEXT};box-shadow:none}}
.chatglm-viewer .chatglm-line:hover,.chatglm-viewer .chatglm-line.chatglm-open{{background:{SURFACE}}}
.chatglm-viewer .chatglm-line.chatglm-open{{box-shadow:inset 3px 0 {FOCUS}}}
.chatglm-viewer .chatglm-line.chatglm-open .jupyter-button{{font-weight:600}}
.chatglm-viewer .chatglm-line .widget-html-content{{display:flex;gap:0 {GAP};color:{MUTED};font-size:12px;
 line-height:18px;font-variant-numeric:tabular-nums}}
.chatglm-viewer .chatglm-line span{{flex:none;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
.chatglm-viewer .chatglm-line span.chatglm-time{{width:7em}}
.chatglm-viewer .chatglm-line span.chatglm-model{{flex:1 1 6em;min-width:0}}
.chatglm-viewer .chatglm-line span.chatglm-sampling{{width:6.5em}}
.chatglm-viewer .chatglm-line span.chatglm-state{{width:9em}}
.chatglm-viewer .chatglm-line span.chatglm-bad{{color:{ERROR}}}
.chatglm-viewer .chatglm-line span.chatglm-unsure{{color:{UNSURE}}}
@container (max-width:52em){{
.chatglm-viewer .chatglm-line{{grid-template-columns:6em minmax(0,1fr)}}
.chatglm-viewer .chatglm-no-ticks .chatglm-line{{grid-template-columns:minmax(0,1fr)}}
.chatglm-viewer .chatglm-line .jupyter-button{{height:22px;line-height:20px}}
.chatglm-viewer .chatglm-line .widget-checkbox{{grid-row:1/3}}
.chatglm-viewer .chatglm-line .widget-html{{grid-column:2;padding:0 4px 2px}}
.chatglm-viewer .chatglm-no-ticks .chatglm-line .widget-html{{grid-column:1}}
}}
@container (max-width:42em){{
.chatglm-viewer .chatglm-line span.chatglm-state{{width:7em}}
}}
"""

CSS = f"""
.chatglm-viewer{{container-type:inline-size;width:100%;min-width:0;gap:6px;padding:3px}}
.chatglm-viewer>*{{margin:0}}
.chatglm-viewer .chatglm-bar{{align-items:flex-end}}
.chatglm-viewer .chatglm-bar>.widget-text{{flex:1 1 10em}}
.chatglm-viewer .chatglm-bar>.widget-dropdown{{flex:0 0 10.5em}}
.chatglm-viewer .widget-toggle-button.mod-active{{background:{SURFACE};box-shadow:none;border-color:{FOCUS};
 color:{TEXT}}}
.chatglm-viewer .chatglm-filters{{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2em,1fr));
 gap:6px {GAP};align-items:end;margin-bottom:6px}}
.chatglm-viewer .chatglm-filters>*,.chatglm-viewer .chatglm-pair>*{{margin:0;width:auto;min-width:0}}
.chatglm-viewer .chatglm-filters>:first-child,.chatglm-viewer .chatglm-pair{{grid-column:span 2}}
.chatglm-viewer .chatglm-pair{{display:grid;grid-template-columns:1fr 1fr;gap:{GAP}}}
.chatglm-viewer .chatglm-panes{{display:grid;grid-template-columns:minmax(0,1fr);gap:{GAP};align-items:start}}
.chatglm-viewer .chatglm-panes>*{{margin:0;min-width:0;gap:6px}}
.chatglm-viewer .chatglm-opened{{gap:8px;min-width:0}}
.chatglm-viewer .chatglm-opened>*{{margin:0}}
.chatglm-viewer .chatglm-ticked,.chatglm-viewer .chatglm-pinned{{gap:8px}}
.chatglm-viewer .chatglm-ticked>*,.chatglm-viewer .chatglm-pinned>*{{margin:0}}
.chatglm-viewer .chatglm-file{{align-items:flex-end}}
.chatglm-viewer .chatglm-file>.widget-text{{flex:0 1 24em}}
.chatglm-viewer .chatglm-copier,.chatglm-viewer .chatglm-copier .widget-textarea{{width:100%}}
.chatglm-viewer .chatglm-label{{color:{MUTED};font-size:12px;font-weight:600;margin:6px 0 2px}}
.chatglm-viewer .chatglm-text{{white-space:pre-wrap;overflow-wrap:anywhere}}
.chatglm-viewer .chatglm-particulars{{display:flex;flex-flow:row wrap;gap:0 28px;
 border-top:1px solid {BORDER}}}
.chatglm-viewer .chatglm-table{{border-collapse:collapse;font-size:12px}}
.chatglm-viewer .chatglm-table th,.chatglm-viewer .chatglm-table td{{text-align:left;font-weight:400;
 padding:1px 12px 1px 0;vertical-align:top;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}}
.chatglm-viewer .chatglm-table th{{color:{MUTED};white-space:nowrap}}
.chatglm-viewer .chatglm-compared{{display:grid;gap:4px 20px;grid-template-columns:minmax(0,1fr)}}
.chatglm-viewer .chatglm-compared.chatglm-2{{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}
.chatglm-viewer .chatglm-both{{grid-column:1/-1}}
{LIST}
@container (min-width:68em){{
.chatglm-viewer .chatglm-panes.chatglm-two{{grid-template-columns:minmax(0,2fr) minmax(0,3fr)}}
}}
@container (max-width:68em){{
.chatglm-viewer .chatglm-two .chatglm-lines{{max-height:19em;overflow:auto}}
}}
"""
