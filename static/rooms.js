/**
 * The rooms that this page has joined, which the browser stores between visits, and the rooms that the server lists.
 * Knows no socket and no DOM.
 *
 * @typedef {{room: string, first: number, last: number, cursor: string, members: number, time?: string}} Listed
 */

import { splitCursor } from "./protocol.js";
import { Room } from "./room.js";

const PREFIX = "room.";

export class Rooms {
  /** @type {Map<string, Room>} */
  joined = new Map();
  /** @type {Listed[]} what the server lists; of very many rooms the first ones */
  listed = [];
  isComplete = true;
  /** @type {Listed[]} rooms that were found by the beginning of their names, if the list is not complete */
  found = [];
  /** @type {Map<string, string>} room to the position that this page stored last */
  #marks = new Map();

  /** @param {import("./storage.js").Store} store */
  constructor(store) {
    this.store = store;
    for (const name of store.list(PREFIX).sort(byName)) this.joined.set(name, new Room(name, store.get(PREFIX + name)));
  }

  /** @param {string} name */
  get(name) {
    return this.joined.get(name);
  }

  /** @param {string} name */
  join(name) {
    const known = this.joined.get(name);
    if (known) return known;
    const room = new Room(name, this.store.get(PREFIX + name));
    this.joined = new Map([...this.joined, /** @type {const} */ ([name, room])].sort(([a], [b]) => byName(a, b)));
    this.remember(room);
    return room;
  }

  /** @param {string} name */
  leave(name) {
    this.joined.delete(name);
    this.#marks.delete(name);
    this.store.delete(PREFIX + name);
  }

  /**
   * Give a joined room its new name. Return false if the page has joined the room of that name already.
   * @param {Room} room
   * @param {string} name
   */
  rename(room, name) {
    const isNew = !this.joined.has(name);
    const mark = this.store.get(PREFIX + room.name);
    this.leave(room.name);
    if (!isNew) return false;
    room.name = name;
    this.store.set(PREFIX + name, mark ?? "");
    this.joined = new Map([...this.joined, /** @type {const} */ ([name, room])].sort(([a], [b]) => byName(a, b)));
    return true;
  }

  /**
   * Store the position up to which the room was read.
   * @param {Room} room
   */
  remember(room) {
    if (this.joined.get(room.name) !== room) return; // the room was left
    const kept = this.store.get(PREFIX + room.name);
    if (!room.epoch) {
      if (kept === null) this.store.set(PREFIX + room.name, "");
      return;
    }
    // Each position is stored once: otherwise two tabs with different positions would overwrite each other in a loop.
    const mark = `${room.epoch}:${room.read}`;
    if (this.#marks.get(room.name) === mark) return;
    this.#marks.set(room.name, mark);
    const stored = splitCursor(kept ?? "");
    if (stored.epoch !== room.epoch || stored.seq < room.read) this.store.set(PREFIX + room.name, mark);
  }

  /** Rooms that are not joined, ordered by the number of members. */
  get others() {
    const listed = new Map([...this.found, ...this.listed].map((each) => [each.room, each]));
    return [...listed.values()]
      .filter(({ room }) => !this.joined.has(room))
      .sort((a, b) => b.members - a.members || (b.time ?? "").localeCompare(a.time ?? "") || byName(a.room, b.room));
  }

  /**
   * The joined room `step` places after this one; the list wraps around.
   * @param {string} name
   * @param {number} step
   */
  neighbour(name, step) {
    const names = [...this.joined.keys()];
    const at = names.indexOf(name);
    if (at < 0) return names[0];
    return names[(at + step + names.length) % names.length];
  }

  get unread() {
    return [...this.joined.values()].reduce((sum, room) => sum + room.unread, 0);
  }

  get mentions() {
    return [...this.joined.values()].reduce((sum, room) => sum + room.position.mentions, 0);
  }
}

/**
 * @param {string} a
 * @param {string} b
 */
function byName(a, b) {
  return a.localeCompare(b) || (a < b ? -1 : a > b ? 1 : 0);
}
