/**
 * Keeps the read markers of a verified name at the server: reads what is unread in all rooms, and moves the marker of a
 * room when the user has read it. Knows no DOM.
 *
 * @typedef {import("./protocol.js").UnreadRoom} UnreadRoom
 * @typedef {import("./room.js").Room} Room
 */

import { ConnectionLost, Refused } from "./protocol.js";

const MARK_EVERY_MS = 3_000; // in a busy room, one command for the messages of this time

export class ReadState {
  /** @type {Map<string, UnreadRoom>} as the server counted last; empty for a name that is not verified */
  counts = new Map();
  /** Whether the server keeps markers for this connection. */
  #isKept = false;
  /** @type {Map<string, number>} room to the marker that the server has */
  #sent = new Map();
  /** @type {Set<Room>} rooms whose marker is to be sent */
  #due = new Set();
  #timer = 0;

  /**
   * @param {object} parts
   * @param {(command: import("./protocol.js").Command) => Promise<import("./protocol.js").Event>} parts.ask
   * @param {import("./rooms.js").Rooms} parts.rooms
   * @param {() => void} parts.onChange
   */
  constructor(parts) {
    this.parts = parts;
  }

  /** Read the markers and counts of all rooms. */
  async load() {
    const answer = await this.#ask({ op: "unread" });
    if (answer?.type !== "unread") return;
    this.#isKept = true;
    this.counts = new Map(answer.rooms.map((count) => [count.room, count]));
    for (const count of answer.rooms) {
      this.#sent.set(count.room, Math.max(count.marker, this.#sent.get(count.room) ?? 0));
      this.parts.rooms.get(count.room)?.onCount(count);
    }
    if (!this.#timer) this.flush();
    this.parts.onChange();
  }

  /**
   * The user has read a room up to its `read` position: move the marker there.
   * @param {Room} room
   */
  mark(room) {
    this.#due.add(room);
    if (!this.#isKept || this.#timer) return;
    this.flush();
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.flush();
    }, MARK_EVERY_MS);
  }

  /** Send the markers that wait, for example because the page is being closed. */
  flush() {
    if (!this.#isKept) return;
    for (const room of this.#due) this.#send(room);
    this.#due.clear();
  }

  /**
   * The marker of a room was moved, possibly by another session of the same name.
   * @param {Room} room
   * @param {number} seq
   */
  onMarked(room, seq) {
    this.#sent.set(room.name, Math.max(seq, this.#sent.get(room.name) ?? 0));
    if (!room.position.advance(seq)) void this.load(); // how many messages come after it is not known
  }

  /** There are no markers until the next connection. */
  onConnectionLost() {
    this.#isKept = false;
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /**
   * Without an answer, the page counts by itself: the connection was lost, or the server keeps no markers.
   * @param {import("./protocol.js").Command} command
   */
  async #ask(command) {
    try {
      return await this.parts.ask(command);
    } catch (error) {
      if (error instanceof Refused || error instanceof ConnectionLost) return null;
      throw error;
    }
  }

  /** @param {Room} room */
  #send(room) {
    if (room.read <= (this.#sent.get(room.name) ?? 0)) return;
    this.#sent.set(room.name, room.read);
    void this.#ask({ op: "mark", room: room.name, seq: room.read });
  }
}
