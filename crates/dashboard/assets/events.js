// The last events of the pools, and what viewers did.

import { get } from "./api.js";
import { el, keyed, newId, setHidden, setText } from "./dom.js";
import { count, timeOfDay, visible, words } from "./format.js";

const KEPT = 200;
const LEVELS = ["info", "warn", "error"];

function select(name, label, options) {
  const input = el("select", { id: newId(name) }, ...options.map(([value, text]) => el("option", { value }, text)));
  return { input, node: el("div", { class: "field" }, el("label", { for: input.id }, label), input) };
}

export function events(context) {
  const filter = el("input", {
    type: "search",
    id: newId("filter"),
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 200,
  });
  const level = select("level", "Level", [
    ["info", "all"],
    ["warn", "warnings and errors"],
    ["error", "errors"],
  ]);
  const scope = select("scope", "Pool", [
    ["pool", "this one"],
    ["all", "all"],
  ]);
  const body = el("tbody", {});
  const empty = el("p", { class: "muted empty", hidden: true }, "No events.");
  const error = el("p", { class: "error", role: "alert" });
  const shown = el("p", { class: "muted" });
  const heads = ["Time", "Level", "Event", "Text"].map((label) => el("th", { scope: "col" }, label));
  const table = el(
    "table",
    {},
    el("caption", { class: "hidden-text" }, "Events, newest first"),
    el("thead", {}, el("tr", {}, ...heads)),
    body,
  );
  const node = el(
    "div",
    { class: "table" },
    el("h2", { class: "hidden-text" }, "Events"),
    el(
      "div",
      { class: "controls" },
      el("div", { class: "field grow" }, el("label", { for: filter.id }, "Filter by event or text"), filter),
      level.node,
      scope.node,
    ),
    error,
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Events" }, table),
    empty,
    shown,
  );
  let [kept, last, isLoading, isAgain] = [[], 0, false, false];

  function add(list) {
    const fresh = list.filter((event) => event.seq > last);
    if (!fresh.length) return;
    last = fresh.at(-1).seq;
    kept = [...kept, ...fresh].slice(-KEPT);
  }

  async function load() {
    // Events since the request was sent need another request.
    isAgain = isLoading;
    if (isLoading) return;
    isLoading = true;
    try {
      const answer = await get("api/events", { after: last });
      add(answer.events);
      setText(error, "");
      show();
    } catch (failure) {
      setText(error, failure.message);
    } finally {
      isLoading = false;
    }
    if (isAgain) load();
  }

  function isShown(event) {
    const wanted = filter.value.trim().toLowerCase();
    return (
      LEVELS.indexOf(event.level) >= LEVELS.indexOf(level.input.value) &&
      (scope.input.value === "all" || event.pool === null || event.pool === context.pool) &&
      (!wanted ||
        words(event.kind).includes(wanted) ||
        event.kind.includes(wanted) ||
        event.text.toLowerCase().includes(wanted))
    );
  }

  function row(event) {
    const left = event.left_out ? ` (${count(event.left_out)} earlier events of this kind were left out)` : "";
    const time = el("time", { datetime: new Date(event.time_ms).toISOString() }, timeOfDay(event.time_ms));
    return el(
      "tr",
      { class: event.level },
      el("td", {}, time),
      el("td", {}, el("span", { class: `level ${event.level}` }, event.level)),
      el("td", {}, words(event.kind)),
      el("td", { class: "event-text" }, el("bdi", {}, visible(event.text, 400)), left),
    );
  }

  function show() {
    const list = kept.filter(isShown).toReversed();
    keyed(body, list, (event) => event.seq, row);
    setHidden(empty, list.length > 0);
    setText(shown, `${count(list.length)} of the last ${count(kept.length)} events`);
  }

  filter.addEventListener("input", show);
  for (const { input } of [level, scope]) input.addEventListener("change", show);
  load();
  return {
    node,
    title: "Events",
    /** After a reconnect: the events in the meantime are in no update. */
    connected: load,
    tick(update) {
      const first = update.events[0];
      // A message contains at most 50: the others are read.
      if (first && first.seq !== last + 1) {
        load();
      } else if (first) {
        add(update.events);
        show();
      }
    },
  };
}
