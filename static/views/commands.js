/** Shows commands that use the room from a terminal. Knows no socket. */

import { clone, find } from "../dom.js";

// The default of `chatkit`'s --server.
const DEFAULT_SERVERS = new Set(["http://127.0.0.1:8000", "http://localhost:8000"]);

/**
 * @param {HTMLElement} place
 * @param {string} room
 */
export function showCommands(place, room) {
  if (place.dataset.room === room) return;
  place.dataset.room = room;
  const url = new URL(".", document.baseURI).href.replace(/\/$/, ""); // includes the prefix, if there is one
  const server = DEFAULT_SERVERS.has(url) ? "" : ` --server ${url}`;
  place.replaceChildren(
    commandElement("join", `chatkit join ${room}${server}`),
    commandElement("publish from a pipe", `echo hi | chatkit publish ${room}${server}`),
    commandElement("without chatkit", `curl -d 'hi' ${url}/rooms/${encodeURIComponent(room)}/messages`),
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
  button.hidden = !navigator.clipboard; // available only on https and loopback
  button.onclick = async () => {
    await navigator.clipboard.writeText(text).then(
      () => (button.dataset.state = "done"),
      () => (button.dataset.state = "failed"),
    );
  };
  return element;
}
