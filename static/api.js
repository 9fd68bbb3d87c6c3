/** The HTTP calls that the page makes beside its WebSocket connection. Knows no DOM. */

import { Refused } from "./protocol.js";

/**
 * Make a call and return its answer. The browser adds the session cookie.
 * @param {string} method
 * @param {string} path relative to the page, which may be below a prefix
 * @param {{name?: string, body?: unknown, token?: string}} [options] `name` is the name that a guest chose; `token` is used
 *   in place of the cookie
 * @returns {Promise<any>}
 * @throws {Refused} if the server refuses the call or cannot be reached
 */
export async function call(method, path, { name, body, token } = {}) {
  const query = name === undefined ? "" : `?name=${encodeURIComponent(name)}`;
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers.Authorization = `Bearer ${token}`;
  const sent = body === undefined ? null : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path + query, { method, headers, body: sent, cache: "no-store" });
  } catch {
    throw refused("unavailable", "the server cannot be reached");
  }
  const value = await answer.json().catch(() => null);
  if (answer.ok) return value;
  // A proxy may answer with a page of its own in place of a problem (RFC 9457).
  const code = typeof value?.code === "string" ? value.code : `http-${answer.status}`;
  throw refused(code, String(value?.detail ?? `the server answered ${answer.status}`), value?.retry_after_s);
}

/**
 * @param {string} code
 * @param {string} message
 * @param {number} [retryAfterS]
 */
function refused(code, message, retryAfterS) {
  return new Refused({ type: "error", code, message, retry_after_s: retryAfterS });
}
