/**
 * Reads the history of rooms in pages, to extend and to move the windows of their logs. Knows no DOM.
 *
 * @typedef {import("./log_window.js").HistoryPage} HistoryPage
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 */

import { WINDOW } from "./log_window.js";

const PAGE = 100;
const FOUND = 50;
const AFTER_FAILURE_MS = 2_000; // a refused page of history is not requested again immediately

export class HistoryReader {
  /**
   * @param {object} parts
   * @param {(command: import("./protocol.js").Command) => Promise<import("./protocol.js").Event | null>} parts.ask
   *   returns null if the command is refused or the connection is lost
   * @param {(message: Message) => void} parts.onMessage
   * @param {() => void} parts.onChange
   */
  constructor(parts) {
    this.parts = parts;
  }

  /** @param {Room} room */
  async loadOlder(room) {
    if (!room.hasOlder) return;
    const before = room.oldest?.message.seq ?? room.last + 1;
    await this.#load(room, "older", { before }, (page) => room.prepend(page));
  }

  /** @param {Room} room */
  async loadNewer(room) {
    const newest = room.newest?.message.seq ?? 0;
    await this.#load(room, "newer", { after: newest }, (page) => room.append(page));
  }

  /**
   * Go to the end of the log. Until it is read, the view stays where it is: from the end of an older part, it would
   * report that it does not follow the log.
   * @param {Room} room
   */
  async showNewest(room) {
    if (!room.attached) {
      const page = await this.#page(room, { limit: PAGE });
      if (!page) return;
      room.replace([page], { isAtEnd: true });
    }
    room.following = true;
    this.parts.onChange();
  }

  /**
   * Read the messages in the window again, because changes of them were missed.
   * @param {Room} room
   */
  async refresh(room) {
    const first = room.firstShown;
    if (!room.isStale || !room.joined || first === undefined) return;
    room.isStale = false;
    const { generation } = room;
    const page = await this.#page(room, { after: first - 1, limit: WINDOW });
    if (!page || room.generation !== generation) return;
    room.refresh(page);
    this.parts.onChange();
  }

  /**
   * Show the part of the log around a message.
   * @param {Room} room
   * @param {number} seq
   */
  async showAround(room, seq) {
    if (room.find(seq)) return;
    const [before, after] = await Promise.all([
      this.#page(room, { before: seq + 1, limit: FOUND }),
      this.#page(room, { after: seq, limit: FOUND }),
    ]);
    if (!before || !after) return;
    room.following = false;
    room.replace([before, after], { isAtEnd: after.complete });
    this.parts.onChange();
  }

  /**
   * @param {Room} room
   * @param {string} search
   * @param {number} [before]
   */
  async search(room, search, before) {
    return this.#page(room, { search, before, limit: FOUND });
  }

  /**
   * @param {Room} room
   * @param {"older" | "newer"} direction
   * @param {{before?: number, after?: number}} where
   * @param {(page: import("./log_window.js").HistoryPage) => void} apply
   */
  async #load(room, direction, where, apply) {
    if (room.loading || !room.joined) return;
    room.loading = direction;
    this.parts.onChange();
    const { windowVersion } = room;
    const page = await this.#page(room, { ...where, limit: PAGE });
    if (!page) await pause(AFTER_FAILURE_MS);
    room.loading = null;
    // If the window was replaced during the request, this page would leave a hole.
    if (page && room.windowVersion === windowVersion) apply(page);
    this.parts.onChange();
  }

  /**
   * @param {Room} room
   * @param {{before?: number, after?: number, limit?: number, search?: string}} where
   */
  async #page(room, where) {
    const answer = await this.parts.ask({ op: "history", room: room.name, ...where });
    if (answer?.type !== "history") return null;
    for (const message of answer.messages) this.parts.onMessage(message);
    return answer;
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
