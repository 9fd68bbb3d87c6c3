/** The HTTP calls beside the WebSocket connection. Knows no DOM. */

import { Refused } from "./protocol.js";

/**
 * @typedef {object} CallOptions
 * @property {string} [name] the name that a guest chose
 * @property {unknown} [body] sent as JSON
 * @property {Record<string, string | number | undefined>} [query]
 * @property {string} [server] the address of the server, which ends in `/`; the page's own by default
 * @property {string} [token] for a page of another site, which has no session cookie
 */

/**
 * Make a call and return its answer. The browser adds the session cookie.
 * @param {string} method
 * @param {string} path relative to the server, which may be below a prefix
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 * @throws {Refused} if the server refuses the call or cannot be reached
 */
export async function call(method, path, { name, body, query = {}, server = "", token } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  const sent = body === undefined ? null : JSON.stringify(body);
  let answer;
  try {
    const url = server + path + queryOf({ name, ...query });
    answer = await fetch(url, { method, headers, body: sent, cache: "no-store" });
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
 * Return the path of a room below the server's address.
 * @param {string} room
 */
export function pathOf(room) {
  return `rooms/${encodeURIComponent(room)}`;
}

/**
 * Return the query of the fields that are given, with its question mark.
 * @param {Record<string, string | number | undefined>} fields
 */
export function queryOf(fields) {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const parts = given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`);
  return parts.length ? `?${parts.join("&")}` : "";
}

/**
 * @param {string} code
 * @param {string} message
 * @param {number} [retryAfterS]
 */
function refused(code, message, retryAfterS) {
  return new Refused({ type: "error", code, message, retry_after_s: retryAfterS });
}
