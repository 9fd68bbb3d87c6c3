/**
 * The messages that replies refer to and that are not in the window. Each is read from the server, and read again when
 * an entry that refers to it is delivered: a removed text must not stay above its replies. Knows no DOM.
 */

import { call, pathOf } from "./api.js";
import { Refused } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {{message: Message | null, asOf: number}} Parent `asOf` is the newest entry that was delivered before the
 *   request; the message is null while it is requested first, and if it does not exist
 */

const MAX_KEPT = 500; // as many as a window has messages
const MAX_REQUESTS = 4; // the others are requested when these are answered

export class Parents {
  /** @type {Map<string, Parent>} */
  #known = new Map();
  #requests = 0;

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /**
   * Return a message; request it if its present state is not known.
   * @param {import("./room.js").Room} room
   * @param {number} seq
   */
  get(room, seq) {
    const key = `${room.name} ${room.epoch} ${seq}`;
    const known = this.#known.get(key);
    const isCurrent = known !== undefined && room.newestReference(seq) <= known.asOf;
    if (!isCurrent && room.joined && this.#requests < MAX_REQUESTS) void this.#request(key, room, seq);
    return known?.message ?? null;
  }

  /**
   * @param {string} key
   * @param {import("./room.js").Room} room
   * @param {number} seq
   */
  async #request(key, room, seq) {
    this.#requests++;
    if (this.#known.size >= MAX_KEPT) this.#known.clear();
    const parent = { message: this.#known.get(key)?.message ?? null, asOf: room.last };
    this.#known.set(key, parent);
    try {
      parent.message = await call("GET", `${pathOf(room.name)}/messages/${seq}`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // it is not kept any more: the reply shows its number
      parent.message = null;
    } finally {
      this.#requests--;
      this.onChange();
    }
  }
}
