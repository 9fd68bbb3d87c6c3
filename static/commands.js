/**
 * Distinguishes commands from messages. A command is a word after `/` at the beginning; `//` begins a message with a
 * slash. A pure function.
 *
 * @typedef {{name: string, argument: string, help: string}} CommandHelp
 * @typedef {{kind: "message", body: string} | {kind: "command", name: string, argument: string}
 *   | {kind: "unknown", name: string}} Input
 */

/** @type {CommandHelp[]} */
export const COMMANDS = [
  { name: "me", argument: "TEXT", help: "Say what you are doing" },
  { name: "nick", argument: "NAME", help: "Change your name" },
  { name: "topic", argument: "TEXT", help: "Change the topic of this room" },
  { name: "search", argument: "TEXT", help: "Search this room" },
  { name: "help", argument: "", help: "Show the keys and commands" },
];

const COMMAND = /^\/([a-z]{1,20})(?:[ \n]+|$)/;

/**
 * @param {string} text
 * @returns {Input}
 */
export function readInput(text) {
  if (text.startsWith("//")) return { kind: "message", body: text.slice(1) };
  const match = COMMAND.exec(text);
  const name = match?.[1];
  if (!match || !name) return { kind: "message", body: text };
  if (name === "me") return { kind: "message", body: text };
  if (!COMMANDS.some((command) => command.name === name)) return { kind: "unknown", name };
  return { kind: "command", name, argument: text.slice(match[0].length).trim() };
}

/**
 * Return what a sender does, as `/me` says it, or null if a message says something else.
 * @param {string} body
 */
export function actionOf(body) {
  return body.startsWith("/me ") && body.length > 4 ? body.slice(4) : null;
}
