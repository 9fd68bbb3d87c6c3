/**
 * One joined room as this page knows it: how far it was seen, a window of its log, who is there. Synchronous, and knows
 * neither socket, storage, clock nor DOM.
 *
 * The window is a stretch of the log, at most `WINDOW` items. While it is `attached`, its end is the log's end and live
 * messages go in; otherwise they only move `last`, and the window is read on from history when the reader gets there.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {{kind: "message", life: number, message: Message}} MessageItem
 * @typedef {{kind: "gap", life: number, gap: import("./protocol.js").Gap}} GapItem
 * @typedef {MessageItem | GapItem} Item
 */

import { splitCursor } from "./protocol.js";

/** More would make a browser's layout slow, fewer would show while scrolling. */
export const WINDOW = 500;
const TYPING_MS = 5_000;

export class Room {
  epoch = "";
  /** Counts the epochs met: tells apart messages that carry the same seq in different lives of the room. */
  life = 0;
  /** The newest seq that was delivered. */
  last = 0;
  /** The oldest seq that the server keeps, as far as known. */
  first = 1;
  /** The newest seq at the time of joining; what is above `last` is on its way. */
  head = 0;
  /** The newest seq that its reader saw. */
  read = 0;
  /** Where the reader stood when the room was opened: a line is drawn after it. */
  newAfter = 0;
  /** @type {Item[]} */
  items = [];
  attached = true;
  /** Whether the reader looks at the end of the window. */
  following = true;
  /** Whether the server has said `joined` on the present link. */
  joined = false;
  /** Why it could not be joined; empty if it could. */
  problem = "";
  count = 0;
  /** @type {Map<string, string>} name to since when */
  members = new Map();
  /** @type {Map<string, number>} name to until when it is shown, in ms */
  typing = new Map();
  /** Counts the times the window was put elsewhere: what was asked for before belongs to another stretch of the log. */
  stretch = 0;
  /** @type {"older" | "newer" | null} the page of history that is under way */
  loading = null;

  /** Whether messages in the window may have been taken away unheard, as there was no link: history would tell. */
  isStale = false;

  /** Whether `joined` named a new epoch, and the gap that belongs to it is still to come. */
  #isToldAnew = false;

  /**
   * @param {string} name
   * @param {string | null} readCursor how far its reader had got when the page was last open
   */
  constructor(name, readCursor) {
    this.name = name;
    this.readCursor = readCursor;
  }

  /** The resume point; undefined before the first `joined`. */
  get cursor() {
    return this.epoch ? `${this.epoch}:${this.last}` : undefined;
  }

  get unread() {
    return Math.max(0, Math.max(this.last, this.head) - this.read);
  }

  get oldest() {
    const item = this.items.find((item) => item.kind === "message");
    return item?.kind === "message" ? item : undefined;
  }

  get newest() {
    const item = this.items.findLast((item) => item.kind === "message");
    return item?.kind === "message" ? item : undefined;
  }

  /**
   * The message of this number in the window, if it is there.
   * @param {number} seq
   */
  find(seq) {
    for (const item of this.items) {
      if (item.kind === "message" && item.life === this.life && item.message.seq === seq) return item;
    }
    return undefined;
  }

  /** The oldest seq in the window that the server may still know. */
  get firstShown() {
    const item = this.items.find((item) => item.kind === "message" && item.life === this.life);
    return item?.kind === "message" ? item.message.seq : undefined;
  }

  /** Whether history holds messages above the window. What came before a new epoch is gone from the server. */
  get hasOlder() {
    return this.oldest?.life === this.life && this.oldest.message.seq > this.first;
  }

  get hasNewer() {
    return !this.attached;
  }

  /** @param {import("./protocol.js").JoinedEvent} event */
  onJoined(event) {
    const { epoch, seq } = splitCursor(event.cursor);
    if (this.epoch && epoch !== this.epoch) {
      this.#beginAnew();
      this.#isToldAnew = true;
    }
    const isFirst = !this.epoch;
    if (isFirst) this.#begin(epoch, seq);
    if (isFirst && this.read > 0 && this.read < event.last) this.newAfter = this.read;
    this.joined = true;
    this.problem = "";
    this.first = Math.max(1, event.first);
    this.head = event.last;
    this.onMembers(event);
  }

  /**
   * Take a live message in; false if it was known.
   * @param {Message} message
   */
  onMessage(message) {
    if (message.seq <= this.last) return false;
    this.last = message.seq;
    this.typing.delete(message.sender);
    this.#append({ kind: "message", life: this.life, message });
    return true;
  }

  /**
   * Take a gap in. After one of reason `epoch` that no `joined` came before, the new epoch is not known, and with it no
   * resume point: the room has to be joined anew.
   * @param {import("./protocol.js").Gap} gap
   */
  onGap(gap) {
    if (gap.reason === "epoch" && !this.#isToldAnew) this.#beginAnew();
    this.#isToldAnew = false;
    this.last = gap.before - 1;
    if (this.items.length === 0) this.first = Math.max(this.first, gap.before);
    else this.#append({ kind: "gap", life: this.life, gap });
  }

  /** @param {number} seq */
  onRedacted(seq) {
    const item = this.find(seq);
    if (item) item.message = { ...item.message, body: "", data: undefined, redacted: true };
  }

  /** @param {{members: import("./protocol.js").Member[], count: number}} event */
  onMembers({ members, count }) {
    this.members = new Map(members.map(({ name, since }) => [name, since]));
    this.count = count;
  }

  /** @param {import("./protocol.js").PresenceEvent} event */
  onPresence({ joined = [], left = [], count }) {
    for (const name of left) this.members.delete(name);
    for (const name of joined) this.members.set(name, "");
    for (const name of left) this.typing.delete(name);
    this.count = count;
  }

  /**
   * @param {string} sender
   * @param {number} nowMs
   */
  onTyping(sender, nowMs) {
    this.typing.set(sender, nowMs + TYPING_MS);
  }

  /** @param {number} nowMs */
  typists(nowMs) {
    return [...this.typing].filter(([, untilMs]) => untilMs > nowMs).map(([name]) => name);
  }

  /** The link went: nobody can be seen until it is back. */
  onLinkLost() {
    this.joined = false;
    this.isStale = this.items.length > 0;
    this.loading = null;
    this.typing.clear();
  }

  /** The reader sees the end of the log. */
  markRead() {
    this.read = Math.max(this.last, this.attached ? this.head : 0);
  }

  /**
   * Put an older page above the window.
   * @param {Message[]} messages
   * @param {boolean} complete
   */
  prepend(messages, complete) {
    const oldest = this.oldest?.message.seq ?? Infinity;
    const older = this.#items(messages).filter((item) => item.message.seq < oldest);
    if (complete) this.first = older[0]?.message.seq ?? oldest;
    this.items = [...older, ...this.items];
    if (this.items.length <= WINDOW) return;
    this.items.length = WINDOW;
    this.attached = false;
  }

  /**
   * Put a newer page below the window.
   * @param {Message[]} messages
   * @param {boolean} complete
   */
  append(messages, complete) {
    const newest = this.newest?.message.seq ?? 0;
    const newer = this.#items(messages).filter((item) => item.message.seq > newest);
    this.items = [...this.items, ...newer].slice(-WINDOW);
    this.#attachAt(newer.at(-1)?.message.seq ?? (complete ? this.last : newest));
  }

  /**
   * Look at another stretch of the log.
   * @param {Message[]} messages
   */
  replace(messages) {
    this.stretch += 1;
    this.items = this.#items(messages);
    this.#attachAt(messages.at(-1)?.seq ?? this.last);
  }

  /** @param {number} seq the window's newest */
  #attachAt(seq) {
    // A history page may hold what live delivery is about to bring: then that counts as delivered.
    this.last = Math.max(this.last, seq);
    this.attached = seq >= this.last;
  }

  /** @param {Message[]} messages */
  #items(messages) {
    return messages.map((message) => /** @type {MessageItem} */ ({ kind: "message", life: this.life, message }));
  }

  /** @param {Item} item */
  #append(item) {
    if (!this.attached) return;
    if (this.items.length < WINDOW) this.items.push(item);
    else if (this.following) this.items = [...this.items.slice(1 - WINDOW), item];
    else this.attached = false; // the reader looks at the far end: it stays
  }

  /**
   * @param {string} epoch
   * @param {number} seq
   */
  #begin(epoch, seq) {
    this.epoch = epoch;
    // What this life delivered before its epoch was known would leave a hole below what comes now.
    if (seq > this.last) this.items = this.items.filter((item) => item.kind === "gap" || item.life !== this.life);
    this.last = Math.max(this.last, seq);
    const mark = splitCursor(this.readCursor ?? "");
    if (mark.epoch === epoch) this.read = mark.seq;
  }

  #beginAnew() {
    this.epoch = "";
    this.life += 1;
    this.stretch += 1;
    this.first = 1;
    this.last = this.head = this.read = this.newAfter = 0;
    if (!this.attached) this.items = [];
    this.attached = true;
  }
}
