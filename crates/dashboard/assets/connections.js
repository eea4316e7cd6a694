// The connections of a pool: the table, and one in detail with its actions.

import { askClose, askDeny, askKill, askSend } from "./actions.js";
import { get, poolPath } from "./api.js";
import { el, keyed, newId, setHidden, setText } from "./dom.js";
import { addressOf, bytes, count, duration, visible } from "./format.js";
import { OLD_MS, serverTable } from "./table.js";

const tls = (row) =>
  row.tls
    ? [row.tls.version || "yes", row.tls.alpn]
        .filter(Boolean)
        .map((text) => visible(text))
        .join(" ")
    : "no";

/** All columns. Details show the same. */
const COLUMNS = [
  { name: "id", label: "Id", number: true, text: (row) => row.id },
  { name: "label", label: "Label", class: "text", text: (row) => (row.label === null ? "" : visible(row.label, 120)) },
  { name: "peer", label: "Peer", class: "text", text: (row) => visible(row.peer) },
  { name: "listener", label: "Listener", class: "text", text: (row) => visible(row.listener, 60) },
  { name: "tls", label: "TLS", text: tls },
  { name: "state", label: "State", text: (row) => row.state },
  { name: "age", label: "Age", number: true, text: (row) => duration(row.age) },
  { name: "idle", label: "Idle", number: true, text: (row) => duration(row.idle) },
  { name: "bytes_in", label: "Received", number: true, text: (row) => bytes(row.bytes_in) },
  { name: "bytes_out", label: "Sent", number: true, text: (row) => bytes(row.bytes_out) },
  { name: "packets", label: "Packets", number: true, text: (row) => count(row.packets) },
  { name: "unsent", label: "Unsent", number: true, text: (row) => bytes(row.unsent) },
  { name: "dropped", label: "Left out", number: true, text: (row) => count(row.dropped) },
  { name: "acceptor", label: "Acceptor", number: true, text: (row) => row.acceptor },
].map((column) => ({ ...column, sort: column.name }));

function choice(name, label, options) {
  const select = el("select", { id: newId(name) }, ...options.map(([value, text]) => el("option", { value }, text)));
  const node = el("div", { class: "field" }, el("label", { for: select.id }, label), select);
  return { name, node, value: () => select.value, select };
}

export function connections(context, part) {
  const states = ["handshaking", "open", "waiting", "closing"].map((state) => [state, state]);
  const state = choice("state", "State", [["", "all"], ...states]);
  const listener = choice("listener", "Listener", [["", "all"]]);
  const details = el("section", { class: "card details", hidden: true, tabindex: -1 });
  let shown = null;
  let opener = null;
  const table = serverTable({
    label: "Connections",
    noun: "connection",
    filterLabel: "Filter by id, label or peer",
    columns: COLUMNS,
    sort: "id",
    key: (row) => row.id,
    extra: [state, listener],
    load: async (parameters) => {
      const page = await get(poolPath(context.pool, "connections"), parameters);
      return { ...page, rows: page.connections };
    },
    open: (row, button) => {
      opener = button;
      open(row.id);
    },
  });
  const node = el(
    "div",
    { class: "with-details" },
    el("h2", { class: "hidden-text" }, "Connections"),
    table.node,
    details,
  );

  function open(id) {
    close(false);
    shown = connectionDetails(context, id, () => close(true));
    details.replaceChildren(shown.node);
    details.setAttribute("aria-label", `Connection ${id}`);
    setHidden(details, false);
    node.classList.add("open");
    details.focus();
  }

  function close(isFocused) {
    shown = null;
    setHidden(details, true);
    node.classList.remove("open");
    details.replaceChildren();
    if (isFocused && opener?.isConnected) opener.focus();
  }

  details.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close(true);
  });

  return {
    node,
    title: "Connections",
    /** Once the view is in the page, since only then it can have the focus. */
    shown() {
      if (/^\d+$/.test(part ?? "")) open(Number(part));
    },
    tick(update) {
      const report = update.pools.find((pool) => pool.id === context.pool);
      const names = (report?.listeners ?? []).map((one) => one.name);
      keyed(
        listener.select,
        ["", ...names],
        (name) => name,
        (name) => el("option", { value: name }, name === "" ? "all" : visible(name, 60)),
      );
      table.tick();
      shown?.tick();
    },
  };
}

function connectionDetails(context, id, close) {
  const list = el("dl", { class: "facts" });
  const state = el("p", { class: "muted", role: "status" });
  const old = el("p", { class: "old", hidden: true });
  const buttons = el("div", { class: "actions", role: "group", "aria-label": "Actions on the connection" });
  const node = el(
    "div",
    {},
    el(
      "div",
      { class: "section-head" },
      el("h3", {}, `Connection ${id}`),
      el("button", { type: "button", onclick: close }, "Close panel"),
    ),
    state,
    old,
    list,
    buttons,
  );
  let [row, isLoading, hasEnded, loaded] = [null, false, false, performance.now()];

  function action(label, danger, run) {
    buttons.append(el("button", { type: "button", class: danger ? "danger" : null, onclick: run }, label));
  }

  function offer() {
    if (context.readOnly || buttons.childElementCount) return;
    if (context.report()?.actions.text)
      action("Send text\u2026", false, () => askSend(context, { to: "connection", id }));
    action("Close in order\u2026", true, () => askClose(context, row));
    action("Kill\u2026", true, () => askKill(context, row));
    const address = addressOf(row.peer);
    if (address) action("Deny address\u2026", true, () => askDeny(context, address));
  }

  async function load() {
    if (isLoading || hasEnded) return;
    isLoading = true;
    try {
      const { connection, names, topics } = await get(poolPath(context.pool, "connections", String(id)));
      row = connection;
      loaded = performance.now();
      setText(state, "");
      const facts = COLUMNS.filter((column) => column.name !== "id").map((column) => [
        column.label,
        String(column.text(row)) || "-",
      ]);
      facts.push(["Names", names.map((name) => visible(name, 80)).join(", ") || "-"]);
      facts.push(["Topics", topics.map((name) => visible(name, 80)).join(", ") || "-"]);
      const fact = ([label]) => el("div", {}, el("dt", {}, label), el("dd", {}, el("bdi", {})));
      keyed(
        list,
        facts,
        ([label]) => label,
        fact,
        (item, [, text]) => setText(item.querySelector("bdi"), text),
      );
      offer();
    } catch (failure) {
      hasEnded = failure.status === 404;
      setText(state, hasEnded ? "This connection has ended." : failure.message);
      if (hasEnded) {
        if (buttons.contains(document.activeElement)) node.querySelector("button").focus();
        buttons.replaceChildren();
      }
    } finally {
      isLoading = false;
    }
  }

  function tick() {
    load();
    const age = performance.now() - loaded;
    if (!hasEnded && age >= OLD_MS) setText(old, `These values are ${duration(Math.floor(age / 1000))} old.`);
    setHidden(old, hasEnded || age < OLD_MS);
  }

  load();
  return { node, tick };
}
