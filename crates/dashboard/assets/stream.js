// The updates of the server, once a second, with reconnects. Paused while the page is hidden.

import { stream } from "./api.js";

/** After this time without an update, the connection counts as lost. */
const STALE_MS = 4000;
/** The pauses before connecting again. */
const FIRST_MS = 1500;
const LONGEST_MS = 10_000;

/**
 * Calls `hello` after each connect, `update` for each message, and `state` when that changes, and while it is "lost" twice a second:
 * "live", "connecting" or "lost", with the age of the data in milliseconds and the reason, if the server has given one.
 */
export function connect({ hello, update, state }) {
  let attempt = null;
  let retry = 0;
  let pause = FIRST_MS;
  // `received` is when the last update arrived, from which the age is shown. `since` is when the present wait for an update began:
  // with the last message, or with the attempt to connect.
  let received = performance.now();
  let since = received;
  let isLost = false;
  let why = "";

  const age = () => performance.now() - received;

  function close() {
    attempt?.abort();
    attempt = null;
    clearTimeout(retry);
  }

  function again(reason) {
    close();
    isLost = true;
    why = reason;
    state("lost", age(), why);
    retry = setTimeout(open, pause);
    since = Infinity;
    pause = Math.min(pause * 2, LONGEST_MS);
  }

  async function open() {
    close();
    if (document.hidden) return;
    const mine = new AbortController();
    attempt = mine;
    since = performance.now();
    try {
      await stream("stream", mine.signal, receive);
      if (attempt === mine) again("");
    } catch (failure) {
      if (attempt !== mine || failure.status === 401) return;
      again(failure.code === "too_many_viewers" ? `${failure.message}.` : "");
    }
  }

  function receive(name, data) {
    since = performance.now();
    if (name === "hello") hello(data);
    if (name !== "update") return;
    received = since;
    pause = FIRST_MS;
    isLost = false;
    state("live", 0, "");
    update(data);
  }

  setInterval(() => {
    if (document.hidden) return;
    // A slow server gets more time with each attempt.
    if (performance.now() - since > Math.max(STALE_MS, isLost ? pause : 0)) again("");
    else if (isLost) state("lost", age(), why);
  }, 500);
  document.addEventListener("visibilitychange", () => {
    close();
    if (document.hidden) return;
    if (!isLost) state("connecting", age(), "");
    open();
  });
  addEventListener("online", () => {
    if (isLost) open();
  });
  open();
}
