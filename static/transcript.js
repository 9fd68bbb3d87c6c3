/**
 * Turns a room into the lines of the log: messages grouped by sender, days, gaps, the "New" line, and messages that are
 * not stored yet. A pure function. If the `id` of a line stays and its `look` changes, its element is built again.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./outbox.js").Entry} Entry
 * @typedef {import("./message_actions.js").User} User
 * @typedef {import("./views/body.js").Known} Known
 * @typedef {import("./parsed.js").Parsed} Parsed
 * @typedef {{seq: number, sender: string, text: string}} Parent the message that a reply refers to; without a sender, it
 *   is not known
 * @typedef {{kind: "day", id: string, look: string, label: string}} DayLine
 * @typedef {{kind: "gap", id: string, look: string, text: string}} GapLine
 * @typedef {{kind: "new", id: string, look: string}} NewLine
 * @typedef {{kind: "message", id: string, look: string, message: Message, follows: boolean, own: boolean,
 *   hasMarks: boolean, parsed: Parsed, known: Known, parent: Parent | null, canReact: boolean}} MessageLine
 * @typedef {{kind: "pending", id: string, look: string, entry: Entry, follows: boolean, note: string,
 *   canDiscard: boolean, sender: string, known: Known}} PendingLine
 * @typedef {DayLine | GapLine | NewLine | MessageLine | PendingLine} Line
 */

import { hookOf } from "./hook.js";
import { parsedOf, textOf } from "./parsed.js";

const EXCERPT_CHARS = 140; // fits in one line of a wide window
const GROUP_MS = 5 * 60_000; // after a longer pause, the sender's name is shown again

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

/**
 * @param {import("./room.js").Room} room
 * @param {object} page
 * @param {Entry[]} page.pending
 * @param {User} page.me
 * @param {(entry: Entry) => {note: string, canDiscard: boolean}} page.status
 * @param {Known} page.known
 * @param {(seq: number) => Message | null} page.parentOf the message that a reply refers to, if it is known
 * @param {Date} page.now
 * @returns {Line[]}
 */
export function linesOf(room, { pending, me, status, known, parentOf, now }) {
  const hasMarks = room.rights !== undefined; // on an open server, nobody can prove who they are
  const groups = new Groups(now);
  let isNewMarked = room.newAfter === 0;
  for (const item of room.items) {
    if (item.kind === "gap") {
      const text = gapText(item.gap);
      groups.interrupt({ kind: "gap", id: `gap ${item.generation} ${item.gap.before}`, look: text, text });
      continue;
    }
    const { message, generation } = item;
    if (!isNewMarked && generation === room.generation && message.seq > room.newAfter) {
      isNewMarked = true;
      groups.interrupt(groups.lines.length ? { kind: "new", id: "new", look: "" } : null);
    }
    const mark = `${hasMarks ? markOf(message) : ""} ${hookOf(message)?.username ?? ""}`;
    const follows = groups.add(message.sender, mark.trim(), message.time, message.of !== undefined);
    groups.lines.push(messageLine(message, `${generation}:${message.seq}`, { room, me, follows, known, parentOf }));
  }
  for (const entry of room.attached ? pending : []) {
    const follows = groups.add(me.name, hasMarks && me.verified ? "verified" : "", entry.time, false);
    const { note, canDiscard } = status(entry);
    const look = `${follows} ${note} ${canDiscard}`;
    const id = `key ${entry.key}`;
    groups.lines.push({ kind: "pending", id, look, entry, follows, note, canDiscard, sender: me.name, known });
  }
  return groups.lines;
}

/** The lines so far; groups the messages by day and sender. */
class Groups {
  /** @type {Line[]} */
  lines = [];
  #previous = { sender: "", mark: "", ms: -Infinity };
  #day = { start: 0, end: 0 };

  /** @param {Date} now */
  constructor(now) {
    this.now = now;
  }

  /**
   * Add a line after which the sender's name is shown again.
   * @param {Line | null} line
   */
  interrupt(line) {
    if (line) this.lines.push(line);
    this.#previous = { ...this.#previous, sender: "" };
  }

  /**
   * Add the line of a new day if a message begins one; return whether the message continues those of its sender.
   * @param {string} sender
   * @param {string} mark
   * @param {string} time
   * @param {boolean} isReply a reply shows its sender, because it shows another one above the text
   */
  add(sender, mark, time, isReply) {
    const previous = this.#previous;
    const ms = Date.parse(time);
    const isNewDay = ms < this.#day.start || ms >= this.#day.end;
    if (isNewDay) {
      const date = new Date(ms);
      this.#day = { start: startOfDay(date), end: startOfDay(date, 1) };
      const label = dayLabel(date, this.now);
      this.lines.push({ kind: "day", id: `day ${this.#day.start} ${previous.ms}`, look: label, label });
    }
    const isSame = !isNewDay && sender === previous.sender && mark === previous.mark;
    this.#previous = { sender, mark, ms };
    return isSame && !isReply && ms - previous.ms < GROUP_MS;
  }
}

/**
 * @param {Message} message
 * @param {string} id
 * @param {{room: import("./room.js").Room, me: User, follows: boolean, known: Known,
 *   parentOf: (seq: number) => Message | null}} place
 * @returns {MessageLine}
 */
function messageLine(message, id, { room, me, follows, known, parentOf }) {
  const hasMarks = room.rights !== undefined;
  // A message under the same name that is not verified may be somebody else's.
  const own = message.sender === me.name && (!hasMarks || (message.verified ?? false) === me.verified);
  const parsed = parsedOf(message);
  const parent = message.of === undefined ? null : parentLine(message.of, parentOf(message.of));
  const canReact = room.canWrite;
  const look = JSON.stringify([
    [follows, own, hasMarks ? markOf(message) : "", canReact, me.name],
    [message.redacted, message.edited?.seq, message.pinned, message.reactions, parent],
    parsed.names.size && [...parsed.names].filter((name) => known.names.has(name) || message.mentions?.includes(name)),
    parsed.rooms.size && [...parsed.rooms].filter((name) => known.rooms.has(name)),
  ]);
  return { kind: "message", id, look, message, follows, own, hasMarks, parsed, known, parent, canReact };
}

/**
 * @param {number} seq
 * @param {Message | null} message
 * @returns {Parent}
 */
function parentLine(seq, message) {
  if (!message) return { seq, sender: "", text: `message ${seq}` };
  const text = message.redacted ? "This message was removed." : excerpt(message);
  return { seq, sender: message.sender, text };
}

/** @type {WeakMap<Message, string>} a message that changes is another object */
const excerpts = new WeakMap();

/**
 * Return the beginning of a message's text in one line, without its markdown.
 * @param {Message} message
 */
export function excerpt(message) {
  const known = excerpts.get(message);
  if (known !== undefined) return known;
  const made = makeExcerpt(message);
  excerpts.set(message, made);
  return made;
}

/** @param {Message} message */
function makeExcerpt(message) {
  const text = textOf(parsedOf(message).blocks) || (hookOf(message)?.cards[0]?.title ?? "");
  const line = text.slice(0, 2 * EXCERPT_CHARS).replace(/\s+/g, " ").trim();
  return line.length > EXCERPT_CHARS ? `${line.slice(0, EXCERPT_CHARS)}…` : line;
}

/** @param {Message} message */
function markOf({ verified, bot }) {
  return [verified ? "verified" : "", bot ? "bot" : ""].filter(Boolean).join(" ");
}

/** @param {import("./protocol.js").Gap} gap */
function gapText({ after, before, reason }) {
  if (reason === "epoch") return "This room was reset. The messages above are no longer on the server.";
  const [from, to] = [after + 1, before - 1];
  if (from > to) return "Some messages may be missing here.";
  const which = from === to ? `Message ${from} is` : `Messages ${from}–${to} are`;
  return reason === "no-history" ? `${which} missing: this server keeps no history.` : `${which} no longer kept.`;
}

/**
 * @param {Date} date
 * @param {Date} now
 */
function dayLabel(date, now) {
  const days = Math.round((startOfDay(now) - startOfDay(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (days > 0 && days < 300 ? DAY : DAY_OF_YEAR).format(date);
}

/**
 * Return the time in ms at which a day begins, or one that is `later` days after it.
 * @param {Date} date
 */
function startOfDay(date, later = 0) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + later).getTime();
}
