/** Shows commands that use the room from a terminal. Knows no socket. */

import { clone, find, setText } from "../dom.js";
import { copyOnClick } from "./copy.js";

// The default of `chatkit`'s --server.
const DEFAULT_SERVERS = new Set(["http://127.0.0.1:8000", "http://localhost:8000"]);

/**
 * @param {HTMLElement} place
 * @param {string} room
 * @param {boolean} needsToken whether the commands work only with the user's token
 */
export function showCommands(place, room, needsToken) {
  const key = `${room} ${needsToken}`;
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  place.replaceChildren(...commandsFor(room, needsToken).map(([what, text]) => commandElement(what, text)));
}

/**
 * Show in place of the log what can be done in a room without messages.
 * @param {{name: string, canWrite: boolean} | null} room null if there is no such room
 * @param {boolean} needsToken
 */
export function showQuiet(room, needsToken) {
  find("#quiet", HTMLElement).hidden = room === null;
  if (!room) return;
  const { name, canWrite } = room;
  const text = canWrite ? "Write a message below, or send one from a terminal:" : "New messages appear here.";
  setText(find("#quiet-text", HTMLElement), text);
  const commands = find("#quiet-commands", HTMLElement);
  commands.hidden = !canWrite;
  showCommands(commands, name, needsToken);
}

/**
 * @param {string} room
 * @param {boolean} needsToken
 * @returns {[what: string, text: string][]}
 */
function commandsFor(room, needsToken) {
  const url = new URL(".", document.baseURI).href.replace(/\/$/, ""); // includes the prefix, if there is one
  const server = DEFAULT_SERVERS.has(url) ? "" : ` --server ${url}`;
  const header = needsToken ? ' -H "Authorization: Bearer $CHATKIT_TOKEN"' : "";
  /** @type {[string, string][]} */
  const commands = [
    ["join", `chatkit join ${room}${server}`],
    ["publish from a pipe", `echo hi | chatkit publish ${room}${server}`],
    ["without chatkit", `curl${header} -d 'hi' ${url}/rooms/${encodeURIComponent(room)}/messages`],
  ];
  if (!needsToken) return commands;
  // Typed at a prompt, the token is not in the shell's history.
  return [["first, in bash or zsh: paste your token", "read -rs CHATKIT_TOKEN; export CHATKIT_TOKEN"], ...commands];
}

/**
 * @param {string} what
 * @param {string} text
 */
function commandElement(what, text) {
  const element = clone("command");
  find(".what", HTMLElement, element).append(what);
  find("code", HTMLElement, element).append(text);
  const button = find("button", HTMLButtonElement, element);
  button.ariaLabel = `Copy: ${text}`;
  copyOnClick(button, () => text);
  return element;
}
