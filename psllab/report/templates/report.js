"use strict";
// Nothing is drawn before it is seen: plotly's script lies in the page as text, and is run with the first figure.
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, text, attributes = {}) => {
  const element = Object.assign(document.createElement(tag), attributes);
  if (text !== undefined) element.textContent = text;
  return element;
};
const run = (id) => {
  const source = document.getElementById(id);
  if (!source) return;
  document.head.append(make("script", source.textContent));
  source.remove();
};
const given = (id) => JSON.parse(document.getElementById(id).textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// The records

const runs = given("runs"), files = new Set(given("files")), parts = given("parts");
const file = (key) => files.has(key) ? `runs/${key}.json` : parts[key[0]];
const keyIn = (key) => files.has(key) ? "" : `, key ${key}`;
let unpacked;
const records = () => unpacked ??= (async () => {
  const text = $("#packed").textContent;
  if (!text || !window.DecompressionStream) return {};
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
})();

const flat = (value, name = "") => value !== null && typeof value === "object" && !Array.isArray(value)
  ? Object.entries(value).flatMap(([key, inner]) => flat(inner, name ? `${name}.${key}` : key))
  : [[name, Array.isArray(value) ? value.join(", ") : String(value)]];

const table = (caption, columns, rows) => {
  const wide = make("div", undefined, {className: "wide", tabIndex: 0});
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", caption);
  const made = make("table"), head = make("tr"), body = make("tbody");
  made.append(make("caption", caption), make("thead"), body);
  head.append(...columns.map((name) => make("th", name, {scope: "col"})));
  made.tHead.append(head);
  for (const row of rows) {
    const line = make("tr");
    line.append(...row.map((value) => make("td", value, {dir: "auto"})));
    body.append(line);
  }
  wide.append(made);
  return wide;
};

async function showRecord(experiment, label, seed, key) {
  const dialog = $("#record"), place = $("#record > div");
  $("#record-title").textContent = `${experiment}: ${label}, seed ${seed}`;
  const path = make("p", "Record: ");
  path.append(make("a", file(key), {href: file(key)}), keyIn(key));
  place.replaceChildren(path);
  dialog.showModal();
  const record = (await records())[key];
  if (!record) {
    place.append(make("p", "Its config, picks and seconds stand in the file alone."));
    return;
  }
  const seconds = [...new Set(record.cycles.flatMap((cycle) => Object.keys(cycle.seconds ?? {})))];
  place.append(table("Cycles", ["cycle", "labelled", record.metric ?? "metric", "unlabelled images seen", ...seconds.map((name) => `${name} (s)`), "memory (MiB)"],
    record.cycles.map((cycle, number) => [number, cycle.labelled, cycle.metric?.toFixed(4), cycle.unlabelled_seen,
      ...seconds.map((name) => cycle.seconds?.[name]?.toFixed(2) ?? "–"), cycle.memory ? (cycle.memory / 2 ** 20).toFixed(0) : "–"])));
  const picks = make("details", undefined, {className: "more"});
  picks.append(make("summary", "Picks"));
  record.cycles.forEach((cycle, number) => {
    if (cycle.picks) picks.append(make("p", `After cycle ${number}, ${cycle.picks} images: ${cycle.picked?.join(", ") ?? "in the file"}`, {className: "note"}));
  });
  if (record.content) picks.append(make("p", `Of these a hash is kept; pslcore verify ${key} makes them again.`, {className: "note"}));
  const {cycles, ...rest} = record;
  place.append(picks, table("Config, and where it ran", ["setting", "value"], flat(rest)));
}

function listRecords(place, curves) {
  if (place.childElementCount) return;
  for (const [experiment, label] of curves) {
    const found = runs[experiment]?.[label] ?? [];
    const line = make("div", undefined, {className: "curve"});
    line.append(make("bdi", `${experiment}${label ? `, ${label}` : ""}: `));
    if (!found.length) line.append(experiment === "table2" ? "figures/table2.json" : "no record");
    for (const [seed, key] of found) {
      const button = make("button", `seed ${seed}`, {type: "button", title: file(key) + keyIn(key)});
      button.onclick = () => showRecord(experiment, label, seed, key);
      line.append(button, make("span", ` ${files.has(key) ? file(key) : key} `, {className: "path"}));
    }
    place.append(line);
  }
}
const allRecords = $("#all-records");
const everything = () => listRecords($("#all-records > div"), Object.entries(runs).flatMap(([name, curves]) => Object.keys(curves).map((label) => [name, label])));
allRecords?.addEventListener("toggle", () => allRecords.open && everything());

// The table of claims

let claims;
function unfold(row, open) {
  const shown = row.child.isShown(), node = row.node();
  if (open === shown) return;
  if (!open) row.child.hide();
  else {
    const content = document.getElementById(`more-${node.dataset.claim}`).content.cloneNode(true);
    const records = $(".records", content);
    if (records) listRecords(records, JSON.parse(records.dataset.curves));
    row.child(content.firstElementChild, "child").show();
  }
  node.classList.toggle("open", open);
  $(".open", node).setAttribute("aria-expanded", open);
}
function clearFilters() {
  for (const select of $$(".filters select")) select.value = "";
  claims.search("").columns().search("").draw();
}
function reveal(id) {
  const row = claims.row(`[data-claim="${CSS.escape(id)}"]`);
  if (!row.any()) return;
  if (!claims.rows({search: "applied"}).indexes().toArray().includes(row.index())) clearFilters();
  const place = claims.rows({search: "applied", order: "applied"}).indexes().toArray().indexOf(row.index());
  const length = claims.page.len();
  if (length > 0) claims.page(Math.floor(place / length)).draw("page");
  unfold(row, true);
  row.node().scrollIntoView({block: "start"});
  $("button", row.node()).focus({preventScroll: true});
}
function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id.startsWith("claim-") && claims) reveal(id.slice("claim-".length));
}
if ($("#claims-table")) {
  run("tables");
  const DataTable = window.tables.fn.dataTable;
  claims = new DataTable("#claims-table", {
    order: [], pageLength: 20, lengthMenu: [20, 50, {label: "all", value: -1}], autoWidth: false,
    layout: {topStart: "search", topEnd: "info", bottomStart: "pageLength", bottomEnd: "paging"},
    language: {search: "search", info: "_START_ to _END_ of _TOTAL_ claims", infoEmpty: "no claim", infoFiltered: "(of _MAX_)", lengthMenu: "_MENU_ a page"},
  });
  $("#claims-table").addEventListener("click", (event) => {
    const button = event.target.closest("button.open");
    if (!button) return;
    const row = claims.row(button.closest("tr"));
    unfold(row, !row.child.isShown());
  });
  for (const select of $$(".filters select")) select.onchange = () =>
    claims.column(select.dataset.column).search(select.value ? (text) => text === select.value : "").draw();
  $("#all-claims").onclick = clearFilters;
  addEventListener("hashchange", follow);
  addEventListener("click", (event) => {  // the same link again
    const link = event.target.closest?.('a[href^="#claim-"]');
    if (link && link.hash === location.hash) { event.preventDefault(); follow(); }
  });
  follow();
}

// What a tile says

const tip = $("#tip");
function say(event) {
  const tile = event.target.closest?.(".tile");
  if (!tile) { tip.hidden = true; return; }
  const {verdict, claim, paper, ours, published} = tile.dataset;
  tip.replaceChildren(make("b", verdict), make("bdi", claim), make("div", `paper: ${paper}`), make("div", `ours: ${ours}`), make("div", published));
  tip.hidden = false;
  const box = tile.getBoundingClientRect(), left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${scrollX + Math.max(8, left)}px`;
  tip.style.top = `${scrollY + box.bottom + 6}px`;
}
for (const name of ["mouseover", "focusin"]) $(".board")?.addEventListener(name, say);
for (const name of ["mouseleave", "focusout"]) $(".board")?.addEventListener(name, () => { tip.hidden = true; });
addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// The figures

const paint = () => {
  const night = dark.matches && !printing;
  return night ? {ink: "#e8e8e8", grid: "#343b41", line: "#6b747c"} : {ink: "#1a1a1a", grid: "#e6e6e6", line: "#8a8a8a"};
};
const shade = (colour) => dark.matches && !printing ? ({"#000000": "#ffffff", "#0072B2": "#5b7fff", "#6A3D9A": "#b794e6", "#7A5230": "#c99b6c", "#A50F15": "#ff6b75", "#5B7F00": "#a9c94b", "#555555": "#bbbbbb"}[colour] ?? colour) : colour;
const plainText = (text) => new DOMParser().parseFromString(text.replaceAll("<br>", " "), "text/html").documentElement.textContent;

class Figure {
  constructor(place) {
    this.place = place;
    this.views = [];
    const {data, layout} = given(place.dataset.figure);
    layout.template ??= given("template");
    this.views.push({name: "as measured", data, layout, alt: layout.meta?.alt});
    const other = layout.meta?.difference;
    if (other) this.views.push({name: "difference", data: other.data, layout: {...other.layout, template: layout.template}, alt: other.layout.meta?.alt});
    this.view = 0;
    this.chosen = null;
    this.tools = make("div", undefined, {className: "tools"});
    this.plot = make("div", undefined, {className: "plot"});
    this.caption = make("figcaption");
    place.replaceChildren(this.tools, this.plot, this.caption);
    this.buildTools();
    this.draw();
  }
  get lines() { return this.views[0].data.length > 1 && this.views[0].data.every((trace) => trace.type === "scatter"); }
  buildTools() {
    if (this.views.length > 1) {
      const group = make("span", undefined, {className: "views"});
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", "what is drawn");
      const base = plainText(this.views[1].layout.yaxis.title.text).match(/difference to (.*) \(points\)/)?.[1] ?? "another";
      this.switches = ["as measured", `difference to ${base}`].map((name, number) => {
        const button = make("button", name, {type: "button"});
        button.onclick = () => { this.view = number; this.draw(); };
        return button;
      });
      group.append(...this.switches);
      this.tools.append(group);
    }
    if (!this.lines) return;
    this.methods = this.views[0].data.map((trace) => {
      const button = make("button", plainText(trace.name), {type: "button", dir: "auto"});
      button.dataset.name = trace.name;
      const swatch = make("span", undefined, {className: "swatch"});
      swatch.dataset.colour = trace.line?.color ?? trace.marker?.color;
      button.prepend(swatch);
      button.onclick = () => this.isolate(trace.name);
      return button;
    });
    this.tools.append(...this.methods);
  }
  isolate(name) {
    this.chosen = this.chosen === name ? null : name;
    this.draw();
  }
  draw() {
    const view = this.views[this.view], colours = paint(), narrow = this.plot.clientWidth < 560;
    const axis = {gridcolor: colours.grid, zerolinecolor: colours.line, linecolor: colours.line, automargin: true};
    const {meta, title, template, ...rest} = view.layout;
    const heading = (along) => ({text: along?.title?.text ?? along?.title, font: {size: narrow ? 11 : 13}});
    const layout = {...rest, template, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: !this.lines && (view.data.length > 1),
      font: {family: "system-ui, sans-serif", size: narrow ? 11 : 13, color: colours.ink},
      margin: {l: 55, r: this.direct(view) ? this.room(view, narrow) : 15, t: 12, b: 45},
      legend: {orientation: "h", y: -0.2, x: 0},
      xaxis: {...rest.xaxis, ...axis, title: heading(rest.xaxis)}, yaxis: {...rest.yaxis, ...axis, title: heading(rest.yaxis)}};
    const data = view.data.map((trace) => {
      const copy = {...trace}, out = this.chosen !== null && trace.name !== this.chosen;
      copy.opacity = out ? 0.12 : 1;
      if (trace.line?.color) copy.line = {...trace.line, color: shade(trace.line.color)};
      if (trace.marker) copy.marker = {...trace.marker, color: shade(trace.marker.color)};
      return copy;
    });
    if (printing) Object.assign(layout, {width: 640, height: 300, autosize: false});  // of a sheet of A4, see the style
    if (trimmed(data)) layout.font.size -= 1;
    Plotly.react(this.plot, data, layout, {responsive: true, displaylogo: false, displayModeBar: false});
    this.label(data, layout, colours);
    if (!this.listening) {
      this.plot.on("plotly_click", (event) => { if (this.lines) this.isolate(event.points[0].data.name); });
      this.listening = true;
    }
    this.switches?.forEach((button, number) => button.setAttribute("aria-pressed", number === this.view));
    this.methods?.forEach((button) => {
      button.setAttribute("aria-pressed", button.dataset.name === this.chosen);
      const swatch = $(".swatch", button);
      swatch.style.background = shade(swatch.dataset.colour);
    });
    const said = plainText(view.layout.title?.text ?? "");
    this.caption.textContent = said;
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", plainText(view.alt ?? said).slice(0, 4000));
    this.plot.dataset.view = this.view;
  }
  direct(view) { return this.lines && view.data.some((trace) => trace.mode?.includes("lines")); }
  room(view, narrow) {  // for the longest of the names beside the lines
    this.most = narrow ? 14 : 24;
    return 16 + (narrow ? 6 : 7) * Math.min(this.most, Math.max(...view.data.map((trace) => trace.name.length)));
  }
  short(name) { return name.length > this.most ? `${name.slice(0, this.most / 2)}…${name.slice(1 - this.most / 2)}` : name; }
  label(data, layout, colours) {  // names at the ends of their lines, pushed apart
    const view = this.views[this.view], full = this.plot._fullLayout;
    if (!this.direct(view) || !full?.yaxis?.l2p) return;
    const ends = data.map((trace) => ({trace, y: trace.y.at(-1)})).filter((end) => Number.isFinite(end.y))
      .map((end) => ({...end, wanted: full.yaxis.l2p(end.y)})).sort((one, other) => one.wanted - other.wanted);
    const gap = layout.font.size + 2;
    ends.forEach((end, number) => { end.at = number ? Math.max(end.wanted, ends[number - 1].at + gap) : end.wanted; });
    const room = full._size.h, over = ends.length ? ends.at(-1).at - room : 0;
    if (over > 0) for (let number = ends.length - 1, most = room; number >= 0; number--, most -= gap) ends[number].at = Math.min(ends[number].at, most);
    Plotly.relayout(this.plot, {annotations: ends.map(({trace, y, at, wanted}) => ({
      xref: "paper", x: 1, xanchor: "left", xshift: 6, yref: "y", y, yshift: wanted - at, showarrow: false, text: this.short(trace.name),
      font: {color: trace.line?.color ?? colours.ink, size: layout.font.size}, opacity: trace.opacity}))});
  }
}
const trimmed = (data) => data.some((trace) => trace.type === "heatmap" && trace.x?.length > 10);

const drawn = new Map();
function draw(place) {
  if (drawn.has(place)) return;
  if (!window.Plotly) run("plotly");
  drawn.set(place, new Figure(place));
}
const places = $$(".figure");
const watch = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) if (isIntersecting) { watch.unobserve(target); draw(target); }
}, {rootMargin: "400px"});
places.forEach((place) => watch.observe(place));
dark.addEventListener("change", () => drawn.forEach((figure) => figure.draw()));

// Printed, everything is unfolded and drawn

const closed = [];
let paged;
addEventListener("beforeprint", () => {
  printing = true;
  for (const details of $$("details:not([open])")) { closed.push(details); details.open = true; }
  everything();
  if (claims) {
    paged = claims.page.len();
    claims.page.len(-1).draw();
    claims.rows().every(function () { unfold(this, true); });
  }
  places.forEach(draw);
  drawn.forEach((figure) => figure.draw());
});
addEventListener("afterprint", () => {
  printing = false;
  for (const details of closed.splice(0)) details.open = false;
  if (claims) {
    claims.rows().every(function () { unfold(this, false); });
    claims.page.len(paged).draw();
  }
  drawn.forEach((figure) => { figure.draw(); Plotly.Plots.resize(figure.plot); });
});
document.documentElement.dataset.ready = "";
