// The page: pools, views, and the updates that reach them.

import { poolButtons } from "./actions.js";
import { post } from "./api.js";
import { connections } from "./connections.js";
import { announce, el, keyed, say, setAttribute, setHidden, setText } from "./dom.js";
import { drainCard } from "./drain.js";
import { events } from "./events.js";
import { count, duration, plural, statusName, statusText, visible } from "./format.js";
import { names, topics } from "./groups.js";
import { overview } from "./overview.js";
import { settings } from "./settings.js";
import { connect } from "./stream.js";

const VIEWS = { overview, connections, topics, names, events, settings };
/** At most two renders a second. */
const RENDER_MS = 500;

const by = (id) => document.getElementById(id);
let [hello, update, view, route, timer, rendered] = [null, null, null, { pool: null, view: "overview" }, 0, 0];
const ready = new Map();

const context = {
  pool: null,
  minutes: 1,
  readOnly: false,
  report: () => update?.pools.find((pool) => pool.id === context.pool),
  name: () => visible(context.report()?.name ?? "", 60),
  /** Opens a view, with what it shows. */
  open(name, part) {
    location.hash = `#${[context.pool, name, part].filter((one) => one !== undefined).join("/")}`;
  },
  changed: () => view?.changed?.(),
};
const showButtons = poolButtons(by("actions"), context);
const showDrain = drainCard(by("drain"));

function readRoute() {
  let parts = location.hash.slice(1).split("/");
  try {
    parts = parts.map((one) => decodeURIComponent(one));
  } catch {
    // Not an address of this page: its parts are unknown below.
  }
  const [pool, name, part] = parts;
  const known = hello.pools.some((one) => one.id === pool);
  return { pool: known ? pool : hello.pools[0].id, view: Object.hasOwn(VIEWS, name ?? "") ? name : "overview", part };
}

function navigate(isFirst = false) {
  if (!hello) return;
  route = readRoute();
  context.pool = route.pool;
  view?.stop?.();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  view = VIEWS[route.view](context, route.part);
  by("view").replaceChildren(view.node);
  const links = Object.keys(VIEWS).map((name) => ({ name, isCurrent: name === route.view }));
  keyed(
    by("views"),
    links,
    (one) => one.name,
    (one) => el("li", {}, el("a", {}, one.name[0].toUpperCase() + one.name.slice(1))),
    (item, one) => {
      setAttribute(item.firstElementChild, "href", `#${encodeURIComponent(route.pool)}/${one.name}`);
      setAttribute(item.firstElementChild, "aria-current", one.isCurrent ? "page" : null);
    },
  );
  view.shown?.();
  if (!isFirst) {
    // The view changes without loading a page, and the element with the focus may be gone.
    say(`${view.title} of ${context.name()}`);
    if (document.activeElement === document.body) by("main").focus({ preventScroll: true });
  }
  render();
}

function showPools() {
  keyed(
    by("pools"),
    update.pools,
    (pool) => pool.id,
    () => {
      const dot = el("span", { class: "dot", "aria-hidden": "true" });
      return el("li", {}, el("a", {}, dot, el("bdi", {}), el("span", { class: "muted" })));
    },
    (item, pool) => {
      const link = item.firstElementChild;
      setAttribute(link, "href", `#${encodeURIComponent(pool.id)}/${route.view}`);
      setAttribute(link, "aria-current", pool.id === context.pool ? "true" : null);
      setAttribute(link.children[0], "data-status", statusName(pool.info.status));
      setText(link.children[1], visible(pool.name, 60));
      setText(link.children[2], count(pool.info.connections));
    },
  );
}

function showHead(report) {
  setText(by("pool-name"), visible(report.name, 80));
  const status = statusText(report.info.status);
  setText(by("status"), status);
  setAttribute(by("status"), "data-status", statusName(report.info.status));
  setText(by("ready"), report.ready ? "ready" : "not ready");
  setAttribute(by("ready"), "data-ready", String(report.ready));
  setText(by("watched"), `watched for ${duration(report.watched)}`);
  const title = `${visible(report.name, 60)} - dashboard`;
  if (document.title !== title) document.title = title;
  for (const pool of update.pools) {
    const now = statusText(pool.info.status);
    if (ready.has(pool.id) && ready.get(pool.id) !== now) say(`${visible(pool.name, 60)} is ${now}`);
    ready.set(pool.id, now);
  }
}

function render() {
  clearTimeout(timer);
  timer = 0;
  const report = context.report();
  if (!update || !report) return;
  rendered = performance.now();
  showPools();
  showHead(report);
  showButtons(report);
  showDrain(report);
  setText(by("viewers"), plural(update.viewers, "viewer"));
  view?.tick(update);
}

function onUpdate(next) {
  // The events of messages between two renders are shown, too.
  update = timer && update ? { ...next, events: [...update.events, ...next.events] } : next;
  if (timer) return;
  timer = setTimeout(render, Math.max(0, RENDER_MS - (performance.now() - rendered)));
}

function onHello(next) {
  const [before, isFirst] = [hello, hello === null];
  if (before && before.version !== next.version) {
    location.reload();
    return;
  }
  hello = next;
  context.readOnly = next.read_only;
  setHidden(by("read-only"), !next.read_only);
  setHidden(by("sign-out"), next.access.by !== "session");
  if (isFirst || before.boot !== next.boot) {
    ready.clear();
    navigate(isFirst);
    if (!isFirst) announce("The server was restarted: all numbers start again from zero.", "warn");
  } else {
    view?.connected?.();
  }
}

const LIVE = { live: "Live", connecting: "Connecting", lost: "Not connected" };

function onState(next, age, why) {
  const isLost = next === "lost";
  const wasLost = !by("stale").hidden;
  setText(by("live"), LIVE[next]);
  setAttribute(by("live"), "data-live", String(next === "live"));
  document.body.classList.toggle("is-stale", next !== "live");
  if (isLost) {
    const text = why || "The connection to the server is lost.";
    const numbers = update ? ` These numbers are ${duration(Math.floor(age / 1000))} old.` : "";
    setText(by("stale-text"), text);
    setText(by("stale-age"), `Connecting again.${numbers}`);
    // Announced once, not each time the age changes.
    if (!wasLost) say(text);
  } else if (wasLost && next === "live") {
    say("The page is connected again.");
  }
  if (isLost || next === "live") setHidden(by("stale"), !isLost);
}

addEventListener("hashchange", () => navigate());
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  by("main").focus();
});
by("sign-out").addEventListener("click", async () => {
  try {
    await post("logout");
    location.assign("login");
  } catch (error) {
    announce(error.message, "error");
  }
});
connect({ hello: onHello, update: onUpdate, state: onState });
