/** What to type in a terminal to be in the same room. Knows no socket. */

import { clone, find } from "../dom.js";

const DEFAULT_HOSTS = new Set(["127.0.0.1:8000", "localhost:8000"]); // where `chatkit` looks without being told

/**
 * @param {HTMLElement} place
 * @param {string} room
 */
export function showCommands(place, room) {
  if (place.dataset.room === room) return;
  place.dataset.room = room;
  const { host, origin } = window.location;
  const server = DEFAULT_HOSTS.has(host) ? "" : ` --server ${origin}`;
  place.replaceChildren(
    commandElement("talk", `chatkit join ${room}${server}`),
    commandElement("publish from a pipe", `echo hi | chatkit publish ${room}${server}`),
    commandElement("or without chatkit", `curl -d 'hi' ${origin}/rooms/${encodeURIComponent(room)}/messages`),
  );
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
  button.hidden = !navigator.clipboard; // browsers have it on https and loopback only
  button.onclick = async () => {
    await navigator.clipboard.writeText(text).then(
      () => (button.dataset.state = "done"),
      () => (button.dataset.state = "failed"),
    );
  };
  return element;
}
