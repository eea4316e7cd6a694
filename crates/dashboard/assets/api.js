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

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached." });
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  const body = await response.json().catch(() => ({}));
  const error = body.error ?? { code: "unknown", message: `The server answered with ${response.status}.` };
  if (response.status === 401) signIn();
  throw new ApiError(response.status, error);
}

export function get(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(given).toString();
  return request(query ? `${path}?${query}` : path, { headers: { Accept: "application/json" } });
}

export function post(path, body = {}) {
  return request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Dashboard": "1" },
    body: JSON.stringify(body),
  });
}

/** The path of a pool, with parts below it. */
export function poolPath(pool, ...parts) {
  return ["api/pools", pool, ...parts].map((part, at) => (at === 0 ? part : encodeURIComponent(part))).join("/");
}
