/**
 * Checks the names of rooms and senders before they are sent. The rules are those of the server (chatkit/core/text.py
 * and model.py); `tests/core/vectors/names.json` has examples for both.
 */

export const ROOM_RULE = "A room name has 1 to 64 letters, digits, “-”, “_” or “.”, and does not begin with “.”.";
export const SENDER_RULE = "A name has 1 to 32 printable characters.";

const MAX_ROOM_CHARS = 64;
const MAX_SENDER_CHARS = 32;
const MAX_UNITS = 8; // UTF-16 units that can compose to one character: the NFC of a longer text would exceed the limit

const ROOM = /^(?!\.)[\p{L}\p{M}\p{Nd}_.-]{1,64}$/u;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const BLANK = "[\\t\\n\\v\\f\\r \\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const LEADING = new RegExp(`^${BLANK}+`);
const BLANK_CHAR = new RegExp(BLANK);

// Default_Ignorable_Code_Point of Unicode 16, and characters whose glyph is empty.
const INVISIBLE = new RegExp(
  "[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u2800" +
    "\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\ufffc\\u{13441}\\u{13442}\\u{16fe4}\\u{1bc9d}" +
    "\\u{1bca0}-\\u{1bca3}\\u{1d159}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]",
  "u",
);

/**
 * Return the room's normalized name (`#ops` and `ops` are the same), or null if it is not valid.
 * @param {string} text
 */
export function checkRoom(text) {
  const name = normalized(trimmed(text).replace(/^#/, ""), MAX_ROOM_CHARS);
  return name !== null && ROOM.test(name) && !INVISIBLE.test(name) ? name : null;
}

/**
 * Return the sender's name trimmed and in NFC, or null if it is not valid.
 * @param {string} text
 */
export function checkSender(text) {
  const name = normalized(trimmed(text), MAX_SENDER_CHARS);
  return name !== null && !UNPRINTABLE.test(name) && !INVISIBLE.test(name) ? name : null;
}

/**
 * Return the name in NFC, or null if it is empty or too long.
 * @param {string} text
 * @param {number} maxChars
 */
function normalized(text, maxChars) {
  // Normalizing takes time that grows with the square of the length.
  if (text.length > maxChars * MAX_UNITS) return null;
  const name = text.normalize("NFC");
  const length = [...name].length; // the rule counts characters, a string's length counts UTF-16 units
  return length >= 1 && length <= maxChars ? name : null;
}

/** @param {string} text */
function trimmed(text) {
  const start = LEADING.exec(text)?.[0].length ?? 0;
  let end = text.length;
  while (end > start && BLANK_CHAR.test(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}
