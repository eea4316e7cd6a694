// The overview of a pool: numbers, charts, listeners, acceptors.

import { get, poolPath } from "./api.js";
import { chart } from "./charts.js";
import { el, keyed, setAttribute, setHidden, setText } from "./dom.js";
import {
  bytes,
  bytesPerSecond,
  count,
  duration,
  expiry,
  perSecond,
  short,
  timeOfDay,
  visible,
  words,
} from "./format.js";
import { OLD_MS } from "./table.js";

/** The interval at which the history of 1, 10 and 60 minutes is read, in milliseconds. */
const STEPS = { 1: 900, 10: 4900, 60: 14_900 };

const REFUSED = ["limit", "per_peer", "rate", "denied", "overload", "descriptors", "draining"];
const CLOSED = [
  "local",
  "peer",
  "idle",
  "error",
  "killed",
  "slow_consumer",
  "handshake",
  "shutdown",
  "packet_timeout",
  "send_timeout",
  "too_long",
  "packet_rate",
  "max_age",
  "truncated",
  "panic",
  "replaced",
  "detached",
];

/** The tiles: name, value, what it means, and a share from 0 to 1 for those with a limit. */
function tiles(report, process, slow) {
  const { info, rates } = report;
  const share = (value, limit) => (limit ? value / limit : undefined);
  const sum = (counts) => Object.values(counts).reduce((total, value) => total + value, 0);
  return [
    {
      name: "Connections",
      value: count(info.connections),
      note: `of ${count(info.max_connections)}`,
      share: share(info.connections, info.max_connections),
    },
    { name: "Accepted", value: perSecond(rates.accepted), note: `${count(info.accepted)} in all` },
    { name: "Refused", value: perSecond(rates.refused), note: `${count(sum(info.refused))} in all` },
    { name: "Ended", value: perSecond(rates.closed), note: `${count(sum(info.closed))} in all` },
    { name: "Packets", value: perSecond(rates.packets), note: `${short(info.packets)} in all` },
    { name: "Received", value: bytesPerSecond(rates.bytes_in), note: `${bytes(info.bytes_in)} in all` },
    { name: "Sent", value: bytesPerSecond(rates.bytes_out), note: `${bytes(info.bytes_out)} in all` },
    { name: "Unsent", value: bytes(info.unsent), note: `${count(info.dropped)} replies left out` },
    { name: "Slow consumers", value: slow === null ? "-" : count(slow), note: "above high watermark", warn: slow > 0 },
    { name: "Handshakes", value: count(info.handshakes), note: `${count(sum(info.handshake_failures))} failed` },
    { name: "Waiting peers", value: count(info.held), note: `${count(info.waiting_acceptors)} acceptors at the limit` },
    { name: "Memory", value: process.resident_bytes ? bytes(process.resident_bytes) : "-", note: "of the process" },
    {
      name: "Descriptors",
      value: process.descriptors ? count(process.descriptors) : "-",
      note: process.max_descriptors ? `of ${count(process.max_descriptors)}` : "open in the process",
      share: share(process.descriptors, process.max_descriptors),
    },
    { name: "CPU", value: process.cpu ?? "-", note: "of one core" },
  ];
}

function tile() {
  const meter = el("div", { class: "meter", hidden: true }, el("div", {}));
  return el(
    "div",
    { class: "tile" },
    el("dt", {}),
    el("dd", { class: "value" }),
    el("dd", { class: "note" }),
    el("dd", {}, meter),
  );
}

function showTile(node, { name, value, note, share, warn }) {
  setText(node.children[0], name);
  setText(node.children[1], value);
  setText(node.children[2], note);
  const meter = node.children[3].firstElementChild;
  setHidden(node.children[3], share === undefined);
  setHidden(meter, share === undefined);
  meter.firstElementChild.style.setProperty("width", `${Math.min(100, (share ?? 0) * 100).toFixed(1)}%`);
  setAttribute(node, "data-level", share > 0.95 ? "error" : warn || share > 0.8 ? "warn" : null);
}

function smallTable(label, columns) {
  const body = el("tbody", {});
  const heads = columns.map((column) =>
    el("th", { scope: "col", class: column.number ? "number" : null }, column.label),
  );
  const table = el("table", {}, el("caption", {}, label), el("thead", {}, el("tr", {}, ...heads)), body);
  const row = () =>
    el("tr", {}, ...columns.map((column) => el("td", { class: column.number ? "number" : null }, el("bdi", {}))));
  return {
    node: el("div", { class: "scroll card", tabindex: 0, role: "region", "aria-label": label }, table),
    show: (items, key) =>
      keyed(body, items, key, row, (tr, item) =>
        columns.forEach((column, at) => setText(tr.children[at].firstElementChild, column.text(item))),
      ),
  };
}

function series(counts, known, prefix) {
  return Object.entries(counts ?? {})
    .map(([name, values]) => ({ name: `${prefix}${words(name)}`, values, slot: Math.max(0, known.indexOf(name)) }))
    .sort((a, b) => a.slot - b.slot);
}

export function overview(context) {
  const tileList = el("dl", { class: "tiles" });
  const listeners = smallTable("Listeners", [
    { label: "Name", text: (one) => visible(one.name) },
    { label: "Address", text: (one) => visible(one.url) },
    {
      label: "TLS",
      text: (one) =>
        one.tls ? `yes${one.certificate_expires ? `, until ${expiry(one.certificate_expires)}` : ""}` : "no",
    },
    { label: "Connections", number: true, text: (one) => count(one.connections) },
    {
      label: "Limit",
      number: true,
      text: (one) => (one.max_connections === null ? "pool limit" : count(one.max_connections)),
    },
    { label: "At limit", text: (one) => (one.is_at_limit ? "yes" : "no") },
  ]);
  const acceptors = smallTable("Acceptors", [
    { label: "Acceptor", number: true, text: (one) => one.id },
    { label: "Connections", number: true, text: (one) => count(one.connections) },
    { label: "Restarts", number: true, text: (one) => count(one.restarts) },
    { label: "Blocks", number: true, text: (one) => count(one.blocks) },
    {
      label: "Last block",
      text: (one) => (one.last_block === null ? "-" : `${duration(one.last_block)} at ${timeOfDay(one.last_block_ms)}`),
    },
  ]);
  const cross = (time) => charts.forEach((one) => one.drawn.cross(time));
  const define = (title, options, of) => ({
    drawn: chart({ title, hover: cross, ...options }),
    filled: options.filled ?? false,
    of,
  });
  const charts = [
    define("Connections", { format: short, isWhole: true, filled: true }, (history) => [
      { name: "connections", values: history.connections, slot: 0 },
    ]),
    define("Accepted and refused", { format: perSecond, stacked: true }, (history) => [
      {
        name: "accepted",
        values: history.accepted.map((all, at) => (all === null ? null : Math.max(0, all - refusals(history, at)))),
        slot: 0,
      },
      ...series(history.refused, ["", ...REFUSED], "refused: "),
    ]),
    define("Ended", { format: perSecond, stacked: true }, (history) => series(history.closed, CLOSED, "")),
    define("Packets", { format: perSecond, filled: true }, (history) => [
      { name: "packets", values: history.packets, slot: 2 },
    ]),
    define("Bytes", { format: bytesPerSecond, isBytes: true, least: 64 }, (history) => [
      { name: "received", values: history.bytes_in, slot: 0 },
      { name: "sent", values: history.bytes_out, slot: 1 },
    ]),
    define("Unsent bytes", { format: bytes, isBytes: true, least: 64, filled: true }, (history) => [
      { name: "unsent", values: history.unsent, slot: 3 },
    ]),
    define("Handshakes and waiting peers", { format: short, isWhole: true }, (history) => [
      { name: "handshakes", values: history.handshakes, slot: 4 },
      { name: "waiting", values: history.held, slot: 1 },
    ]),
    define("Replies left out", { format: perSecond, filled: true }, (history) => [
      { name: "left out", values: history.dropped, slot: 5 },
    ]),
  ];
  const periods = [1, 10, 60].map((minutes) =>
    el(
      "button",
      { type: "button", "aria-pressed": String(minutes === context.minutes), onclick: () => choose(minutes) },
      `${minutes} min`,
    ),
  );
  const error = el("p", { class: "error", role: "alert" });
  const old = el("p", { class: "old", hidden: true });
  const node = el(
    "div",
    { class: "overview" },
    el("h2", { class: "hidden-text" }, "Overview"),
    tileList,
    el(
      "div",
      { class: "section-head" },
      el("h3", {}, "History"),
      el("div", { class: "segmented", role: "group", "aria-label": "Period" }, ...periods),
    ),
    error,
    old,
    el("div", { class: "charts" }, ...charts.map((one) => one.drawn.node)),
    el("div", { class: "pair" }, listeners.node, acceptors.node),
  );
  let [slow, ticks, isLoading, loaded, shown] = [null, 0, false, -Infinity, performance.now()];
  let cpu = null;

  function choose(minutes) {
    context.minutes = minutes;
    [1, 10, 60].forEach((one, at) => setAttribute(periods[at], "aria-pressed", String(one === minutes)));
    loaded = -Infinity;
    loadHistory();
  }

  async function loadHistory() {
    const minutes = context.minutes;
    const step = STEPS[minutes];
    if (isLoading || performance.now() - loaded < step) return;
    isLoading = true;
    try {
      const history = await get(poolPath(context.pool, "history"), { minutes });
      setText(error, "");
      if (minutes === context.minutes) {
        loaded = shown = performance.now();
        showHistory(history);
      }
    } catch (failure) {
      setText(error, failure.message);
    } finally {
      isLoading = false;
    }
    if (minutes !== context.minutes) loadHistory();
  }

  function showHistory(history) {
    const times = history.times_ms;
    const end = times.at(-1) ?? Date.now();
    const common = { times, end, period: history.minutes * 60_000 };
    for (const one of charts) one.drawn.show({ ...common, filled: one.filled, series: one.of(history) });
  }

  async function countSlow() {
    slow = await get(poolPath(context.pool, "connections"), { limit: 1 }).then(
      (page) => page.slow,
      () => slow,
    );
  }

  function show(update) {
    const report = update.pools.find((pool) => pool.id === context.pool);
    if (!report) return;
    const process = { ...update.process };
    if (cpu && process.cpu_seconds !== null && update.time_ms > cpu.time) {
      cpu.shown = `${Math.round(((process.cpu_seconds - cpu.seconds) / (update.time_ms - cpu.time)) * 100_000)} %`;
    }
    if (process.cpu_seconds !== null) cpu = { time: update.time_ms, seconds: process.cpu_seconds, shown: cpu?.shown };
    process.cpu = cpu?.shown;
    keyed(tileList, tiles(report, process, slow), (one) => one.name, tile, showTile);
    listeners.show(report.listeners, (one) => one.name);
    acceptors.show(report.acceptors, (one) => one.id);
  }

  loadHistory();
  return {
    node,
    title: "Overview",
    tick(update) {
      if (ticks % 5 === 0) countSlow();
      ticks += 1;
      show(update);
      loadHistory();
      const age = performance.now() - shown;
      setHidden(old, age < STEPS[context.minutes] + OLD_MS);
      setText(old, `The charts are ${duration(Math.floor(age / 1000))} old.`);
    },
    stop: () => charts.forEach((one) => one.drawn.stop()),
  };
}

function refusals(history, at) {
  return Object.values(history.refused).reduce((sum, values) => sum + values[at], 0);
}
