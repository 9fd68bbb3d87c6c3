/**
 * Carries the outbox to the server: one message of a room at a time, so that they are stored in the order they were
 * written, each again and again under the same key until the server has it. Knows neither the socket nor the DOM.
 */

import { LinkLost, Refused } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Event} Event
 */

const SHORTEST_WAIT_MS = 100; // a server that says "in 0 s" is not asked in a tight loop

export class Delivery {
  /** @type {Set<string>} rooms with a message under way: protects their order */
  #busy = new Set();
  #heldUntilMs = 0;

  /**
   * @param {object} parts
   * @param {import("./outbox.js").Outbox} parts.outbox
   * @param {(command: Command) => Promise<Event>} parts.ask
   * @param {(room: string) => number} parts.seenSeq
   * @param {() => void} parts.onChange
   */
  constructor(parts) {
    this.parts = parts;
  }

  /** Whether the server asked us to wait. */
  get isHeld() {
    return Date.now() < this.#heldUntilMs;
  }

  /** Send what is there; called when there is a link, and when something was added. */
  run() {
    for (const room of this.parts.outbox.rooms) void this.#drain(room);
  }

  /** @param {string} room */
  async #drain(room) {
    if (this.#busy.has(room)) return;
    this.#busy.add(room);
    try {
      for (let entry; (entry = this.parts.outbox.next(room)); ) {
        if (!(await this.#carry(entry))) return;
      }
    } finally {
      this.#busy.delete(room);
    }
  }

  /**
   * Try one; false where the rest has to wait.
   * @param {import("./outbox.js").Entry} entry
   */
  async #carry(entry) {
    const { outbox, ask, seenSeq, onChange } = this.parts;
    if (this.isHeld) return false;
    try {
      const { room, body, key } = entry;
      const answer = await ask({ op: "publish", room, body, key });
      if (answer.type === "ack") outbox.stored(key, answer.seq, seenSeq(room));
      return true;
    } catch (error) {
      if (error instanceof LinkLost) return false;
      if (!(error instanceof Refused)) throw error;
      if (error.retryAfterS === undefined) outbox.refuse(entry.key, error.message);
      else this.#hold(error.retryAfterS * 1000);
      return error.retryAfterS === undefined;
    } finally {
      onChange();
    }
  }

  /** @param {number} ms */
  #hold(ms) {
    const wait = Math.max(SHORTEST_WAIT_MS, ms);
    this.#heldUntilMs = Math.max(this.#heldUntilMs, Date.now() + wait);
    window.setTimeout(() => {
      this.#heldUntilMs = 0; // not left to the clock: a timer a hair early would find itself held, and end for ever
      this.run();
    }, wait);
  }
}
