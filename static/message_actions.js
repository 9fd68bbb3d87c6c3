/**
 * What a user may do with a message, and how the actions are named. Pure functions.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 * @typedef {{name: string, verified: boolean}} User
 * @typedef {"reply" | "react" | "edit" | "pin" | "unpin" | "copy-text" | "copy-link" | "reactions" | "redact" | "mute"
 *   | "kick" | "ban"} Action
 */

/** @type {Record<Action, string>} */
export const LABELS = {
  reply: "Reply",
  react: "Add a reaction…",
  edit: "Edit",
  pin: "Pin",
  unpin: "Unpin",
  "copy-text": "Copy text",
  "copy-link": "Copy link",
  reactions: "Who reacted…",
  redact: "Remove message…",
  mute: "Mute…",
  kick: "Remove from room…",
  ban: "Ban…",
};

/** @type {ReadonlySet<string>} */
export const DANGEROUS = new Set(["redact", "kick", "ban"]);

/** @type {Record<string, Action>} the keys on a message that has the focus */
export const KEYS = {
  r: "reply",
  e: "edit",
  "+": "react",
  p: "pin",
  c: "copy-text",
  l: "copy-link",
  Delete: "redact",
};

/** The reactions that are offered without a search. */
export const QUICK_REACTIONS = ["👍", "❤️", "😂", "🎉", "👀", "✅"];

/**
 * Return what a user may do with a message and its sender, in the order of the menu.
 * @param {Message} message
 * @param {Room} room
 * @param {User} user
 * @returns {Action[]}
 */
export function actionsOn(message, room, user) {
  const isModerator = room.rights?.includes("moderate") ?? false;
  const isMine = room.canWrite && isOwn(message, room, user);
  const isHere = !message.redacted;
  /** @type {[Action, boolean][]} */
  const offers = [
    ["reply", isHere && room.canWrite],
    ["react", isHere && room.canWrite],
    ["edit", isHere && isMine],
    [message.pinned ? "unpin" : "pin", isHere && room.canWrite],
    ["copy-text", isHere],
    ["copy-link", true],
    ["reactions", message.reactions !== undefined],
    ["redact", isHere && (isMine || isModerator)],
    ["mute", isModerator && message.sender !== user.name],
    ["kick", isModerator && message.sender !== user.name],
    ["ban", isModerator && message.sender !== user.name],
  ];
  return offers.filter(([, isOffered]) => isOffered).map(([action]) => action);
}

/**
 * Whether a message is the user's own. A message under the same name that is not verified may be somebody else's,
 * except on a server that is open to everybody, where nobody can prove who they are.
 * @param {Message} message
 * @param {Room} room
 * @param {User} user
 */
export function isOwn(message, room, user) {
  if (message.sender !== user.name) return false;
  return room.rights === undefined || (user.verified && message.verified === true);
}
