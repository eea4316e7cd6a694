// The JSON API: see API.md of the package.

/** A response that says why a request failed. `status` is 0 if there was none. */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.settings = error.settings ?? [];
  }
}

/** Leads to the login form, which leads back to this view. */
export function signIn() {
  location.assign(`login${location.hash}`);
}

/** How long a request may take. One that never ended would block what waits for it. */
const GET_MS = 10_000;
const POST_MS = 30_000;

/** The response, unless it is an error. */
async function checked(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const error = body.error ?? { code: "unknown", message: `The server answered with ${response.status}.` };
  if (response.status === 401) signIn();
  throw new ApiError(response.status, error);
}

async function request(path, limit, options) {
  try {
    const response = await checked(path, { ...options, signal: AbortSignal.timeout(limit) });
    return response.status === 204 ? null : await response.json();
  } catch (failure) {
    if (failure instanceof ApiError) throw failure;
    const isLate = failure.name === "TimeoutError";
    const late = `The server did not answer within ${limit / 1000} seconds.`;
    throw new ApiError(0, {
      code: isLate ? "timeout" : "unreachable",
      message: isLate ? late : "The server cannot be reached.",
    });
  }
}

/** Reads server-sent events until they end, and calls `receive` with the name and the data of each. */
export async function stream(path, signal, receive) {
  const response = await checked(path, { signal, headers: { Accept: "text/event-stream" }, cache: "no-store" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const messages = (text + value).split("\n\n");
    text = messages.pop();
    for (const message of messages) {
      const field = (name) =>
        message
          .split("\n")
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      try {
        if (field("data")) receive(field("event"), JSON.parse(field("data")));
      } catch (failure) {
        // An error in the page does not end the connection.
        reportError(failure);
      }
    }
  }
}

export function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return request(query ? `${path}?${query}` : path, GET_MS, { headers: { Accept: "application/json" } });
}

export function post(path, body = {}) {
  return request(path, POST_MS, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Dashboard": "1" },
    body: JSON.stringify(body),
  });
}

/** The path of a pool, with parts below it. */
export function poolPath(pool, ...parts) {
  return ["api/pools", pool, ...parts].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join("/");
}
