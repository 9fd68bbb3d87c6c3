/**
 * How far the user has read a room, and how many messages and mentions came after that. The server counts them for a
 * verified name; otherwise, the page counts what is delivered. Synchronous; knows no room and no socket.
 *
 * @typedef {{marker: number, unread: number, mentions: number, last: number}} ServerCount `last` is the newest seq that
 *   was counted
 */

import { isChange } from "./relations.js";

const MAX_COUNTED = 1_000; // as the server: beyond, the exact number does not matter to a reader

export class ReadPosition {
  /** The newest seq that the user has read. */
  seq = 0;
  /** What is unread up to and including `upTo`. Later messages are in `#later`. */
  #counted = { unread: 0, mentions: 0, upTo: 0, isExact: false };
  /** @type {{seq: number, isMention: boolean}[]} */
  #later = [];

  get unread() {
    return this.#counted.unread + this.#later.length;
  }

  get mentions() {
    return this.#counted.mentions + this.#later.filter(({ isMention }) => isMention).length;
  }

  /**
   * The log that the user begins to read ends at `head`. What is unread was not counted: it may contain changes.
   * @param {number} head
   */
  start(head) {
    if (this.#counted.isExact) return;
    this.#counted = { unread: Math.max(0, head - this.seq), mentions: 0, upTo: head, isExact: false };
  }

  /**
   * Count an entry that was delivered.
   * @param {import("./protocol.js").Message} entry
   * @param {string} name the user's
   */
  onEntry(entry, name) {
    if (entry.seq <= this.seq) return;
    const isMessage = !isChange(entry) && entry.sender !== name;
    const isMention = isMessage && (entry.mentions?.includes(name) ?? false);
    const counted = this.#counted;
    if (entry.seq > counted.upTo) {
      if (isMessage) this.#later = [...this.#later.slice(1 - MAX_COUNTED), { seq: entry.seq, isMention }];
    } else if (!counted.isExact) {
      if (!isMessage) counted.unread = Math.max(0, counted.unread - 1);
      if (isMention) counted.mentions += 1;
    }
  }

  /**
   * Use what the server counted, unless the user has read further here.
   * @param {ServerCount} count
   */
  onCount({ marker, unread, mentions, last }) {
    if (marker < this.seq) return;
    this.seq = marker;
    this.#counted = { unread, mentions, upTo: last, isExact: true };
    this.#later = this.#later.filter(({ seq }) => seq > last);
  }

  /**
   * The user has read up to `seq`, here or elsewhere. Return false if the number of later messages is not known.
   * @param {number} seq
   */
  advance(seq) {
    if (seq <= this.seq) return true;
    this.seq = seq;
    this.#later = this.#later.filter((entry) => entry.seq > seq);
    const isKnown = seq >= this.#counted.upTo;
    if (isKnown) this.#counted = { ...this.#counted, unread: 0, mentions: 0, upTo: seq };
    return isKnown;
  }

  /** Forget everything: the log was replaced by another. */
  reset() {
    this.seq = 0;
    this.#counted = { unread: 0, mentions: 0, upTo: 0, isExact: false };
    this.#later = [];
  }
}
