// A table whose rows the server sorts, filters and pages. Rows that stay are changed in place.

import { el, keyed, newId, setAttribute, setHidden, setText } from "./dom.js";
import { count, duration } from "./format.js";

/** From this age on, rows show how old they are. */
export const OLD_MS = 5000;

/**
 * `load` gets `{ filter, sort, order, page, limit }` with what `extra` adds, and returns `{ rows, matching, total, page, pages }`.
 * Columns: `{ name, label, sort, number, text(row), node(row) }`; the first is a button that calls `open`, if there is one.
 */
export function serverTable({ label, noun, columns, sort, key, load, open, extra = [], filterLabel, note }) {
  const state = { filter: "", sort, order: "asc", page: 1, limit: 50 };
  const filter = el("input", {
    type: "search",
    id: newId("filter"),
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 200,
  });
  const live = el("input", { type: "checkbox", id: newId("live"), checked: true });
  const limit = el(
    "select",
    { id: newId("limit") },
    ...[25, 50, 100].map((size) => el("option", { value: size }, String(size))),
  );
  limit.value = "50";
  const body = el("tbody", {});
  const heads = columns.map((column) => {
    const attributes = { scope: "col", class: column.number ? "number" : null };
    if (!column.sort) return el("th", attributes, column.label);
    const mark = el("span", { class: "sort-mark", "aria-hidden": "true" });
    return el(
      "th",
      attributes,
      el("button", { type: "button", class: "sort", onclick: () => sortBy(column) }, column.label, mark),
    );
  });
  const table = el(
    "table",
    {},
    el("caption", { class: "hidden-text" }, label),
    el("thead", {}, el("tr", {}, ...heads)),
    body,
  );
  const box = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
  const empty = el("p", { class: "muted empty", hidden: true }, `No ${noun}s.`);
  const error = el("p", { class: "error", role: "alert" });
  const old = el("p", { class: "old", hidden: true });
  const matching = el("p", { class: "muted" });
  // Read aloud after what the viewer does, and not after each update.
  const said = el("p", { class: "hidden-text", role: "status" });
  const where = el("span", { class: "page-number" });
  const first = el("button", { type: "button", onclick: () => turn(1) }, "First");
  const previous = el("button", { type: "button", onclick: () => turn(state.page - 1) }, "Previous");
  const next = el("button", { type: "button", onclick: () => turn(state.page + 1) }, "Next");
  const last = el("button", { type: "button", onclick: () => turn(pages) }, "Last");
  const node = el(
    "div",
    { class: "table" },
    el(
      "div",
      { class: "controls" },
      filterLabel ? el("div", { class: "field grow" }, el("label", { for: filter.id }, filterLabel), filter) : null,
      ...extra.map((one) => one.node),
      el("div", { class: "field" }, el("label", { for: limit.id }, "Rows"), limit),
      el("div", { class: "choice" }, live, el("label", { for: live.id }, "Live")),
    ),
    error,
    old,
    box,
    empty,
    el(
      "nav",
      { class: "pager", "aria-label": `Pages of ${label}` },
      matching,
      said,
      el("div", {}, first, previous, where, next, last),
    ),
  );
  let [pages, asked, answered, timer, shown] = [1, 0, 0, 0, performance.now()];

  function sortBy(column) {
    const reversed = state.sort === column.sort && state.order === "asc";
    // Of numbers, the greatest are of interest first.
    const start = column.number && column.name !== "id" ? "desc" : "asc";
    if (state.sort === column.sort) state.order = reversed ? "desc" : "asc";
    else Object.assign(state, { sort: column.sort, order: start });
    state.page = 1;
    showOrder();
    refresh();
  }

  function showOrder() {
    columns.forEach((column, at) => {
      const isSorted = column.sort === state.sort;
      if (!column.sort) return;
      setAttribute(heads[at], "aria-sort", isSorted ? (state.order === "asc" ? "ascending" : "descending") : null);
      setText(heads[at].querySelector(".sort-mark"), isSorted ? (state.order === "asc" ? "\u25b2" : "\u25bc") : "");
    });
  }

  function turn(page) {
    state.page = Math.max(1, page);
    box.scrollTop = 0;
    refresh();
  }

  async function refresh(isUpdate = false) {
    asked += 1;
    const number = asked;
    const parameters = { ...state };
    for (const one of extra) parameters[one.name] = one.value();
    try {
      const result = await load(parameters);
      if (number < answered) return;
      answered = number;
      shown = performance.now();
      setText(error, "");
      showAge();
      show(result);
      if (!isUpdate) setText(said, `${matching.textContent}. ${where.textContent}.`);
    } catch (failure) {
      answered = Math.max(answered, number);
      setText(error, failure.message);
    }
  }

  function showAge() {
    const age = performance.now() - shown;
    setHidden(old, age < OLD_MS);
    setText(old, `These rows are ${duration(Math.floor(age / 1000))} old.`);
  }

  function show(result) {
    pages = Math.max(1, result.pages);
    if (state.page > pages) {
      turn(pages);
      return;
    }
    const held = body.contains(document.activeElement) ? document.activeElement.closest("tr") : null;
    const place = held ? [...body.children].indexOf(held) : -1;
    keyed(body, result.rows, key, row, update);
    if (held && !held.isConnected)
      (body.children[Math.min(place, body.children.length - 1)]?.querySelector("button") ?? box).focus();
    setHidden(empty, result.rows.length > 0);
    setText(where, `Page ${count(state.page)} of ${count(pages)}`);
    const all = `${count(result.total)} ${noun}${result.total === 1 ? "" : "s"}`;
    setText(matching, result.matching === result.total ? all : `${count(result.matching)} of ${all}`);
    first.disabled = previous.disabled = state.page <= 1;
    next.disabled = last.disabled = state.page >= pages;
    note?.(result);
  }

  function row(item) {
    const cells = columns.map((column, at) => {
      const attributes = { class: column.number ? "number" : column.class };
      if (at > 0 || !open) return el("td", attributes, el("bdi", {}));
      return el("th", { ...attributes, scope: "row" }, el("button", { type: "button", class: "link" }, el("bdi", {})));
    });
    const tr = el("tr", {}, ...cells);
    if (open) tr.addEventListener("click", () => open(tr.item, tr.querySelector("button")));
    tr.item = item;
    return tr;
  }

  function update(tr, item) {
    tr.item = item;
    columns.forEach((column, at) => setText(tr.children[at].querySelector("bdi"), column.text(item)));
  }

  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const to = step && event.target.closest("tr")?.[step];
    if (!to) return;
    event.preventDefault();
    to.querySelector("button")?.focus();
  });
  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      Object.assign(state, { filter: filter.value.trim(), page: 1 });
      refresh();
    }, 200);
  });
  limit.addEventListener("change", () => {
    Object.assign(state, { limit: Number(limit.value), page: 1 });
    refresh();
  });
  for (const one of extra) one.node.addEventListener("change", () => turn(1));
  showOrder();
  refresh();

  return {
    node,
    refresh,
    /** Called with each update: loads again, unless the viewer has stopped that or an answer is outstanding. */
    tick() {
      if (live.checked && answered === asked) refresh(true);
      showAge();
    },
    focus: () => filter.focus(),
  };
}
