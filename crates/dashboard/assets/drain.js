// The progress of a drain, and its report.

import { el, keyed, setAttribute, setHidden, setText } from "./dom.js";
import { count, duration, statusName, timeOfDay, words } from "./format.js";

/** What is left of the time, in whole seconds. */
function left(drain) {
  if (drain.remaining === null) return "no limit";
  return `${Math.ceil(drain.remaining)} s left`;
}

function facts(report, drain) {
  const { info } = report;
  if (!drain.report) {
    return [
      ["Started", timeOfDay(drain.started_ms)],
      ["Accepts for", drain.delay_left > 0 ? duration(drain.delay_left) : "no longer"],
      ["Notified", count(drain.so_far?.asked ?? 0)],
      ["Live connections", count(info.connections)],
    ];
  }
  const done = drain.report;
  const closed = Object.entries(done.closed).filter(([, number]) => number > 0);
  return [
    ["Took", duration(done.took)],
    ["Notified", count(done.asked)],
    ["Ended by themselves", count(done.finished)],
    ["Ended at the deadline", count(done.forced)],
    ["Peers not served", count(done.unserved)],
    ["Closed", closed.map(([reason, number]) => `${words(reason)} ${count(number)}`).join(", ") || "none"],
  ];
}

/** Returns a function that shows the drain of a report. */
export function drainCard(section) {
  const title = el("h2", { id: "drain-title" });
  const time = el("p", { class: "countdown" });
  const meter = el("div", { class: "meter" }, el("div", {}));
  const list = el("dl", { class: "facts wide" });
  section.setAttribute("aria-labelledby", title.id);
  section.append(el("div", { class: "section-head" }, title, time), meter, list);
  const item = () => el("div", {}, el("dt", {}), el("dd", {}));
  return (report) => {
    const { drain } = report;
    setHidden(section, drain === null);
    if (!drain) return;
    const hasEnded = drain.report !== null || statusName(report.info.status) === "ended";
    setText(title, hasEnded ? "Drained" : "Draining");
    setText(time, hasEnded ? "" : left(drain));
    setHidden(meter, hasEnded || drain.remaining === null);
    const all = (drain.so_far?.took ?? 0) + drain.remaining;
    const share = all > 0 ? drain.remaining / all : 0;
    meter.firstElementChild.style.setProperty("width", `${Math.min(100, share * 100).toFixed(1)}%`);
    setAttribute(section, "data-done", String(hasEnded));
    keyed(
      list,
      facts(report, drain),
      ([name]) => name,
      item,
      (node, [name, value]) => {
        setText(node.firstElementChild, name);
        setText(node.lastElementChild, value);
      },
    );
  };
}
