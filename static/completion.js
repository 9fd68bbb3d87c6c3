/**
 * Finds the word at the caret that can be completed, and the candidates for it. Pure functions.
 *
 * @typedef {"name" | "room" | "emoji" | "command"} Kind
 * @typedef {{kind: Kind, from: number, query: string, isClosed: boolean}} Word `from` is where the word begins;
 *   `isClosed`: an emoji's name with its second colon
 */

import { fold } from "./text.js";

const MAX_CHARS = 40; // a longer word is not completed
const WORD = /(^|[\s([{"'“])([@#:])([^\s@#:]*)(:?)$/u;
const EMOJI_NAME = /^[a-z0-9_+-]{2,}$/;
const COMMAND = /^\/([a-z]*)$/;

/**
 * @param {string} text
 * @param {number} caret
 * @returns {Word | null}
 */
export function wordAt(text, caret) {
  if (caret <= MAX_CHARS) {
    const command = COMMAND.exec(text.slice(0, caret))?.[1];
    if (command !== undefined) return { kind: "command", from: 0, query: command, isClosed: false };
  }
  const match = WORD.exec(text.slice(Math.max(0, caret - MAX_CHARS), caret));
  if (!match) return null;
  const [, , sign, query = "", colon] = match;
  const isClosed = colon === ":";
  const from = caret - query.length - 1 - Number(isClosed);
  if (sign === ":") return EMOJI_NAME.test(query) ? { kind: "emoji", from, query, isClosed } : null;
  if (isClosed) return null;
  return { kind: sign === "@" ? "name" : "room", from, query, isClosed };
}

/**
 * Return the names that begin with what was typed, in alphabetical order.
 * @param {string} query
 * @param {Iterable<string>} names
 * @param {number} limit
 */
export function matching(query, names, limit) {
  const text = fold(query);
  const found = [...new Set(names)].filter((name) => fold(name).startsWith(text));
  return found.sort((a, b) => a.localeCompare(b)).slice(0, limit);
}
