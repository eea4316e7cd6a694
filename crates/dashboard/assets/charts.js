// Charts as SVG: lines or a stack over time, with axes, a crosshair and a legend. Series differ by colour and by dashes or hatching.

import { el, keyed, newId, say, setAttribute, setText, svg } from "./dom.js";
import { timeOfDay } from "./format.js";

const HEIGHT = 150;
const MARGIN = { left: 58, right: 8, top: 8, bottom: 20 };
const COLOURS = 8;
const DASHES = ["", "7 3", "2 3", "8 3 2 3", "12 3", "4 2", "1 2", "10 2 2 2 2 2"];
/** The hatching of a stack's areas, in a square of 8. */
const HATCHES = [
  "",
  "M-2 2L2 -2M0 8L8 0M6 10L10 6",
  "M4 0V8",
  "M0 4H8",
  "M-2 6L2 10M0 0L8 8M6 -2L10 2",
  "M2 2h1M6 6h1",
  "M0 4H8M4 0V8",
  "M0 2H8M0 6H8",
];

/** Steps at which an axis has lines: 1, 2 or 5 times a power of the base. */
function niceStep(greatest, isBytes) {
  const wanted = greatest / 3;
  if (isBytes && wanted >= 1) {
    const unit = 1024 ** Math.floor(Math.log(wanted) / Math.log(1024));
    for (const factor of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
      if (factor * unit >= wanted) return factor * unit;
  }
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= wanted * 0.999) ?? 10 * power;
}

/**
 * A chart. `format` writes a value with its unit; `stacked` adds the series up. `show` takes the times of the points, their step and
 * the period in milliseconds, and the series: `{ name, values, slot }`, where the slot decides about the look, and a value that is
 * null is a gap.
 */
export function chart({ title, format, stacked = false, isBytes = false, isWhole = false, least = 1, hover }) {
  const titleId = newId("chart");
  const prefix = newId("hatch");
  const latest = el("span", { class: "chart-latest" });
  const grid = svg("g", { class: "grid" });
  const labels = svg("g", { class: "labels" });
  const clipId = newId("clip");
  const frame = svg("rect", { x: MARGIN.left, y: 0, height: HEIGHT });
  const areas = svg("g", { class: "areas", "clip-path": `url(#${clipId})` });
  const cross = svg("line", { class: "cross", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" });
  const defs = svg("defs", {}, svg("clipPath", { id: clipId }, frame));
  const picture = svg("svg", { height: HEIGHT, "aria-hidden": "true" }, defs, grid, areas, labels, cross);
  const legend = el("ul", { class: "legend" });
  const label = `${title}, chart. The left and right arrow keys read its values.`;
  const box = el("div", { class: "plot", tabindex: 0, role: "img", "aria-label": label }, picture);
  const node = el(
    "figure",
    { class: "chart" },
    el("figcaption", { id: titleId }, el("span", {}, title), latest),
    box,
    legend,
  );
  const hatched = new Set();
  let data = null;
  let width = 0;
  let at = null;
  let summary = "";

  function hatch(slot) {
    const id = `${prefix}-${slot}`;
    if (!hatched.has(slot)) {
      hatched.add(slot);
      const lines = HATCHES[slot % HATCHES.length];
      const pattern = svg("pattern", {
        id,
        width: 8,
        height: 8,
        patternUnits: "userSpaceOnUse",
        class: `s${slot % COLOURS}`,
      });
      pattern.append(svg("rect", { width: 8, height: 8, class: "tint" }));
      if (lines) pattern.append(svg("path", { d: lines, class: "hatch" }));
      defs.append(pattern);
    }
    return `url(#${id})`;
  }

  function layers() {
    if (!stacked) return data.series.map((one) => ({ ...one, low: null, high: one.values }));
    let low = data.times.map(() => 0);
    return data.series.map((one) => {
      const high = one.values.map((value, index) => (value === null ? null : value + low[index]));
      const layer = { ...one, low, high };
      low = high;
      return layer;
    });
  }

  function draw() {
    if (!data || width < 80) return;
    const [right, bottom] = [width - MARGIN.right, HEIGHT - MARGIN.bottom];
    setAttribute(picture, "width", width);
    setAttribute(picture, "viewBox", `0 0 ${width} ${HEIGHT}`);
    setAttribute(frame, "width", right - MARGIN.left);
    const drawn = layers();
    const greatest = Math.max(least, ...drawn.flatMap((layer) => layer.high.filter((value) => value !== null)));
    const step = Math.max(isWhole ? 1 : 0, niceStep(greatest, isBytes));
    const top = Math.ceil(greatest / step) * step;
    const x = (time) => right - ((data.end - time) / data.period) * (right - MARGIN.left);
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    const steps = Array.from({ length: Math.round(top / step) + 1 }, (_, index) => index * step);
    const lines = steps.map((value) => ({
      key: `y${steps.indexOf(value)}`,
      x1: MARGIN.left,
      x2: right,
      y1: y(value),
      y2: y(value),
    }));
    const marks = timeMarks(width);
    keyed(
      grid,
      lines,
      (line) => line.key,
      () => svg("line", {}),
      (line, { key, ...ends }) => place(line, ends),
    );
    const texts = [
      ...steps.map((value, index) => ({
        key: `y${index}`,
        x: MARGIN.left - 6,
        y: y(value) + 4,
        text: format(value),
        anchor: "end",
      })),
      ...marks.map((time, index) => ({
        key: `x${index}`,
        x: x(time),
        y: HEIGHT - 5,
        text: timeOfDay(time).slice(0, data.period > 600_000 ? 5 : 8),
        anchor: x(time) > right - 24 ? "end" : "middle",
      })),
    ];
    keyed(
      labels,
      texts,
      (text) => text.key,
      () => svg("text", {}),
      (text, mark) => {
        place(text, { x: mark.x, y: mark.y, "text-anchor": mark.anchor });
        setText(text, mark.text);
      },
    );
    // In a stack, the upper areas come first. Of lines, the dashed ones are above the solid one.
    const shapes = stacked ? drawn.toReversed() : drawn;
    keyed(
      areas,
      shapes,
      (shape) => shape.name,
      (shape) => {
        const group = svg("g", { class: `s${shape.slot % COLOURS}` });
        const area = svg("path", { class: "area", fill: stacked ? hatch(shape.slot) : undefined });
        if (stacked || data.filled) group.append(area);
        group.append(
          svg("path", {
            class: "line",
            "stroke-dasharray": stacked
              ? ""
              : DASHES[data.series.findIndex((one) => one.name === shape.name) % DASHES.length],
          }),
        );
        return group;
      },
      (group, shape) => {
        const point = (index, value) => `${x(data.times[index]).toFixed(1)} ${y(value).toFixed(1)}`;
        const runs = runsOf(shape.high);
        const upper = runs.map((run) => run.map((index) => point(index, shape.high[index])).join("L"));
        // A value between two gaps is a dot.
        const lines = upper.map((line) => `M${line}${line.includes("L") ? "" : "h1"}`);
        setAttribute(group.lastElementChild, "d", lines.join(""));
        if (group.childElementCount > 1) {
          const lower = runs.map((run) =>
            (shape.low ? run.toReversed() : [run.at(-1), run[0]]).map((index) => point(index, shape.low?.[index] ?? 0)),
          );
          const closed = upper.map((line, run) => `M${line}L${lower[run].join("L")}Z`);
          setAttribute(group.firstElementChild, "d", closed.join(""));
        }
      },
    );
    data.x = x;
    values();
  }

  function timeMarks(size) {
    const every = { 60_000: 15_000, 600_000: 120_000, 3_600_000: 600_000 }[data.period] * (size < 420 ? 2 : 1);
    const zone = new Date(data.end).getTimezoneOffset() * 60_000;
    const first = Math.ceil((data.end - data.period - zone) / every) * every + zone;
    const marks = [];
    for (let time = first; time <= data.end; time += every) if (time > data.end - data.period * 0.97) marks.push(time);
    return marks;
  }

  /** The values at the crosshair, or the last ones. */
  function values() {
    const last = data.times.length - 1;
    const index =
      at === null
        ? last
        : data.times.reduce(
            (best, time, one) => (Math.abs(time - at) < Math.abs(data.times[best] - at) ? one : best),
            0,
          );
    const isCrossed = at !== null && last >= 0;
    setAttribute(cross, "visibility", isCrossed ? "visible" : "hidden");
    if (isCrossed) place(cross, { x1: data.x(data.times[index]), x2: data.x(data.times[index]) });
    const isGap = data.series.some((one) => one.values[index] === null);
    const value = (one) => (isGap ? "-" : format(one.values[index] ?? 0));
    const sum = data.series.reduce((total, one) => total + (one.values[index] ?? 0), 0);
    const shown = isGap ? "-" : stacked ? format(sum) : data.series.map(value).join(" / ");
    setText(latest, isCrossed ? `${shown} at ${timeOfDay(data.times[index])}` : shown);
    keyed(
      legend,
      data.series.length > 1 || stacked ? data.series : [],
      (one) => one.name,
      (one) => {
        const slot = one.slot % COLOURS;
        const swatch = svg("svg", { width: 22, height: 12, class: `s${slot}`, "aria-hidden": "true" });
        if (stacked) swatch.append(svg("rect", { width: 22, height: 12, fill: hatch(one.slot), class: "swatch" }));
        else
          swatch.append(
            svg("path", {
              d: "M0 6H22",
              class: "line",
              "stroke-dasharray": DASHES[data.series.indexOf(one) % DASHES.length],
            }),
          );
        return el("li", {}, swatch, el("span", {}, one.name), el("b", {}));
      },
      (item, one) => setText(item.lastElementChild, value(one)),
    );
    const list = isGap ? "not known" : data.series.map((one) => `${one.name} ${value(one)}`).join(", ") || "none";
    summary = `${title} at ${timeOfDay(data.times[index] ?? data.end)}: ${list}`;
  }

  function point(time) {
    if (time === at) return;
    at = time;
    hover?.(time);
  }

  box.addEventListener("pointermove", (event) => {
    if (!data) return;
    const share =
      (event.clientX - box.getBoundingClientRect().left - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
    point(data.end - (1 - Math.min(1, Math.max(0, share))) * data.period);
  });
  box.addEventListener("pointerleave", () => point(null));
  box.addEventListener("blur", () => point(null));
  box.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") point(null);
    if (!direction || !data?.times.length) return;
    event.preventDefault();
    const now = at === null ? data.times.length : data.times.findIndex((time) => time >= at);
    point(data.times[Math.min(data.times.length - 1, Math.max(0, now + direction))]);
    say(summary);
  });
  const sizes = new ResizeObserver(() => {
    width = Math.floor(box.clientWidth);
    draw();
  });
  sizes.observe(box);

  return {
    node,
    show(next) {
      data = next;
      draw();
    },
    /** Puts the crosshair at a time, also if another chart is pointed at. */
    cross(time) {
      at = time;
      if (data?.x) values();
    },
    stop: () => sizes.disconnect(),
  };
}

/** The indexes of the values between the gaps. */
function runsOf(values) {
  const runs = [];
  values.forEach((value, index) => {
    if (value === null) return;
    if (index > 0 && runs.length && values[index - 1] !== null) runs.at(-1).push(index);
    else runs.push([index]);
  });
  return runs;
}

function place(node, attributes) {
  for (const [name, value] of Object.entries(attributes))
    setAttribute(node, name, typeof value === "number" ? Number(value.toFixed(1)) : value);
}
