/**
 * A window of a room's log. It holds at most `WINDOW` consecutive items. While it is `attached`, it ends at the end of
 * the log and live messages are appended. Otherwise live messages only advance `last`, and the window is extended from
 * history when the reader scrolls there.
 *
 * A message of the window is in its current state: pages of history have the state as of their end, and the changes that
 * are delivered later are applied here. Synchronous; knows no socket, storage, clock or DOM.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {{messages: Message[], complete: boolean, last?: number, reached?: number}} HistoryPage `last` is the newest
 *   seq at the time of reading; `reached` is where a search continues that has ended early
 * @typedef {{kind: "message", generation: number, message: Message, asOf: number}} MessageItem `asOf` is the newest
 *   seq that the state of the message takes into account
 * @typedef {{kind: "gap", generation: number, gap: import("./protocol.js").Gap}} GapItem
 * @typedef {MessageItem | GapItem} Item
 */

import { applyChange, isChange, redacted } from "./relations.js";

/** With more items, layout is slow in browsers; with fewer, loading is visible while scrolling. */
export const WINDOW = 500;
// A page of history may arrive after changes that were made since it was read, but not long after.
const MAX_RECENT = 200;

export class LogWindow {
  /** The number of epochs so far: distinguishes messages with the same seq in different epochs. */
  generation = 0;
  /** The newest seq that was delivered. */
  last = 0;
  /** The oldest seq that the server is known to keep. */
  first = 1;
  /** @type {Item[]} */
  items = [];
  attached = true;
  /** Whether the view stays at the end of the window. */
  following = true;
  /** Counts the replacements of the window: a page that was requested before does not fit the present window. */
  windowVersion = 0;
  /** @type {Message[]} the newest entries that refer to an earlier one, as they were delivered */
  #recent = [];

  get oldest() {
    const item = this.items.find((item) => item.kind === "message");
    return item?.kind === "message" ? item : undefined;
  }

  get newest() {
    const item = this.items.findLast((item) => item.kind === "message");
    return item?.kind === "message" ? item : undefined;
  }

  /**
   * The message with this number, if it is in the window.
   * @param {number} seq
   */
  find(seq) {
    for (const item of this.items) {
      if (item.kind === "message" && item.generation === this.generation && item.message.seq === seq) return item;
    }
    return undefined;
  }

  /** The messages of the window, for questions about many of them. */
  bySeq() {
    /** @type {Map<number, Message>} */
    const messages = new Map();
    for (const item of this.items) {
      if (item.kind === "message" && item.generation === this.generation) messages.set(item.message.seq, item.message);
    }
    return messages;
  }

  /** The oldest seq in the window that belongs to the present epoch. */
  get firstShown() {
    const item = this.items.find((item) => item.kind === "message" && item.generation === this.generation);
    return item?.kind === "message" ? item.message.seq : undefined;
  }

  get hasNewer() {
    return !this.attached;
  }

  /**
   * Add a delivered entry, or change the message that it changes. Return false if it was delivered before.
   * @param {Message} entry
   */
  deliver(entry) {
    // First, because a newer page may have advanced `last` without changing the messages beside it.
    if (entry.of !== undefined) this.#onReference(entry, entry.of);
    if (entry.seq <= this.last) return false;
    this.last = entry.seq;
    if (!isChange(entry)) this.#append({ kind: "message", generation: this.generation, message: entry, asOf: entry.seq });
    return true;
  }

  /**
   * Continue after a gap.
   * @param {import("./protocol.js").Gap} gap
   */
  skip(gap) {
    this.last = gap.before - 1;
    if (this.items.length === 0) this.first = Math.max(this.first, gap.before);
    else this.#append({ kind: "gap", generation: this.generation, gap });
  }

  /** @param {number} seq */
  onRedacted(seq) {
    const item = this.find(seq);
    if (item) item.message = redacted(item.message);
  }

  /**
   * @param {Message} entry
   * @param {number} target
   */
  #onReference(entry, target) {
    this.#recent = [...this.#recent.slice(1 - MAX_RECENT), entry];
    const item = this.find(target);
    if (item) applyTo(item, entry);
  }

  /**
   * Return the seq of the newest delivered entry that refers to a message, or 0. The message may be outside the window.
   * @param {number} target
   */
  newestReference(target) {
    return this.#recent.findLast(({ of }) => of === target)?.seq ?? 0;
  }

  /**
   * Add an older page before the window.
   * @param {HistoryPage} page
   */
  prepend(page) {
    const oldest = this.oldest?.message.seq ?? Infinity;
    const older = this.#items(page).filter((item) => item.message.seq < oldest);
    if (page.complete) this.first = older[0]?.message.seq ?? (this.oldest ? oldest : this.last + 1);
    this.items = [...older, ...this.items];
    if (this.items.length <= WINDOW) return;
    this.items.length = WINDOW;
    this.attached = false;
  }

  /**
   * Add a newer page after the window.
   * @param {HistoryPage} page
   */
  append(page) {
    const newest = this.newest?.message.seq ?? 0;
    const newer = this.#items(page).filter((item) => item.message.seq > newest);
    this.items = [...this.items, ...newer].slice(-WINDOW);
    this.#attachAt(page.complete ? this.#endOf(page) : (newer.at(-1)?.message.seq ?? newest));
  }

  /**
   * Replace the window by another part of the log.
   * @param {HistoryPage[]} pages consecutive pages
   * @param {{isAtEnd: boolean}} where whether the last page ends at the end of the log
   */
  replace(pages, { isAtEnd }) {
    this.windowVersion += 1;
    this.items = pages.flatMap((page) => this.#items(page));
    const page = pages.at(-1);
    this.#attachAt(isAtEnd && page ? this.#endOf(page) : (this.newest?.message.seq ?? 0));
  }

  /**
   * Put messages of the window into the state that a page has.
   * @param {HistoryPage} page
   */
  refresh(page) {
    for (const fresh of this.#items(page)) {
      const item = this.find(fresh.message.seq);
      if (item) Object.assign(item, fresh);
    }
  }

  /**
   * The seq that a page reaches at the end of the log. The last entries may be changes, which a page does not list.
   * @param {HistoryPage} page
   */
  #endOf({ messages, last }) {
    return last ?? messages.at(-1)?.seq ?? this.last;
  }

  /** @param {number} seq the newest seq of the window */
  #attachAt(seq) {
    // A page of history may contain messages before their live delivery; they count as delivered.
    this.last = Math.max(this.last, seq);
    this.attached = seq >= this.last;
  }

  /** @param {HistoryPage} page */
  #items({ messages, last = messages.at(-1)?.seq ?? 0 }) {
    const { generation } = this;
    const items = messages.map(
      (message) => /** @type {MessageItem} */ ({ kind: "message", generation, message, asOf: last }),
    );
    const bySeq = new Map(items.map((item) => [item.message.seq, item]));
    for (const entry of this.#recent) {
      const item = bySeq.get(entry.of ?? 0);
      if (item) applyTo(item, entry);
    }
    return items;
  }

  /** @param {Item} item */
  #append(item) {
    if (!this.attached) return;
    if (this.items.length < WINDOW) this.items.push(item);
    else if (this.following) this.items = [...this.items.slice(1 - WINDOW), item];
    else this.attached = false; // the user is reading at the other end, which must stay
  }

  /**
   * Begin to read an epoch at `seq`.
   * @param {number} seq
   */
  startAt(seq) {
    // Messages that this generation received before its epoch was known could leave a hole before the next ones.
    const isKept = (/** @type {Item} */ item) => item.kind === "gap" || item.generation !== this.generation;
    if (seq > this.last) this.items = this.items.filter(isKept);
    this.last = Math.max(this.last, seq);
  }

  /** The log was replaced by another: what is shown stays, marked by its generation. */
  startGeneration() {
    this.generation += 1;
    this.windowVersion += 1;
    this.first = 1;
    this.last = 0;
    this.#recent = [];
    if (!this.attached) this.items = [];
    this.attached = true;
  }
}

/**
 * Apply an entry to the message that it refers to, unless the state of the message contains it.
 * @param {MessageItem} item
 * @param {Message} entry
 */
function applyTo(item, entry) {
  if (entry.seq <= item.asOf) return;
  item.message = applyChange(item.message, entry);
  item.asOf = entry.seq;
}
