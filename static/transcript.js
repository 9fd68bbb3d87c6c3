/**
 * Turns a room into the lines of the log: messages grouped by sender, days, gaps, the "New" line, and messages that are
 * not stored yet. A pure function. If the `id` of a line stays and its `look` changes, its element is built again.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./outbox.js").Entry} Entry
 * @typedef {import("./moderation.js").User} User
 * @typedef {{kind: "day", id: string, look: string, label: string}} DayLine
 * @typedef {{kind: "gap", id: string, look: string, text: string}} GapLine
 * @typedef {{kind: "new", id: string, look: string}} NewLine
 * @typedef {{kind: "message", id: string, look: string, message: Message, follows: boolean, own: boolean,
 *   hasMarks: boolean, hasMenu: boolean}} MessageLine
 * @typedef {{kind: "pending", id: string, look: string, entry: Entry, follows: boolean, note: string,
 *   sender: string}} PendingLine
 * @typedef {DayLine | GapLine | NewLine | MessageLine | PendingLine} Line
 */

const GROUP_MS = 5 * 60_000; // after a longer pause, the sender's name is shown again

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

/**
 * @param {import("./room.js").Room} room
 * @param {{pending: Entry[], me: User, note: (entry: Entry) => string, hasMenu: (message: Message) => boolean,
 *   now: Date}} page
 * @returns {Line[]}
 */
export function linesOf(room, { pending, me, note, hasMenu, now }) {
  /** @type {Line[]} */
  const lines = [];
  const hasMarks = room.rights !== undefined; // on an open server, nobody can prove who they are
  let previous = { sender: "", mark: "", ms: -Infinity, day: "" };

  /**
   * @param {string} sender
   * @param {string} mark
   * @param {string} time
   */
  const group = (sender, mark, time) => {
    const date = new Date(time);
    const day = date.toDateString();
    if (day !== previous.day) {
      const label = dayLabel(date, now);
      lines.push({ kind: "day", id: `day ${day} ${previous.ms}`, look: label, label });
    }
    const ms = date.getTime();
    const isSame = day === previous.day && sender === previous.sender && mark === previous.mark;
    const follows = isSame && ms - previous.ms < GROUP_MS;
    previous = { sender, mark, ms, day };
    return follows;
  };

  let isNewMarked = room.newAfter === 0;
  for (const item of room.items) {
    if (item.kind === "gap") {
      const text = gapText(item.gap);
      lines.push({ kind: "gap", id: `gap ${item.generation} ${item.gap.before}`, look: text, text });
      previous = { ...previous, sender: "" };
      continue;
    }
    const { message, generation } = item;
    if (!isNewMarked && generation === room.generation && message.seq > room.newAfter) {
      isNewMarked = true;
      if (lines.length) lines.push({ kind: "new", id: "new", look: "" });
      previous = { ...previous, sender: "" };
    }
    const mark = hasMarks ? markOf(message) : "";
    const follows = group(message.sender, mark, message.time);
    // A message under the same name that is not verified may be somebody else's.
    const own = message.sender === me.name && (!hasMarks || (message.verified ?? false) === me.verified);
    const isOffered = hasMenu(message);
    const look = `${follows} ${own} ${message.redacted ?? false} ${mark} ${isOffered}`;
    const id = `${generation}:${message.seq}`;
    lines.push({ kind: "message", id, look, message, follows, own, hasMarks, hasMenu: isOffered });
  }
  for (const entry of room.attached ? pending : []) {
    const follows = group(me.name, hasMarks && me.verified ? "verified" : "", entry.time);
    const status = note(entry);
    const look = `${follows} ${status}`;
    lines.push({ kind: "pending", id: `key ${entry.key}`, look, entry, follows, note: status, sender: me.name });
  }
  return lines;
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

/** @param {Date} date */
function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}
