/* style.h - the one style sheet of the report: light and dark by the reader's setting, one column on a phone. */
#ifndef HONE_FLOW_REPORT_STYLE_H
#define HONE_FLOW_REPORT_STYLE_H

static const char REPORT_STYLE[] =
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#1d2129;--soft:#5c6470;--line:#e2e0da;--accent:#0b6e6e;--accent2:#b4550a;--ok:#1a7f37;--bad:#b3261e;"
    "--warn:#8a6100;--okbg:#e2f3e6;--badbg:#fbe4e2;--warnbg:#fbf0d4;--grid:#eceae4}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1c2026;--ink:#e8e9eb;--soft:#a0a7b2;--line:#323841;--accent:#4fc3bd;--accent2:#f0a868;"
    "--ok:#6fd08c;--bad:#ff8a80;--warn:#f0c65a;--okbg:#17341f;--badbg:#42201d;--warnbg:#3c3014;--grid:#262b32}}"
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",sans-serif}"
    "main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}"
    "h1{font-size:1.55rem;line-height:1.25;margin:.2em 0}h2{font-size:1.12rem;margin:2.2em 0 .6em}"
    "p{margin:.4em 0;max-width:46em}.soft{color:var(--soft)}small,.small{font-size:.86rem}"
    ".eyebrow{color:var(--accent);font-weight:600;letter-spacing:.02em}"
    ".badge{display:inline-block;padding:.1em .6em;border-radius:999px;font-size:.85rem;font-weight:600;white-space:nowrap}"
    ".pass{background:var(--okbg);color:var(--ok)}.fail{background:var(--badbg);color:var(--bad)}"
    ".unresolved,.not_measured{background:var(--warnbg);color:var(--warn)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(138px,1fr));gap:10px;margin:18px 0}"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:11px 13px}"
    ".card b{display:block;font-size:1.3rem;line-height:1.25}.card span{color:var(--soft);font-size:.84rem}"
    "figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px}"
    "figcaption{font-size:.9rem;color:var(--soft);margin-bottom:6px}figcaption b{color:var(--ink)}"
    "svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .lab{fill:var(--ink);font-size:12.5px}"
    "svg .win{font-weight:700;fill:var(--accent)}svg .grid{stroke:var(--grid)}svg .axis{stroke:var(--line)}"
    ".two{display:grid;grid-template-columns:repeat(auto-fit,minmax(310px,1fr));gap:14px}"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}"
    "th,td{padding:7px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}"
    "th{font-weight:600;vertical-align:bottom}th small{display:block;font-weight:400;color:var(--soft)}tr:last-child td{border-bottom:0}"
    "td.words{text-align:left;white-space:normal;min-width:14em}tr.chosen td{background:var(--okbg)}tr.out td{color:var(--soft)}"
    "ul{padding-left:1.2em;margin:.4em 0}li{margin:.3em 0;max-width:52em}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 16px;font-size:.9rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}"
    "code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}"
    "@media(max-width:520px){dl{grid-template-columns:1fr}dd{margin-bottom:8px}main{padding:16px 12px 48px}}"
    "@media print{figure,.card,.scroll{break-inside:avoid}}";
#endif
