/**
 * Who the user is on this server. Signing in exchanges a token for a cookie that scripts cannot read; the page keeps no
 * token. Knows no DOM.
 *
 * @typedef {{rooms: string, rights: string[]}} Grant
 * @typedef {{name: string, grants: Grant[], verified?: boolean, bot?: boolean, token?: string, open?: boolean}} Me
 */

import { call } from "./api.js";

export class Account {
  /** @type {Me | null} as the server reported last */
  me = null;

  /** @param {() => string} chosenName the name of a user who has no token */
  constructor(chosenName) {
    this.chosenName = chosenName;
  }

  /** Whether the rights of the user come from a token or from the server's shared secret. */
  get usesToken() {
    if (!this.me || this.me.open) return false;
    const { token, grants } = this.me;
    return token !== undefined || grants.some(({ rooms, rights }) => rooms === "*" && rights.includes("moderate"));
  }

  /**
   * Whether the user was given the right to write to a room; a ban or an archived room may still forbid it.
   * @param {string} room
   */
  isWriterOf(room) {
    return (this.me?.grants ?? []).some(
      (grant) => isMatch(grant.rooms, room) && grant.rights.some((right) => right !== "read"),
    );
  }

  /** Read who the user is. Throws `Refused`. */
  async load() {
    this.me = await call("GET", "me", { name: this.chosenName() });
  }

  /**
   * Return who a token is for, without signing in. Throws `Refused`.
   * @param {string} token
   * @returns {Promise<Me>}
   */
  async identify(token) {
    return call("GET", "me", { token });
  }

  /** @param {string} token */
  async signIn(token) {
    this.me = await call("POST", "session", { body: { token } });
  }

  async signOut() {
    await call("DELETE", "session");
    this.me = null;
  }

  /**
   * Redeem an invite; return the new token, which the server shows only once.
   * @param {string} secret
   * @param {string} name
   * @returns {Promise<{name: string, secret: string, grants: Grant[]}>}
   */
  async redeem(secret, name) {
    return call("POST", "invites/redeem", { body: { secret, name } });
  }
}

/**
 * Return whether a grant's pattern matches a room, as `Grant.matches` in chatkit/core/access.py does.
 * @param {string} pattern
 * @param {string} room
 */
function isMatch(pattern, room) {
  return pattern.endsWith("*") ? room.startsWith(pattern.slice(0, -1)) : room === pattern;
}

/**
 * Return the room that a token is for: the first that its grants name, or undefined if they name only patterns.
 * @param {Grant[]} grants
 */
export function roomOf(grants) {
  return grants.find(({ rooms }) => !rooms.endsWith("*"))?.rooms;
}
