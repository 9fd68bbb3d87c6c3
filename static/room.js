/**
 * One joined room: a window of its log, the position of its reader, and its members. Synchronous; knows no socket,
 * storage, clock or DOM.
 *
 * @typedef {import("./protocol.js").Message} Message
 */

import { LogWindow } from "./log_window.js";
import { splitCursor } from "./protocol.js";
import { ReadPosition } from "./read_position.js";

const TYPING_MS = 5_000;

export class Room extends LogWindow {
  epoch = "";
  /** The newest seq at the time of joining; messages above `last` will be delivered. */
  head = 0;
  /** How far the user has read. */
  position = new ReadPosition();
  /** The value of `read` when the room was opened: the "New" line is drawn after it. */
  newAfter = 0;
  /** Whether the room was joined on the present connection. */
  joined = false;
  /** @type {{code: string, message: string, wasInside: boolean} | null} why the server does not let the user in */
  refusal = null;
  /** @type {string[] | undefined} what the user may do; undefined on a server that is open to everybody */
  rights;
  topic = "";
  archived = false;
  count = 0;
  /** @type {Map<string, {verified?: boolean, bot?: boolean}>} */
  members = new Map();
  /** @type {Map<string, number>} name to the time until which it is shown, in ms */
  typing = new Map();
  /** @type {"older" | "newer" | null} the page of history that was requested */
  loading = null;

  /** Whether messages in the window may have been redacted while there was no connection. */
  isStale = false;

  /** Whether the server has counted what the user has not read. */
  #isCounted = false;

  /** Whether `joined` announced a new epoch whose gap has not arrived yet. */
  #isEpochAnnounced = false;

  /**
   * @param {string} name
   * @param {string | null} readCursor the position of the user when the page was last open
   */
  constructor(name, readCursor) {
    super();
    this.name = name;
    this.readCursor = readCursor;
  }

  /** The cursor to resume from; undefined before the first `joined`. */
  get cursor() {
    return this.epoch ? `${this.epoch}:${this.last}` : undefined;
  }

  /** The newest seq that the user has read. */
  get read() {
    return this.position.seq;
  }

  /** Whether the user has read everything that the server is known to have. */
  get isRead() {
    return this.read >= this.#end;
  }

  /** The number of unread messages. */
  get unread() {
    return this.position.unread;
  }

  /** Whether history has messages before the window. The server has no messages of an earlier epoch. */
  get hasOlder() {
    const { oldest } = this;
    if (oldest) return oldest.generation === this.generation && oldest.message.seq > this.first;
    // What was delivered may consist of changes of older messages.
    return this.joined && this.items.length === 0 && this.last >= this.head && this.last >= this.first;
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
    if (isFirst) this.position.start(event.last);
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
   * @param {string} name the user's
   */
  onMessage(entry, name) {
    if (!this.deliver(entry)) return false;
    this.typing.delete(entry.sender);
    this.position.onEntry(entry, name);
    return true;
  }

  /**
   * Add a gap. If its reason is `epoch` and no `joined` came before it, the new epoch is unknown, and so is the cursor:
   * the room has to be joined again.
   * @param {import("./protocol.js").Gap} gap
   */
  onGap(gap) {
    if (gap.reason === "epoch" && !this.#isEpochAnnounced) this.#resetForNewEpoch();
    this.#isEpochAnnounced = false;
    this.skip(gap);
    this.isStale = this.items.length > 0;
  }

  /** @param {{members: import("./protocol.js").Member[], count: number}} event */
  onMembers({ members, count }) {
    this.members = new Map(members.map((member) => [member.name, member]));
    this.count = count;
  }

  /** @param {import("./protocol.js").PresenceEvent} event */
  onPresence({ joined = [], left = [], count, verified = [], bots = [] }) {
    for (const name of left) this.members.delete(name);
    for (const name of joined) this.members.set(name, { verified: verified.includes(name), bot: bots.includes(name) });
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

  /**
   * The server counted what the user has not read.
   * @param {import("./read_position.js").ServerCount} count
   */
  onCount(count) {
    const wasUnknown = !this.#isCounted;
    this.#isCounted = true;
    // The marker of another browser may be ahead of this one's when the room is opened.
    if (wasUnknown && count.marker > 0) this.newAfter = count.unread > 0 ? count.marker : 0;
    this.position.onCount(count);
  }

  /** The user has read to the end of the log. */
  markRead() {
    this.position.advance(this.#end);
  }

  get #end() {
    return Math.max(this.last, this.attached ? this.head : 0);
  }

  /**
   * @param {string} epoch
   * @param {number} seq
   */
  #startEpoch(epoch, seq) {
    this.epoch = epoch;
    this.startAt(seq);
    const mark = splitCursor(this.readCursor ?? "");
    if (mark.epoch === epoch) this.position.advance(mark.seq);
  }

  #resetForNewEpoch() {
    this.epoch = "";
    this.startGeneration();
    this.head = this.newAfter = 0;
    this.position.reset();
  }
}
