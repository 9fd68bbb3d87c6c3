/**
 * The place that the fragment of the page's address names: a room (`#ops`), or a message in it (`#ops/42`). Pure
 * functions.
 */

import { checkRoom } from "./validation.js";

/**
 * Return the room and the seq of the message, if there is one; null if the fragment names no room.
 * @param {string} fragment
 */
export function placeIn(fragment) {
  const [, name = "", digits] = /^(.*?)(?:\/(\d{1,15}))?$/s.exec(fragment) ?? [];
  try {
    const room = checkRoom(decodeURIComponent(name));
    return room === null ? null : { room, seq: digits === undefined ? null : Number(digits) };
  } catch {
    return null; // an invalid escape in the address
  }
}

/**
 * Return the fragment for a room, or for a message in it.
 * @param {string} room
 * @param {number} [seq]
 */
export function fragmentOf(room, seq) {
  return `#${encodeURIComponent(room)}${seq === undefined ? "" : `/${seq}`}`;
}
