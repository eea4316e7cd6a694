// The settings of a pool: value, unit, default, when a change takes effect, and the error of each.

import { get, poolPath, post } from "./api.js";
import { ask } from "./dialog.js";
import { announce, el, newId, setAttribute, setHidden, setText } from "./dom.js";
import { bytes, plural, visible, words } from "./format.js";

const UNITS = {
  count: "a number",
  bytes: "bytes",
  duration: "a duration, such as 5s, 1m 30s or never",
  rate: 'such as {"burst": 500, "per": "1s"}, or none',
  text: "text",
  switch: "on or off",
  choice: "a choice",
  rules: "one rule per line, such as deny 192.0.2.0/24",
  prefix: 'bits, such as {"v4": 32, "v6": 64}',
};
const EFFECT = { at_once: "at once", new_connections: "for new connections", restart: "after a restart" };
const CHOICES = {
  at_limit: ["wait", "close", "reset", '{"hold":"2s"}'],
  at_rate: ["refuse", '{"hold":"2s"}'],
  backlog_on_close: ["accept", "refuse", "drop"],
  refuse_with: ["close", "reset"],
  slow_consumer: ["close", "drop_newest"],
  active: ["always", "once", "passive", '{"count":10}'],
};

const isEqual = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** A value as it is written in its field. */
function written(setting, value) {
  if (setting.unit === "rules") return value.join("\n");
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** What is written in a field. What is no number or object stays a string, which the server explains if it is wrong. */
function read(setting, text) {
  if (setting.unit === "rules")
    return text
      .split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
  if (setting.unit === "text") return text;
  const trimmed = text.trim();
  if (setting.unit === "duration") return trimmed;
  try {
    return JSON.parse(trimmed);
  } catch {
    return trimmed;
  }
}

function shown(setting, value) {
  if (setting.unit === "bytes" && typeof value === "number") return `${value} (${bytes(value)})`;
  return visible(written(setting, value) || (setting.unit === "text" ? "empty" : "none"), 120);
}

function inputOf(setting, attributes) {
  if (setting.unit === "switch") {
    return el("select", attributes, el("option", { value: "true" }, "on"), el("option", { value: "false" }, "off"));
  }
  if (setting.unit === "rules" || setting.unit === "text") return el("textarea", { ...attributes, rows: 2 });
  return el("input", attributes);
}

function row(setting, context, onchange) {
  const id = newId("setting");
  const [errorId, textId] = [`${id}-error`, `${id}-text`];
  const isFixed = context.readOnly || setting.takes_effect === "restart";
  const input = inputOf(setting, {
    id,
    name: setting.name,
    "aria-describedby": `${textId} ${errorId}`,
    autocomplete: "off",
    spellcheck: "false",
    disabled: isFixed,
  });
  const choices = CHOICES[setting.name];
  let list = null;
  if (choices && !isFixed) {
    list = el("datalist", { id: `${id}-choices` }, ...choices.map((value) => el("option", { value })));
    input.setAttribute("list", list.id);
  }
  const error = el("p", { class: "error", id: errorId });
  const facts = el(
    "p",
    { class: "hint" },
    `Takes effect ${EFFECT[setting.takes_effect] ?? words(setting.takes_effect)}. `,
  );
  facts.append("Default: ", el("code", {}, shown(setting, setting.default)));
  const node = el(
    "div",
    { class: "setting" },
    el("div", {}, el("label", { for: id }, setting.name), el("p", { class: "hint", id: textId }, setting.description)),
    el(
      "div",
      {},
      input,
      list,
      el("p", { class: "hint" }, `Unit: ${UNITS[setting.unit] ?? setting.unit}`),
      facts,
      error,
    ),
  );
  const one = {
    setting,
    node,
    input,
    value: () => read(setting, input.value),
    isChanged: () => !isFixed && input.value !== one.before && !isEqual(one.value(), setting.value),
    set(value) {
      setting.value = value;
      input.value = written(setting, value);
      one.before = input.value;
      one.fail(null);
      mark();
    },
    fail(why) {
      setText(error, why ?? "");
      setAttribute(input, "aria-invalid", why ? "true" : null);
    },
  };
  const mark = () => node.classList.toggle("changed", one.isChanged());
  input.addEventListener("input", () => {
    one.fail(null);
    mark();
    onchange();
  });
  one.set(setting.value);
  return one;
}

export function settings(context) {
  const filter = el("input", { type: "search", id: newId("filter"), autocomplete: "off", spellcheck: "false" });
  const list = el("div", { class: "settings" });
  const error = el("p", { class: "error", role: "alert" });
  const changes = el("p", { role: "status" });
  const apply = el("button", { class: "primary" }, "Review and apply\u2026");
  const discard = el("button", { type: "button", onclick: () => load(true) }, "Discard");
  const failed = el("p", { class: "error", role: "alert" });
  const bar = el(
    "div",
    { class: "apply-bar", hidden: true },
    changes,
    failed,
    el("div", { class: "actions" }, discard, apply),
  );
  const form = el("form", { class: "card" }, list, error, bar);
  const node = el(
    "div",
    { class: "table" },
    el("h2", { class: "hidden-text" }, "Settings"),
    el(
      "div",
      { class: "controls" },
      el("div", { class: "field grow" }, el("label", { for: filter.id }, "Filter by name or description"), filter),
    ),
    form,
  );
  let rows = [];

  const changed = () => rows.filter((one) => one.isChanged());

  function showChanges() {
    const number = changed().length;
    setText(failed, "");
    setText(changes, number ? `${plural(number, "change")} not applied` : "");
    setHidden(bar, number === 0);
  }

  async function load(isForced) {
    try {
      const answer = await get(poolPath(context.pool, "settings"));
      setText(error, "");
      if (rows.length === answer.settings.length) {
        // What the viewer has changed stays, with the value that it was changed from.
        rows.forEach((one, at) => {
          if (isForced || !one.isChanged()) one.set(answer.settings[at].value);
        });
      } else {
        rows = answer.settings.map((setting) => row(setting, context, showChanges));
        list.replaceChildren(...rows.map((one) => one.node));
        narrow();
      }
      showChanges();
    } catch (failure) {
      setText(error, failure.message);
    }
  }

  function narrow() {
    const wanted = filter.value.trim().toLowerCase();
    for (const { node: one, setting } of rows) {
      setHidden(one, !`${setting.name} ${setting.description}`.toLowerCase().includes(wanted));
    }
  }

  /** Fails if another viewer has changed one of these settings since they were read. */
  async function check(sent) {
    const answer = await get(poolPath(context.pool, "settings"));
    const now = new Map(answer.settings.map((setting) => [setting.name, setting.value]));
    const others = sent.filter(({ setting }) => !isEqual(now.get(setting.name), setting.value));
    if (!others.length) return;
    const named = others.map(({ setting }) => {
      setting.value = now.get(setting.name);
      const why = `It was changed to ${shown(setting, setting.value)} in the meantime. Check your change, and apply it again.`;
      return { setting: setting.name, why };
    });
    throw Object.assign(new Error("Nothing was changed: a setting was changed in the meantime."), { settings: named });
  }

  /** Shows an error at its fields. Returns whether it names any. */
  function fail(failure, sent) {
    let named = failure.settings;
    if (!named.length && sent.length === 1) named = [{ setting: sent[0].setting.name, why: failure.message }];
    const found = named.map(({ setting, why }) => [rows.find((one) => one.setting.name === setting), why]);
    for (const [one, why] of found) one?.fail(why);
    const first = found.find(([one]) => one)?.[0];
    if (first) setHidden(first.node, false);
    first?.input.focus();
    first?.node.scrollIntoView({ block: "center" });
    return first !== undefined;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const sent = changed();
    if (!sent.length) return;
    const lines = sent.map((one) =>
      el(
        "li",
        {},
        `${one.setting.name}: `,
        el("code", {}, shown(one.setting, one.setting.value)),
        " becomes ",
        el("code", {}, shown(one.setting, one.value())),
      ),
    );
    let failure = null;
    const done = await ask({
      title: `Change settings of ${context.name()}`,
      text: [el("ul", {}, ...lines)],
      confirm: "Apply",
      run: async () => {
        try {
          await check(sent);
          const values = (of) => Object.fromEntries(sent.map((one) => [one.setting.name, of(one)]));
          const was = values((one) => one.setting.value);
          await post(poolPath(context.pool, "settings"), { ...values((one) => one.value()), was });
          return true;
        } catch (problem) {
          failure = problem;
          return false;
        }
      },
    });
    if (done === undefined) return;
    if (failure) {
      const isInvalid = fail(failure, sent) && failure.status !== undefined;
      setText(failed, isInvalid ? "Nothing was changed: a setting is invalid." : failure.message);
      return;
    }
    announce("The settings were changed.");
    await load(true);
  });
  filter.addEventListener("input", narrow);
  load(true);
  return {
    node,
    title: "Settings",
    tick(update) {
      if (update.events.some((event) => event.kind === "settings_changed" && event.pool === context.pool)) load(false);
    },
    changed: () => load(false),
  };
}
