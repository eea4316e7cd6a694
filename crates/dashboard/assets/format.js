// Numbers, times and texts as they are shown.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export function count(value) {
  return whole.format(value);
}

/** A number with at most four digits: 9.5, 950, 9,500, 95.0 k. */
export function short(value) {
  if (value >= 999_950) return `${one.format(value / 1e6)} M`;
  if (value >= 10_000) return `${one.format(value / 1e3)} k`;
  return value < 100 ? one.format(value) : whole.format(value);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value) {
  let [scaled, unit] = [value, 0];
  while (scaled >= 1024 && unit < UNITS.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${scaled < 100 && unit > 0 ? one.format(scaled) : whole.format(scaled)} ${UNITS[unit]}`;
}

export function bytesPerSecond(value) {
  return `${bytes(value)}/s`;
}

export function perSecond(value) {
  return `${short(value)}/s`;
}

/** A number of seconds: 4.2 s, 3 m 05 s, 2 h 10 m, 3 d 4 h. */
export function duration(seconds) {
  const two = (value) => String(value).padStart(2, "0");
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const total = Math.floor(seconds);
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} m ${two(total % 60)} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${two(Math.floor(total / 60) % 60)} m`;
  return `${Math.floor(total / 86400)} d ${Math.floor(total / 3600) % 24} h`;
}

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-CA", { year: "numeric", month: "2-digit", day: "2-digit" });

export function timeOfDay(ms) {
  return time.format(ms);
}

/** A point in time as RFC 3339 writes it, as a date and what is left of it. */
export function expiry(text) {
  if (!text) return "";
  const at = Date.parse(text);
  if (Number.isNaN(at)) return visible(text);
  const left = (at - Date.now()) / 86_400_000;
  return left < 0 ? `expired on ${day.format(at)}` : `${day.format(at)} (${count(Math.floor(left))} days)`;
}

const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

function mark(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a`;
}

/** Text of a peer: characters that are not seen, or change the order of others, become visible. */
export function visible(text, limit = 300) {
  const cut = text.length > limit ? `${text.slice(0, limit)}\u2026` : text;
  return cut.replace(HIDDEN, mark);
}

/** The name of a reason or kind in words. */
export function words(name) {
  return name.replaceAll("_", " ");
}

export function statusName(status) {
  return typeof status === "string" ? status : Object.keys(status)[0];
}

export function statusText(status) {
  if (typeof status === "string") return status;
  const [name, mode] = Object.entries(status)[0];
  return `${name} (${mode})`;
}

/** The address of a peer without its port. Null if it has none, as Unix sockets. */
export function addressOf(peer) {
  const match = /^\[([0-9a-fA-F:.]+)(?:%\w+)?\]:\d+$/.exec(peer) ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(peer);
  return match?.[1] ?? null;
}

export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
