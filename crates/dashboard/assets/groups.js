// Topics with their members, and names with their owners.

import { askSend } from "./actions.js";
import { get, poolPath } from "./api.js";
import { el, setHidden } from "./dom.js";
import { count, duration, visible } from "./format.js";
import { serverTable } from "./table.js";

export function topics(context) {
  const members = el("section", { class: "card details", hidden: true, tabindex: -1 });
  let [shown, opener] = [null, null];
  const table = serverTable({
    label: "Topics",
    noun: "topic",
    filterLabel: "Filter by name",
    sort: "name",
    key: (row) => row.name,
    columns: [
      { name: "name", label: "Topic", sort: "name", class: "text", text: (row) => visible(row.name) || "(empty)" },
      { name: "members", label: "Members", sort: "members", number: true, text: (row) => count(row.members) },
    ],
    load: async (parameters) => {
      const page = await get(poolPath(context.pool, "topics"), parameters);
      return { ...page, rows: page.topics };
    },
    open: (row, button) => {
      opener = button;
      open(row.name);
    },
  });
  const node = el("div", { class: "with-details" }, el("h2", { class: "hidden-text" }, "Topics"), table.node, members);

  function open(name) {
    const list = serverTable({
      label: "Members",
      noun: "member",
      filterLabel: null,
      sort: "id",
      key: (row) => row.id,
      columns: [
        { name: "id", label: "Id", number: true, text: (row) => row.id },
        { name: "label", label: "Label", class: "text", text: (row) => visible(row.label ?? "", 120) },
        { name: "peer", label: "Peer", class: "text", text: (row) => visible(row.peer ?? "") },
        { name: "age", label: "Age", number: true, text: (row) => (row.age === undefined ? "" : duration(row.age)) },
      ],
      load: async ({ page, limit }) => {
        const result = await get(poolPath(context.pool, "topic"), { name, page, limit });
        return { ...result, matching: result.members, total: result.members, rows: result.connections };
      },
      open: (row) => context.open("connections", row.id),
    });
    shown = list;
    const buttons = el("div", { class: "actions" });
    if (!context.readOnly && context.report()?.actions.text) {
      buttons.append(
        el(
          "button",
          { type: "button", onclick: () => askSend(context, { to: "topic", topic: name }) },
          "Send to the topic\u2026",
        ),
      );
    }
    buttons.append(el("button", { type: "button", onclick: close }, "Close panel"));
    const head = el(
      "div",
      { class: "section-head" },
      el("h3", {}, "Topic ", el("bdi", {}, visible(name, 80))),
      buttons,
    );
    members.replaceChildren(head, list.node);
    members.setAttribute("aria-label", `Members of ${visible(name, 80)}`);
    setHidden(members, false);
    node.classList.add("open");
    members.focus();
  }

  function close() {
    shown = null;
    setHidden(members, true);
    node.classList.remove("open");
    members.replaceChildren();
    if (opener?.isConnected) opener.focus();
  }

  members.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  return {
    node,
    title: "Topics",
    tick() {
      table.tick();
      shown?.tick();
    },
  };
}

export function names(context) {
  const table = serverTable({
    label: "Names",
    noun: "name",
    filterLabel: "Filter by name",
    sort: "name",
    key: (row) => row.name,
    columns: [
      { name: "name", label: "Name", class: "text", text: (row) => visible(row.name) || "(empty)" },
      { name: "connection", label: "Connection", number: true, text: (row) => row.connection ?? "has ended" },
    ],
    load: async ({ filter, page, limit }) => {
      const result = await get(poolPath(context.pool, "names"), { filter, page, limit });
      return { ...result, rows: result.names };
    },
    open: (row) => {
      if (row.connection !== null) context.open("connections", row.connection);
    },
  });
  return {
    node: el("div", {}, el("h2", { class: "hidden-text" }, "Names"), table.node),
    title: "Names",
    tick: () => table.tick(),
  };
}
