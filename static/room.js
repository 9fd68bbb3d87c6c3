/**
 * One joined room: the position of its reader, a window of its log, and its members. Synchronous; knows no socket,
 * storage, clock or DOM.
 *
 * The window holds at most `WINDOW` consecutive items. While it is `attached`, it ends at the end of the log and live
 * messages are appended. Otherwise live messages only advance `last`, and the window is extended from history when the
 * reader scrolls there.
 *
 * A message of the window is in its current state: pages of history have the state as of their end, and the changes that
 * are delivered later are applied here.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {{messages: Message[], complete: boolean, last?: number}} HistoryPage `last` is the newest seq at the time
 *   of reading
 * @typedef {{kind: "message", generation: number, message: Message, asOf: number}} MessageItem `asOf` is the newest
 *   seq that the state of the message takes into account
 * @typedef {{kind: "gap", generation: number, gap: import("./protocol.js").Gap}} GapItem
 * @typedef {MessageItem | GapItem} Item
 */

import { splitCursor } from "./protocol.js";
import { applyChange, isChange, redacted } from "./relations.js";

/** With more items, layout is slow in browsers; with fewer, loading is visible while scrolling. */
export const WINDOW = 500;
const TYPING_MS = 5_000;
// A page of history may arrive after changes that were made since it was read, but not long after.
const MAX_RECENT = 200;

export class Room {
  epoch = "";
  /** The number of epochs so far: distinguishes messages with the same seq in different epochs. */
  generation = 0;
  /** The newest seq that was delivered. */
  last = 0;
  /** The oldest seq that the server is known to keep. */
  first = 1;
  /** The newest seq at the time of joining; messages above `last` will be delivered. */
  head = 0;
  /** The newest seq that the user has read. */
  read = 0;
  /** The value of `read` when the room was opened: the "New" line is drawn after it. */
  newAfter = 0;
  /** @type {Item[]} */
  items = [];
  attached = true;
  /** Whether the view stays at the end of the window. */
  following = true;
  /** Whether the room was joined on the present connection. */
  joined = false;
  /** @type {{code: string, message: string, wasInside: boolean} | null} why the server does not let the user in */
  refusal = null;
  /** @type {string[] | undefined} what the user may do; undefined on a server that is open to everybody */
  rights;
  topic = "";
  archived = false;
  count = 0;
  /** @type {Map<string, string>} name to the time of joining */
  members = new Map();
  /** @type {Map<string, number>} name to the time until which it is shown, in ms */
  typing = new Map();
  /** Counts the replacements of the window: a page that was requested before does not fit the present window. */
  windowVersion = 0;
  /** @type {"older" | "newer" | null} the page of history that was requested */
  loading = null;

  /** Whether messages in the window may have been redacted while there was no connection. */
  isStale = false;

  /** @type {Message[]} the newest entries that refer to an earlier one, as they were delivered */
  #recent = [];

  /** Whether `joined` announced a new epoch whose gap has not arrived yet. */
  #isEpochAnnounced = false;

  /**
   * @param {string} name
   * @param {string | null} readCursor the position of the user when the page was last open
   */
  constructor(name, readCursor) {
    this.name = name;
    this.readCursor = readCursor;
  }

  /** The cursor to resume from; undefined before the first `joined`. */
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
   * The message with this number, if it is in the window.
   * @param {number} seq
   */
  find(seq) {
    for (const item of this.items) {
      if (item.kind === "message" && item.generation === this.generation && item.message.seq === seq) return item;
    }
    return undefined;
  }

  /** The oldest seq in the window that belongs to the present epoch. */
  get firstShown() {
    const item = this.items.find((item) => item.kind === "message" && item.generation === this.generation);
    return item?.kind === "message" ? item.message.seq : undefined;
  }

  /** Whether history has messages before the window. The server has no messages of an earlier epoch. */
  get hasOlder() {
    const { oldest } = this;
    if (oldest) return oldest.generation === this.generation && oldest.message.seq > this.first;
    // What was delivered may consist of changes of older messages.
    return this.joined && this.items.length === 0 && this.last >= this.head && this.last >= this.first;
  }

  get hasNewer() {
    return !this.attached;
  }

  /** Whether the user may write. Assumed before the room is joined. */
  get canWrite() {
    return !this.archived && (this.rights?.includes("write") ?? true);
  }

  /** @param {import("./protocol.js").JoinedEvent} event */
  onJoined(event) {
    const { epoch, seq } = splitCursor(event.cursor);
    if (this.epoch && epoch !== this.epoch) {
      this.#resetForNewEpoch();
      this.#isEpochAnnounced = true;
    }
    const isFirst = !this.epoch;
    if (isFirst) this.#startEpoch(epoch, seq);
    if (isFirst && this.read > 0 && this.read < event.last) this.newAfter = this.read;
    this.joined = true;
    this.refusal = null;
    this.onSettings(event);
    this.first = Math.max(1, event.first);
    this.head = event.last;
    this.onMembers(event);
  }

  /** @param {{topic?: string, archived?: boolean, rights?: string[]}} settings */
  onSettings({ topic = "", archived = false, rights }) {
    this.topic = topic;
    this.archived = archived;
    this.rights = rights;
  }

  /**
   * The server refused to let the user in, or took the user out of the room.
   * @param {string} code
   * @param {string} message
   * @param {{wasInside: boolean}} how
   */
  onRefused(code, message, { wasInside }) {
    this.onConnectionLost();
    this.onSettings({});
    this.refusal = { code, message, wasInside };
    this.members.clear();
    this.count = 0;
  }

  /**
   * Add a live message, or change the message that it changes. Return false if it was received before.
   * @param {Message} entry
   */
  onMessage(entry) {
    // First, because a newer page may have advanced `last` without changing the messages beside it.
    if (entry.of !== undefined) this.#onReference(entry, entry.of);
    if (entry.seq <= this.last) return false;
    this.last = entry.seq;
    this.typing.delete(entry.sender);
    if (isChange(entry)) return true;
    this.#append({ kind: "message", generation: this.generation, message: entry, asOf: entry.seq });
    return true;
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
   * Add a gap. If its reason is `epoch` and no `joined` came before it, the new epoch is unknown, and so is the cursor:
   * the room has to be joined again.
   * @param {import("./protocol.js").Gap} gap
   */
  onGap(gap) {
    if (gap.reason === "epoch" && !this.#isEpochAnnounced) this.#resetForNewEpoch();
    this.#isEpochAnnounced = false;
    this.last = gap.before - 1;
    if (this.items.length === 0) this.first = Math.max(this.first, gap.before);
    else this.#append({ kind: "gap", generation: this.generation, gap });
  }

  /** @param {number} seq */
  onRedacted(seq) {
    const item = this.find(seq);
    if (item) item.message = redacted(item.message);
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
  typingNames(nowMs) {
    return [...this.typing].filter(([, untilMs]) => untilMs > nowMs).map(([name]) => name);
  }

  /** The connection was lost: presence is unknown until it is back. */
  onConnectionLost() {
    this.joined = false;
    this.isStale = this.items.length > 0;
    this.loading = null;
    this.typing.clear();
  }

  /** The user has read to the end of the log. */
  markRead() {
    this.read = Math.max(this.last, this.attached ? this.head : 0);
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
   * @param {string} epoch
   * @param {number} seq
   */
  #startEpoch(epoch, seq) {
    this.epoch = epoch;
    // Messages that this generation received before its epoch was known could leave a hole before the next ones.
    const isKept = (/** @type {Item} */ item) => item.kind === "gap" || item.generation !== this.generation;
    if (seq > this.last) this.items = this.items.filter(isKept);
    this.last = Math.max(this.last, seq);
    const mark = splitCursor(this.readCursor ?? "");
    if (mark.epoch === epoch) this.read = mark.seq;
  }

  #resetForNewEpoch() {
    this.epoch = "";
    this.generation += 1;
    this.windowVersion += 1;
    this.first = 1;
    this.last = this.head = this.read = this.newAfter = 0;
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
