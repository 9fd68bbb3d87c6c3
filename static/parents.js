/**
 * The messages that replies refer to and that are not in the window. Each is read once from the server; a change that
 * is made later is not shown in the line above the reply. Knows no DOM.
 */

import { call } from "./api.js";
import { Refused } from "./protocol.js";

/** @typedef {import("./protocol.js").Message} Message */

const MAX_KEPT = 500; // as many as a window has messages
const MAX_REQUESTS = 4; // the others are requested when these are answered

export class Parents {
  /** @type {Map<string, Message | null>} null while it is requested, and if it does not exist */
  #known = new Map();
  #requests = 0;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /**
   * Return a message; request it if it is not known yet.
   * @param {import("./room.js").Room} room
   * @param {number} seq
   */
  get(room, seq) {
    const key = `${room.name} ${room.epoch} ${seq}`;
    const known = this.#known.get(key);
    if (known === undefined && room.joined && this.#requests < MAX_REQUESTS) void this.#request(key, room.name, seq);
    return known ?? null;
  }

  /**
   * @param {string} key
   * @param {string} room
   * @param {number} seq
   */
  async #request(key, room, seq) {
    this.#requests++;
    if (this.#known.size >= MAX_KEPT) this.#known.clear();
    this.#known.set(key, null);
    try {
      this.#known.set(key, await call("GET", `rooms/${encodeURIComponent(room)}/messages/${seq}`));
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // it is not kept any more: the reply shows its number
    } finally {
      this.#requests--;
      this.onChange();
    }
  }
}
