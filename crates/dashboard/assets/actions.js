// What a viewer can do. Each action except resuming opens a dialog that says what will happen.

import { poolPath, post } from "./api.js";
import { announce, el } from "./dom.js";
import { ask } from "./dialog.js";
import { bytes, plural, statusName, visible } from "./format.js";

const act = (context, parts, body) => post(poolPath(context.pool, ...parts), body);

/** How a connection is called in a dialog. */
function named(row) {
  const label = row.label ? ` (${visible(row.label, 60)})` : "";
  return el("bdi", {}, `connection ${row.id} of ${visible(row.peer)}${label}`);
}

function number(text, name) {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new Error(`${name} must be a number of seconds, at least 0.`);
  return value;
}

export function askSuspend(context) {
  return ask({
    title: `Suspend ${context.name()}`,
    text: ["The pool accepts no new connections until it is resumed. Live connections stay open."],
    fields: [
      {
        name: "mode",
        label: "New peers",
        type: "radio",
        value: "close",
        options: [
          { value: "close", label: "are refused: the listening sockets are closed" },
          { value: "hold", label: "wait: the listening sockets stay open, and peers queue in the kernel" },
        ],
      },
    ],
    confirm: "Suspend",
    danger: true,
    run: async ({ mode }) => {
      await act(context, ["suspend"], { mode });
      announce(`${context.name()} is suspended.`);
    },
  });
}

export async function resume(context) {
  try {
    await act(context, ["resume"]);
    announce(`${context.name()} accepts connections again.`);
  } catch (error) {
    announce(error.message, "error");
  }
}

/** `target.to` is `connection` with its `id`, `topic` with its name, or undefined: the viewer chooses. */
export function askSend(context, target = {}) {
  const fields = [{ name: "text", label: "Text", type: "textarea", required: true }];
  const isFree = target.to === undefined;
  if (isFree) {
    fields.unshift(
      {
        name: "to",
        label: "To",
        type: "select",
        value: "all",
        options: [
          { value: "all", label: "all connections" },
          { value: "topic", label: "the members of a topic" },
          { value: "connection", label: "one connection" },
        ],
      },
      { name: "which", label: "Topic or connection id", hint: "Not needed for all connections." },
    );
  }
  const to = { connection: `connection ${target.id}`, topic: `topic ${visible(target.topic ?? "", 60)}` }[target.to];
  return ask({
    title: isFree ? "Send text" : `Send text to ${to}`,
    text: ["The program converts the text for this pool and queues it for each receiver."],
    fields,
    confirm: "Send",
    run: async ({ text, to: chosen, which = "" }) => {
      let receiver = "all";
      const kind = target.to ?? chosen;
      if (kind === "topic") receiver = { topic: target.topic ?? which };
      if (kind === "connection") {
        const id = target.id ?? Number(which.trim());
        if (!Number.isSafeInteger(id) || (which.trim() === "" && isFree))
          throw new Error("The connection id must be a number.");
        receiver = { connection: id };
      }
      const { delivered, full } = await act(context, ["send"], { text, to: receiver });
      const left = full ? ` ${plural(full, "outbox")} had no room.` : "";
      announce(`Sent to ${plural(delivered, "connection")}.${left}`, full ? "warn" : "info");
    },
  });
}

export function askClose(context, row) {
  const fields = [
    {
      name: "grace",
      label: "Grace period in seconds",
      value: "5",
      hint: "After this time the connection is ended, and what is still queued is lost.",
    },
  ];
  if (context.report()?.actions.text) fields.unshift({ name: "text", label: "Last text (may be empty)" });
  return ask({
    title: `Close connection ${row.id}`,
    text: [el("p", {}, "What is queued is sent, then ", named(row), " is closed.")],
    fields,
    confirm: "Close in order",
    danger: true,
    run: async ({ text, grace }) => {
      const body = { grace: number(grace, "Grace period"), peer: row.peer };
      if (text) body.text = text;
      await act(context, ["connections", String(row.id), "close"], body);
      announce(`Connection ${row.id} is being closed.`);
    },
  });
}

export function askKill(context, row) {
  const lost =
    row.unsent > 0 ? ` The ${bytes(row.unsent)} queued for it are lost.` : " Anything queued for it is lost.";
  return ask({
    title: `Kill connection ${row.id}`,
    text: [el("p", {}, named(row), " is ended at once, without a last text.", lost)],
    confirm: "Kill",
    danger: true,
    run: async () => {
      await act(context, ["connections", String(row.id), "kill"], { peer: row.peer });
      announce(`Connection ${row.id} was killed.`);
    },
  });
}

export function askDeny(context, address = "") {
  return ask({
    title: "Deny an address",
    text: ["New connections from this address are refused until it is allowed again. The rule precedes all others."],
    fields: [
      {
        name: "address",
        label: "Address or block",
        value: address,
        required: true,
        hint: "For example 192.0.2.7 or 192.0.2.0/24.",
      },
      { name: "kill", label: "End its live connections at once", type: "checkbox" },
    ],
    confirm: "Deny",
    danger: true,
    run: async ({ address: given, kill }) => {
      const { rule, killed } = await act(context, ["deny"], { address: given.trim(), kill });
      announce(`Rule added: ${visible(rule)}. ${killed ? `${plural(killed, "connection")} ended.` : ""}`);
      context.changed();
    },
  });
}

export function askUndeny(context, address = "") {
  return ask({
    title: "Allow an address again",
    text: ["The rule that denies this address is removed. Other rules may still deny it."],
    fields: [
      { name: "address", label: "Address or block", value: address, required: true, hint: "As written in the rule." },
    ],
    confirm: "Remove the rule",
    run: async ({ address: given }) => {
      const { rule } = await act(context, ["undeny"], { address: given.trim() });
      announce(`Rule removed: ${visible(rule)}.`);
      context.changed();
    },
  });
}

export function askCertificates(context) {
  return ask({
    title: "Reload the certificates",
    text: [
      "The program reads the certificates again for new connections. If they are invalid, the current ones stay.",
    ],
    confirm: "Reload",
    run: async () => {
      await act(context, ["certificates"]);
      announce("The certificates were reloaded.");
    },
  });
}

export function askDrain(context) {
  const { info, drain } = context.report() ?? {};
  const live = info?.connections ?? 0;
  const again = "Another drain can only end the current one earlier.";
  const first = `${context.name()} stops accepting connections and ends.`;
  return ask({
    title: `Drain ${context.name()}`,
    text: [
      `${drain ? again : first} Its ${plural(live, "live connection")} ` +
        `${live === 1 ? "is" : "are"} asked to end, and ended by force after the grace period.`,
      el("p", { class: "strong" }, "This cannot be undone: the pool cannot be started again from here."),
    ],
    fields: [
      {
        name: "grace",
        label: "Grace period in seconds",
        hint: "Leave empty for the configured value, or enter \u201cnever\u201d for no limit.",
      },
      {
        name: "delay",
        label: "Delay before it stops accepting, in seconds",
        hint: "Not ready during the delay. Leave empty for the configured value.",
      },
    ],
    confirm: "Drain and end the pool",
    danger: true,
    run: async ({ grace, delay }) => {
      const body = {};
      if (grace.trim() === "never") body.grace = null;
      else if (grace.trim()) body.grace = number(grace, "Grace period");
      if (delay.trim()) body.delay = number(delay, "Delay");
      await act(context, ["drain"], body);
      announce(`${context.name()} is draining.`);
    },
  });
}

/** The buttons of a pool. They are made anew only if what is offered changes. */
export function poolButtons(group, context) {
  let before = "";
  return (report) => {
    const status = statusName(report.info.status);
    const live = status === "running" || status === "suspended";
    const offered = [
      status === "running" && ["Suspend\u2026", () => askSuspend(context)],
      status === "suspended" && ["Resume", () => resume(context)],
      status !== "ended" && report.actions.text && ["Send\u2026", () => askSend(context)],
      live && ["Deny\u2026", () => askDeny(context)],
      live && ["Allow\u2026", () => askUndeny(context)],
      live && report.actions.certificates && ["Reload certificates\u2026", () => askCertificates(context)],
      status !== "ended" && ["Drain\u2026", () => askDrain(context), "danger"],
    ].filter((one) => one && !context.readOnly);
    const now = offered.map(([label]) => label).join();
    if (now === before) return;
    before = now;
    const focused = group.contains(document.activeElement) ? document.activeElement.textContent : null;
    group.replaceChildren(
      ...offered.map(([label, run, kind]) => el("button", { type: "button", class: kind, onclick: run }, label)),
    );
    if (focused !== null)
      ([...group.children].find((button) => button.textContent === focused) ?? group.firstElementChild)?.focus();
  };
}
