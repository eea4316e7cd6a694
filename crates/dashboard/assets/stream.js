// The updates of the server, once a second, with reconnects. Paused while the page is hidden.

import { ApiError, get } from "./api.js";

const STALE_MS = 4000;
const RETRY_MS = 1500;

/** Calls `hello` after each connect, `update` for each message, and `stale` with the age of the data when the stream is lost. */
export function connect({ hello, update, stale }) {
  let source = null;
  let retry = 0;
  let last = performance.now();
  let lost = false;

  function close() {
    source?.close();
    source = null;
    clearTimeout(retry);
  }

  function again() {
    close();
    lost = true;
    retry = setTimeout(open, RETRY_MS);
  }

  async function open() {
    close();
    if (document.hidden) return;
    try {
      // Tells an ended session, which leads to the login form, from a server that is away.
      await get("api/pools");
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) again();
      return;
    }
    if (source || document.hidden) return;
    source = new EventSource("stream");
    source.addEventListener("hello", (event) => hello(JSON.parse(event.data)));
    source.addEventListener("update", (event) => {
      last = performance.now();
      if (lost) {
        lost = false;
        stale(null);
      }
      update(JSON.parse(event.data));
    });
    source.addEventListener("error", again);
  }

  setInterval(() => {
    const age = performance.now() - last;
    if (document.hidden) return;
    if (age > STALE_MS && !lost) again();
    if (lost) stale(age / 1000);
  }, 500);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
    } else {
      last = performance.now();
      open();
    }
  });
  open();
}
