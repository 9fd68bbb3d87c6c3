/**
 * Replies and changes: what an entry of a room's log does to the earlier message that it refers to. The rules are those
 * of the server (chatkit/core/relations.py); `tests/vectors/relations.json` has examples for both. Synchronous; knows no
 * room and no DOM.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./protocol.js").Reaction} Reaction
 */

const MAX_LISTED_NAMES = 20; // of a reaction: its `count` is that of all

/**
 * Return whether an entry changes an earlier message. Any other entry is a message itself, also a reply.
 * @param {Message} entry
 */
export function isChange(entry) {
  return entry.act !== undefined;
}

/**
 * Return a message as it is after an entry that refers to it: a reply or a change. If the entry changes nothing, the
 * same object is returned. Apply the entries in the order of their numbers, each one once.
 * @param {Message} message
 * @param {Message} entry
 * @param {number} [maxNames] how many names of a reaction are kept
 * @returns {Message}
 */
export function applyChange(message, entry, maxNames = MAX_LISTED_NAMES) {
  if (entry.act === undefined) return { ...message, replies: (message.replies ?? 0) + 1 };
  if (message.redacted) return message;
  switch (entry.act) {
    case "edit":
      return edited(message, entry);
    case "react":
      return withReaction(message, entry.body, reacted(reactionOf(message, entry.body), entry.sender, maxNames));
    case "unreact":
      return withReaction(message, entry.body, unreacted(reactionOf(message, entry.body), entry.sender));
    case "pin":
      return message.pinned ? message : { ...message, pinned: true };
    case "unpin":
      return message.pinned ? without(message, "pinned") : message;
    case "redact":
      return redacted(message);
    default:
      return message; // of a newer server
  }
}

/**
 * Return the messages among consecutive entries of one room, without the changes, each in its current state.
 * @param {readonly Message[]} entries
 * @returns {Message[]}
 */
export function fold(entries) {
  /** @type {Map<number, Message>} */
  const messages = new Map();
  for (const entry of entries) {
    if (!isChange(entry)) messages.set(entry.seq, entry);
    const target = entry.of === undefined ? undefined : messages.get(entry.of);
    // With all names, a removed reaction is the sender's own, however many there are.
    if (target) messages.set(target.seq, applyChange(target, entry, Infinity));
  }
  return [...messages.values()].map(listNames);
}

/**
 * Return a message as it is after its redaction. Only the number of its replies stays.
 * @param {Message} message
 * @returns {Message}
 */
export function redacted(message) {
  const rest = without(message, "data", "mentions", "edited", "reactions", "pinned");
  return { ...rest, body: "", redacted: true };
}

/**
 * @param {Message} message
 * @param {Message} entry
 * @returns {Message}
 */
function edited(message, entry) {
  // An edit whose text is removed belongs to a message that is redacted by a later entry.
  if (entry.sender !== message.sender || entry.redacted) return message;
  const { seq, time, body, mentions } = entry;
  const changed = { ...message, body, edited: { seq, time } };
  return mentions ? { ...changed, mentions } : without(changed, "mentions");
}

/**
 * @param {Message} message
 * @param {string} emoji which may have the name of a method of all objects
 */
function reactionOf({ reactions }, emoji) {
  return reactions && Object.hasOwn(reactions, emoji) ? reactions[emoji] : undefined;
}

/**
 * @param {Message} message
 * @param {string} emoji
 * @param {Reaction | undefined} reaction undefined if nobody uses the emoji
 * @returns {Message}
 */
function withReaction(message, emoji, reaction) {
  if (reaction === reactionOf(message, emoji)) return message;
  const { [emoji]: _, ...others } = message.reactions ?? {};
  if (reaction) return { ...message, reactions: { ...message.reactions, [emoji]: reaction } };
  return Object.keys(others).length ? { ...message, reactions: others } : without(message, "reactions");
}

/**
 * @param {Reaction | undefined} reaction
 * @param {string} name
 * @param {number} maxNames
 * @returns {Reaction}
 */
function reacted(reaction, name, maxNames) {
  const { count, by } = reaction ?? { count: 0, by: [] };
  if (reaction && by.includes(name)) return reaction;
  return { count: count + 1, by: [...by, name].sort(byCodePoint).slice(0, maxNames) };
}

/**
 * @param {Reaction | undefined} reaction
 * @param {string} name
 * @returns {Reaction | undefined}
 */
function unreacted(reaction, name) {
  // A name that is not listed can only be one of those that were cut off.
  if (!reaction || (!reaction.by.includes(name) && reaction.count <= reaction.by.length)) return reaction;
  if (reaction.count === 1) return undefined;
  return { count: reaction.count - 1, by: reaction.by.filter((each) => each !== name) };
}

/**
 * @param {Message} message
 * @returns {Message}
 */
function listNames(message) {
  if (!message.reactions) return message;
  const cut = Object.entries(message.reactions).map(([emoji, { count, by }]) => {
    return [emoji, { count, by: by.slice(0, MAX_LISTED_NAMES) }];
  });
  return { ...message, reactions: Object.fromEntries(cut) };
}

/**
 * @param {Message} message
 * @param {...("data" | "mentions" | "edited" | "reactions" | "pinned")} names
 * @returns {Message}
 */
function without(message, ...names) {
  const rest = { ...message };
  for (const name of names) delete rest[name];
  return rest;
}

/**
 * Compare as the server does. JavaScript's own order compares UTF-16 units.
 * @param {string} a
 * @param {string} b
 */
function byCodePoint(a, b) {
  const [left, right] = [[...a], [...b]];
  const at = left.findIndex((char, index) => char !== right[index]);
  if (at < 0) return left.length - right.length;
  return (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? -1);
}
