/** Colours are variables, so that the page's light and dark form, and what is printed, differ in these alone. */
const LIGHT = `
  --page: #f5f6f8; --card: #ffffff; --ink: #171a1f; --soft: #586070; --line: #dce0e6; --grid: #e9ecf0;
  --green: #00875f; --red: #cf4a0a; --blue: #2470c2; --purple: #a0509a; --amber: #c98500; --grey: #97a0ae;
  --idle: #8a93a11f; --wash: #eef0f3;`

const DARK = `
  --page: #101215; --card: #191c21; --ink: #e8eaee; --soft: #a3abb9; --line: #2e333c; --grid: #262b33;
  --green: #2dbd8f; --red: #ff7d47; --blue: #5ba8f2; --purple: #cc8ccc; --amber: #eeb443; --grey: #6f7887;
  --idle: #8a93a124; --wash: #22262d;`

export const PAGE_STYLE = `
:root { color-scheme: light dark; ${LIGHT} }
@media screen and (prefers-color-scheme: dark) { :root:not(.printing) { ${DARK} } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 1440px; padding: clamp(14px, 2.5vw, 36px); background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3, p, dl, dd, ul, figure { margin: 0; padding: 0; }
h1 { font-size: clamp(24px, 4vw, 34px); line-height: 1.2; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; line-height: 1.35; }
.soft { color: var(--soft); }
.small { font-size: 13px; }
.kicker { color: var(--soft); font-size: 13px; letter-spacing: 0.04em; text-transform: uppercase; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin: 2px 0 8px; }
.badge {
  --tone: var(--grey); display: inline-block; padding: 2px 12px; border-radius: 99px; font-weight: 600; font-size: 14px;
  background: color-mix(in srgb, var(--tone) 18%, transparent); border: 1px solid var(--tone); white-space: nowrap;
}
.badge.small { padding: 0 9px; font-size: 12.5px; font-weight: 500; }
.tone-green { --tone: var(--green); } .tone-red { --tone: var(--red); } .tone-blue { --tone: var(--blue); }
.tone-amber { --tone: var(--amber); } .tone-purple { --tone: var(--purple); } .tone-grey { --tone: var(--grey); }
.tone-ink { --tone: var(--ink); }
.lead { max-width: 80ch; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px; min-width: 0; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); margin-top: 22px; }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-weight: 650; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 8px; margin: 8px 0 4px; border-radius: 4px; overflow: hidden; background: var(--wash); width: 100%; }
.bar rect { fill: var(--tone); }
.grid { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 470px), 1fr)); }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 540px), 1fr)); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 8px 0; font-size: 13px; list-style: none; }
.legend li { display: flex; align-items: center; gap: 6px; }
.key { width: 12px; height: 12px; border-radius: 3px; background: var(--tone); flex: none; }
.key.dashed { height: 0; border-top: 3px dashed var(--tone); background: none; border-radius: 0; width: 16px; }
.scale { display: none; font-size: 12px; }
.plot { position: relative; display: none; height: 250px; overflow: hidden; }
.scripted .plot, .scripted .scale { display: block; }
.scripted .unscripted { display: none; }
.tip {
  position: absolute; z-index: 5; pointer-events: none; max-width: min(280px, 90%); padding: 6px 10px; font-size: 12px; line-height: 1.45;
  background: var(--card); color: var(--ink); border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 14px #0003;
  display: none; font-variant-numeric: tabular-nums;
}
.tip.shown { display: block; }
.tip div { display: flex; align-items: center; gap: 6px; }
.u-select { background: color-mix(in srgb, var(--blue) 20%, transparent); }
.u-hz .u-cursor-x, .u-vt .u-cursor-y { border-right-color: var(--soft); }
details { margin-top: 8px; }
summary { cursor: pointer; color: var(--soft); font-size: 13px; padding: 4px 0; }
summary:hover { color: var(--ink); }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; border-radius: 4px; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 15px; padding-bottom: 6px; }
th, td { overflow-wrap: break-word; text-align: left; padding: 5px 12px 5px 0; border-top: 1px solid var(--grid); vertical-align: top; }
thead td { border-top: 0; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; white-space: nowrap; vertical-align: bottom; }
tbody th { font-weight: 400; }
.part th { padding-left: 14px; color: var(--soft); }
.sum th, .sum td { font-weight: 600; }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
.wide td, .wide th { white-space: nowrap; }
.wide .text { white-space: normal; min-width: 180px; }
.warning { font-size: 14px; }
.warning + .warning { margin-top: 12px; }
.cluster { padding: 12px 16px; margin: 0 0 10px; }
.cluster > summary { display: grid; grid-template-columns: auto 1fr; gap: 4px 12px; color: var(--ink); font-size: 14.5px; padding: 0; list-style: none; align-items: start; }
.cluster > summary::-webkit-details-marker { display: none; }
.cluster > summary .what::before { content: "▸ "; color: var(--soft); }
.cluster[open] > summary .what::before { content: "▾ "; }
.count { min-width: 4.5em; padding: 1px 10px; border-radius: 99px; text-align: center; font-weight: 600; font-size: 13px; background: color-mix(in srgb, var(--tone) 18%, transparent); font-variant-numeric: tabular-nums; }
.cluster .when { grid-column: 2; color: var(--soft); font-size: 13px; }
.example { border-top: 1px solid var(--grid); margin-top: 12px; padding-top: 10px; }
code, pre, .mono { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
pre { margin: 8px 0 0; padding: 10px 12px; background: var(--wash); border-radius: 8px; white-space: pre-wrap; overflow: hidden auto; max-height: 320px; unicode-bidi: plaintext; }
dl.facts { display: grid; grid-template-columns: minmax(110px, 200px) 1fr; gap: 4px 16px; font-size: 14px; }
dl.facts dt { color: var(--soft); }
footer { margin-top: 36px; color: var(--soft); font-size: 13px; }
@media (max-width: 560px) {
  .card { padding: 13px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tile b { font-size: 20px; }
  table { font-size: 13px; }
  th, td { padding-right: 8px; }
  .plot { height: 220px; }
  dl.facts { grid-template-columns: 1fr; }
  dl.facts dd { margin-bottom: 6px; }
  .cluster > summary { grid-template-columns: 1fr; }
  .cluster > summary .count { justify-self: start; }
  .cluster .when { grid-column: 1; }
}
@media print {
  @page { margin: 14mm; }
  :root { color-scheme: light; ${LIGHT} --page: #ffffff; }
  body { padding: 0; max-width: none; font-size: 12px; }
  .card, .cluster, tr, figure { break-inside: avoid; }
  h2, h3, caption, thead { break-after: avoid; }
  .charts { grid-template-columns: 1fr; }
  .tip, figure details:not([open]) { display: none; }
  .scroll { overflow: visible; }
  .wide td, .wide th { padding-right: 6px; font-size: 10px; }
  .wide .badge { font-size: 9px; }
  .wide .mono { font-size: 9px; white-space: normal; word-break: break-all; }
  pre { max-height: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
`
