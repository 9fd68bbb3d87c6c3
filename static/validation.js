/** What a room and a sender may be called: the server's rules, told before it has to refuse. */

export const ROOM_RULE = "A room’s name is 1 to 64 letters, digits, “-”, “_” or “.”, and does not begin with “.”.";
export const SENDER_RULE = "A name is 1 to 32 printable characters.";

const ROOM = /^(?!\.)[\p{L}\p{M}\p{Nd}_.-]{1,64}$/u;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;

/**
 * Return the room that was meant (`#ops` and `ops` are the same), or null.
 * @param {string} text
 */
export function checkRoom(text) {
  const name = text.trim().replace(/^#/, "").normalize("NFC");
  return ROOM.test(name) ? name : null;
}

/**
 * Return the sender's name trimmed and in NFC, or null.
 * @param {string} text
 */
export function checkSender(text) {
  const name = text.trim().normalize("NFC");
  const length = [...name].length; // the rule counts characters, a string's length counts UTF-16 units
  return length >= 1 && length <= 32 && !UNPRINTABLE.test(name) ? name : null;
}
