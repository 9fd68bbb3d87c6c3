/**
 * Sends the messages of the outbox. Each room has one message in flight, so that messages are stored in the order in
 * which they were written. Each message is sent with the same key until the server has stored it. Knows no socket and
 * no DOM.
 */

import { ConnectionLost, Refused } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Event} Event
 */

const MIN_WAIT_MS = 100; // prevents a tight loop if the server asks for a retry after 0 s

export class Delivery {
  /** @type {Set<string>} rooms with a message in flight; protects the order of messages */
  #busy = new Set();
  #pausedUntilMs = 0;

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

  /** Whether the server asked for a pause. */
  get isPaused() {
    return performance.now() < this.#pausedUntilMs;
  }

  /** Send all messages that are due. Call this on connection, and after adding a message. */
  run() {
    for (const room of this.parts.outbox.rooms) void this.#drain(room);
  }

  /** @param {string} room */
  async #drain(room) {
    if (this.#busy.has(room)) return;
    this.#busy.add(room);
    try {
      for (let entry; (entry = this.parts.outbox.next(room)); ) {
        if (!(await this.#send(entry))) return;
      }
    } finally {
      this.#busy.delete(room);
    }
  }

  /**
   * Send one message; return false if the other messages of its room have to wait.
   * @param {import("./outbox.js").Entry} entry
   */
  async #send(entry) {
    const { outbox, ask, seenSeq, onChange } = this.parts;
    if (this.isPaused) return false;
    try {
      const { room, body, key, of } = entry;
      const answer = await ask({ op: "publish", room, body, key, of });
      if (answer.type === "ack") outbox.stored(key, answer.seq, seenSeq(outbox.get(key)?.room ?? room));
      return true;
    } catch (error) {
      if (error instanceof ConnectionLost) return false;
      if (!(error instanceof Refused)) throw error;
      if (error.renamedTo !== undefined) this.#redirect(entry.room, error.renamedTo);
      else if (error.retryAfterS === undefined) outbox.refuse(entry.key, error.message);
      else this.#pauseFor(error.retryAfterS * 1000);
      return error.retryAfterS === undefined;
    } finally {
      onChange();
    }
  }

  /**
   * Send the messages of a renamed room to its new name.
   * @param {string} room
   * @param {string} name
   */
  #redirect(room, name) {
    this.parts.outbox.rename(room, name);
    this.run();
  }

  /** @param {number} ms */
  #pauseFor(ms) {
    const wait = Math.max(MIN_WAIT_MS, ms);
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, performance.now() + wait);
    setTimeout(() => {
      // Set here: if the timer fires early, the clock would still report a pause, and sending would stop.
      this.#pausedUntilMs = 0;
      this.run();
    }, wait);
  }
}
