// The page of a running engine: asks /data once a second, draws what it is told, changes nothing.
//
//   data.now    what is true now: figures and tables
//   data.rows   samples since the last question; as many are kept as the server keeps
"use strict";

const ASK_MS = 1000;
const ROWS_MAX = 900;      // a quarter of an hour; the server keeps no more
const HEAT_ROWS_MAX = 120; // of the book: two minutes
const HEAT_BINS = 40;

const $ = (id) => document.getElementById(id);
let rows = [], run = "", symbol = "", hop = "", colours = {}, last = null, asking = false;

// --- what is asked

async function ask() {
  if (asking || document.hidden) return; // a page that nobody sees asks nothing
  asking = true;
  const asked = symbol + hop;
  try {
    const since = rows.length ? rows[rows.length - 1].n : 0;
    const answer = await fetch("data?" + new URLSearchParams({ since, symbol, hop }));
    if (!answer.ok) throw new Error(answer.status === 403 ? "its process was started anew: open its new address" : answer.status);
    const data = await answer.json();
    if (asked === symbol + hop) take(data); // else something else was chosen meanwhile
  } catch (error) {
    tell("state", "no answer", "bad");
    note(`The engine's page does not answer (${error.message}).`);
  } finally {
    asking = false;
  }
}

function take(data) {
  if (data.run !== run) { // the first answer, or another engine: its samples begin at 1
    const isFirst = run === "";
    run = data.run;
    rows = [];
    if (!isFirst) { symbol = hop = ""; return; }
  }
  if (data.symbol) { symbol = data.symbol; hop = data.hop; }
  rows.push(...data.rows);
  if (rows.length > ROWS_MAX) rows.splice(0, rows.length - ROWS_MAX);
  for (let i = 0; i < rows.length - HEAT_ROWS_MAX; i++) rows[i].book = null;
  last = data;
  show(data);
  draw();
}

function choose(what, value) {
  if (what === "symbol") symbol = value; else hop = value;
  rows = [];
  ask();
}

// --- figures and tables

function tell(id, text, kind = "") {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
  element.classList.remove("good", "bad", "warn");
  if (kind) element.classList.add(kind);
}

function note(text) {
  $("note").hidden = !text;
  $("note").textContent = text;
}

function number(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  return Number(value).toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: 0 });
}

// An amount of money: of less than a hundredth, as in BTC, eight decimals.
function money(value) {
  const size = Math.abs(value), digits = size >= 1e5 ? 0 : size >= 1 ? 2 : size >= 0.01 ? 4 : 8;
  return number(Number(Number(value).toFixed(digits)) + 0, digits);  // + 0: -0 is 0
}

function table(id, heads, lines, empty) {
  const element = $(id);
  const cells = lines.length ? lines : [[empty]];
  const body = document.createElement("tbody");
  for (const line of cells) {
    const row = body.insertRow();
    for (const cell of line) {
      const [text, kind, name] = Array.isArray(cell) ? cell : [cell, "", ""];
      const place = row.insertCell();
      place.textContent = text;
      if (kind) place.className = kind;
      if (name) place.dataset.key = name;
    }
  }
  if (!element.tHead) {
    const head = element.createTHead().insertRow();
    for (const text of heads) head.appendChild(Object.assign(document.createElement("th"), { textContent: text }));
  }
  if (element.tBodies.length) element.replaceChild(body, element.tBodies[0]); else element.appendChild(body);
}

function options(id, names, chosen) {
  const element = $(id);
  if (element.dataset.names !== names.join("|")) {
    element.dataset.names = names.join("|");
    element.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  if (document.activeElement !== element) element.value = chosen;
}

function show(data) {
  const now = data.now;
  if (!now || !now.name) { tell("state", "no engine runs", "bad"); return; }
  document.title = `${now.name} · engine`;
  tell("name", now.name);
  tell("state", data.is_running ? "running" : "ended", data.is_running ? "good" : "bad");
  const trading = now.trading, mode = trading.mode === "off" ? "watches only" : trading.is_open ? trading.mode : `${trading.mode}: closed`;
  tell("mode", mode, trading.mode === "off" ? "" : trading.is_open && trading.mode === "ACTIVE" ? "good" : "warn");
  tell("uptime", duration(now.seconds));
  tell("venue", now.venue);
  note([trading.reason, data.note].filter(Boolean).join("; "));
  const currencies = Object.entries(now.pnl.by_currency || {});
  const net = currencies.map(([currency, pnl]) => [currency, pnl.realized - -pnl.unrealized - pnl.fees]);
  tell("profit", net.map(([currency, worth]) => `${money(worth)} ${currency}`).join(", ") || "0",
       net.some(([, worth]) => worth < 0) ? "bad" : net.length ? "good" : "");
  tell("equity", now.equity ? `${money(now.equity.worth)} ${now.equity.currency}` : "–");
  tell("equity-label", now.equity && now.equity.unpriced.length ? `equity without ${now.equity.unpriced.join(", ")}` : "equity");
  tell("submitted", String(now.orders.submitted));
  tell("fills", String(now.fills));
  tell("open-orders", String(trading.open_orders ?? 0));
  tell("in-doubt", String(now.orders.unknown_open), now.orders.unknown_open ? "bad" : "");
  tell("books", `${now.live} / ${now.pairs}`, now.live === now.pairs ? "good" : "warn");
  tell("p99", `${number(now.latency_us.wire_to_strategy.p99, 0)} µs`);
  options("symbol", Object.keys(now.symbols), symbol);
  options("hop", now.hops, hop);
  tell("book-symbol", symbol);
  table("processes", ["process", "pid", "core %", "MB", "restarts"], Object.entries(now.processes).map(([name, one]) => [
    name, one.mb === null ? ["down", "bad", `pid ${name}`] : [one.pid, "", `pid ${name}`], number(one.cpu, 1), number(one.mb, 0),
    [one.restarts, one.restarts ? "warn" : "", `restarts ${name}`]]), "none");
  table("strategies", ["strategy", "state", "callbacks", "errors", "slow", "gaps", "busy %"],
    Object.entries(now.strategies).map(([name, one]) => [
      name, one.halted ? ["halted", "bad"] : one.hangs ? [`hangs in ${one.hangs.callback}`, "bad"] : ["runs", "good"],
      [one.callbacks, "", `callbacks ${name}`], [one.errors, one.errors ? "bad" : ""], [one.slow, one.slow ? "warn" : ""],
      [one.gaps, one.gaps ? "warn" : ""], number(100 * one.busy_s_per_s, 1)]), "no strategy");
  table("latencies", ["from … to", "count", "p50", "p99", "p99.9", "max"], Object.entries(now.latency_us)
    .filter(([, one]) => one.count).map(([name, one]) => [
      name, [one.count, "", `count ${name}`], number(one.p50, 1), number(one.p99, 1), number(one.p999, 1), number(one.max, 0)]), "nothing yet");
  table("pairs", ["pair", "book", "bid", "ask", "updates", "mismatches", "holds"], Object.entries(now.symbols).map(([name, one]) => [
    name, [one.state, one.state === "live" ? "good" : "warn", `state ${name}`], one.best_bid ? one.best_bid.price : "–",
    one.best_ask ? one.best_ask.price : "–", [one.updates, "", `updates ${name}`], [one.mismatches, one.mismatches ? "warn" : ""],
    [(now.positions[name] || { qty: "" }).qty, "", `position ${name}`]]), "none");
  table("orders", ["pair", "side", "qty", "filled", "limit", "state", "strategy"], data.orders.map((one) => [
    one.symbol, [one.side, one.side === "buy" ? "good" : "bad"], one.qty, one.filled, one.limit_price || "", one.state,
    one.strategy || "external"]), "no open orders");
  table("fill-table", ["time (UTC)", "pair", "side", "qty", "price", "", "strategy"], [...data.fills].reverse().slice(0, 50).map((one) => [
    one.kraken_time.slice(11, 19), one.symbol, [one.side, one.side === "buy" ? "good" : "bad"], one.qty, one.price, one.liquidity,
    one.strategy || "external"]), "no fills yet");
  table("rings", ["ring", "published", "gaps", "slots", "lag"], Object.entries(now.rings).map(([name, one]) => [
    name, [one.published, "", `published ${name}`], [one.gaps, one.gaps ? "warn" : ""], one.slots,
    Object.values(one.lag).join(", ") || "–"]), "none");
  rates(trading.rate);
}

function rates(rate) {
  const element = $("rate");
  if (!rate) { element.textContent = "this engine does not trade"; return; }
  const lines = Object.entries(rate.counts).map(([name, count]) => {
    const line = Object.assign(document.createElement("div"), { className: "bar" });
    const bar = Object.assign(document.createElement("meter"), { max: rate.limit, value: count, high: 0.8 * rate.limit, low: 0.5 * rate.limit, optimum: 0 });
    const label = Object.assign(document.createElement("span"), { textContent: name });
    const worth = Object.assign(document.createElement("span"), { textContent: `${number(count, 1)} of ${rate.limit}` });
    line.append(label, bar, worth);
    return line;
  });
  const tier = Object.assign(document.createElement("div"), { className: "dim", textContent: `${rate.tier} tier${lines.length ? "" : ": nothing used"}` });
  element.replaceChildren(tier, ...lines);
}

function duration(seconds) {
  const s = Math.floor(seconds), h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
  return h ? `${h} h ${m} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
}

// --- charts

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["panel", "text", "dim", "line", "bid", "ask", "mark"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
}

function layout(extra = {}) {
  const axis = { gridcolor: colours.line, zerolinecolor: colours.line, linecolor: colours.line, automargin: true };
  return {
    paper_bgcolor: colours.panel, plot_bgcolor: colours.panel, font: { color: colours.dim, size: 11 },
    margin: { l: 8, r: 8, t: 6, b: 20 }, showlegend: false, hovermode: "x", uirevision: symbol + hop,
    ...extra, xaxis: { ...axis, type: "date", ...extra.xaxis }, yaxis: { ...axis, side: "right", ...extra.yaxis },
  };
}

const CLEAR = { paper_bgcolor: "transparent", plot_bgcolor: "transparent" }; // a canvas shows through
const CONFIG = { displayModeBar: false, responsive: true };
const time = (row) => new Date(row.t * 1000);

function draw() {
  if (!rows.length || !window.Plotly) return;
  const times = rows.map(time);
  price(times);
  profit(times);
  equity(times);
  heat();
  latency(times);
}

function price(times) {
  const line = (key, colour) => ({ x: times, y: rows.map((row) => row[key]), name: key, mode: "lines", line: { color: colour, width: 1.3, shape: "hv" } });
  const from = rows[0].t, until = rows[rows.length - 1].t;
  const own = last.fills.filter((one) => one.symbol === symbol && one.kraken_ns / 1e9 >= from);
  const marks = ["buy", "sell"].map((side) => {
    const of = own.filter((one) => one.side === side);
    return { x: of.map((one) => new Date(one.kraken_ns / 1e6)), y: of.map((one) => Number(one.price)), text: of.map((one) => `${side} ${one.qty}`), name: side, mode: "markers",
      marker: { color: side === "buy" ? colours.bid : colours.ask, size: 9, symbol: side === "buy" ? "triangle-up" : "triangle-down", line: { width: 1, color: colours.panel } } };
  });
  const shapes = last.orders.filter((one) => one.symbol === symbol && one.limit_price).map((one) => ({
    type: "line", xref: "paper", x0: 0.75, x1: 1, y0: Number(one.limit_price), y1: Number(one.limit_price),
    line: { color: one.side === "buy" ? colours.bid : colours.ask, width: 1.5, dash: "dot" } }));
  Plotly.react("price", [line("bid", colours.bid), line("ask", colours.ask), ...marks],
    layout({ shapes, yaxis: { tickformat: ",~f" }, xaxis: { range: [new Date(from * 1000), new Date(Math.max(until, from + 60) * 1000)] } }), CONFIG);
}

function profit(times) {
  const names = Object.keys(rows[rows.length - 1].profit);
  const lines = names.map((name, place) => ({ x: times, y: rows.map((row) => row.profit[name] ?? null), name, mode: "lines",
    line: { color: place ? undefined : colours.mark, width: 1.5 }, fill: names.length === 1 ? "tozeroy" : "none", fillcolor: colours.mark + "22" }));
  Plotly.react("profit-chart", lines, layout({ showlegend: names.length > 1, yaxis: { title: { text: names.length === 1 ? names[0] : "" } } }), CONFIG);
}

function equity(times) {
  Plotly.react("equity-chart", [{ x: times, y: rows.map((row) => row.equity), mode: "lines", line: { color: colours.mark, width: 1.5 } }],
    layout({ yaxis: { title: { text: last.now.equity ? last.now.equity.currency : "" }, tickformat: ",.2f" } }), CONFIG);
}

// The book: best prices as lines, and under them how much is offered at which price.
function heat() {
  const shown = rows.filter((row) => row.book && row.book[0].length && row.book[1].length);
  if (!shown.length) { Plotly.react("book", [], layout(), CONFIG); return; }
  let low = Infinity, high = -Infinity, most = 0;
  for (const row of shown) for (const side of row.book) for (const [at, quantity] of side) {
    low = Math.min(low, at); high = Math.max(high, at); most = Math.max(most, quantity);
  }
  const step = (high - low) / HEAT_BINS || 1, cells = [];
  shown.forEach((row, column) => row.book.forEach((side, place) => {
    const bins = new Map();
    for (const [at, quantity] of side) {
      const bin = Math.min(HEAT_BINS - 1, Math.floor((at - low) / step));
      bins.set(bin, (bins.get(bin) || 0) + quantity);
    }
    for (const [bin, quantity] of bins) {
      cells.push([row.t, (shown[column + 1] || { t: row.t + 1 }).t, low + bin * step, low + (bin + 1) * step,
        place ? colours.ask : colours.bid, 0.08 + 0.92 * Math.sqrt(Math.min(1, quantity / most))]);
    }
  }));
  const line = (key) => ({ x: shown.map(time), y: shown.map((row) => row[key]), name: key, mode: "lines", line: { color: colours.text, width: 1, shape: "hv" } });
  const last_t = shown[shown.length - 1].t + 1;
  Plotly.react("book", [line("bid"), line("ask")], layout({ ...CLEAR, xaxis: { range: [time(shown[0]), new Date(last_t * 1000)] },
    yaxis: { tickformat: ",~f", range: [low, high + step] } }), CONFIG);
  paint("book", cells);
}

// p50 and p99 of each second, and under them how many took how long.
function latency(times) {
  const edges = last.now.edges_us, cells = [];
  let first = edges.length, end = 0, most = 1;
  for (const row of rows) row.counts.forEach((count, place) => {
    if (count) { first = Math.min(first, place); end = Math.max(end, place); most = Math.max(most, count); }
  });
  const lower = (place) => place ? edges[place - 1] : edges[0] / 1.5, upper = (place) => edges[Math.min(place, edges.length - 1)];
  rows.forEach((row, column) => row.counts.forEach((count, place) => {
    if (count) cells.push([row.t, (rows[column + 1] || { t: row.t + 1 }).t, lower(place), upper(place), colours.mark, 0.1 + 0.9 * Math.log1p(count) / Math.log1p(most)]);
  }));
  const line = (key, colour) => ({ x: times, y: rows.map((row) => row[key]), name: key, mode: "lines", line: { color: colour, width: 1.2 } });
  const range = first < edges.length ? [Math.log10(lower(first)), Math.log10(upper(end))] : [0, 3];
  Plotly.react("latency", [line("p50", colours.text), line("p99", colours.ask)],
    layout({ ...CLEAR, xaxis: { range: [times[0], new Date((rows[rows.length - 1].t + 1) * 1000)] }, yaxis: { type: "log", ticksuffix: " µs", dtick: 1, range } }), CONFIG);
  paint("latency", cells);
}

// Cells under a chart, at its axes. On a canvas, which is drawn over: the chart library's own
// heat map is a new image each time, which the browser keeps.
function paint(id, cells) {
  const chart = $(id), canvas = $(`${id}-heat`), context = canvas.getContext("2d"), { xaxis, yaxis } = chart._fullLayout;
  const scale = devicePixelRatio || 1, width = Math.round(chart.clientWidth * scale), height = Math.round(chart.clientHeight * scale);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, chart.clientWidth, chart.clientHeight);
  for (const [begin, end, low, high, colour, alpha] of cells) {
    const x0 = xaxis._offset + xaxis.d2p(begin * 1000), x1 = xaxis._offset + xaxis.d2p(end * 1000);
    const y0 = yaxis._offset + yaxis.d2p(high), y1 = yaxis._offset + yaxis.d2p(low);
    context.globalAlpha = alpha;
    context.fillStyle = colour;
    context.fillRect(x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
  }
}

// --- the beginning

addEventListener("DOMContentLoaded", () => {
  readColours();
  $("symbol").addEventListener("change", (event) => choose("symbol", event.target.value));
  $("hop").addEventListener("change", (event) => choose("hop", event.target.value));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  document.addEventListener("visibilitychange", ask);
  setInterval(ask, ASK_MS);
  ask();
});
