/** The dialog that lists the keys and the commands. */

import { COMMANDS } from "../commands.js";
import { find, make } from "../dom.js";

/** @type {[keys: string, what: string][]} */
const KEYS = [
  ["Enter", "Send the message"],
  ["Shift+Enter", "Begin a new line"],
  ["↑", "In the empty message box: edit your last message"],
  ["Esc", "Give up an answer or edit; then go to the newest message"],
  ["@ # :", "Complete a name, a room, an emoji"],
  ["Shift+Tab", "From the message box: go to the messages"],
  ["Ctrl+K or /", "Find a room"],
  ["Alt+↑ Alt+↓", "Go to the room above or below"],
  ["?", "Show this list"],
];

/** @type {[keys: string, what: string][]} */
const MESSAGE_KEYS = [
  ["↑ ↓ or k j", "Go to the message above or below"],
  ["r", "Reply"],
  ["e", "Edit"],
  ["+", "React"],
  ["p", "Pin or unpin"],
  ["c", "Copy the text"],
  ["l", "Copy a link"],
  ["Del", "Remove"],
  ["Enter", "All actions"],
];

export function openHelp() {
  const dialog = find("#help-dialog", HTMLDialogElement);
  const commands = COMMANDS.map(({ name, argument, help }) => [`/${name} ${argument}`.trim(), help]);
  const isNew = dialog.dataset.filled !== "true";
  if (isNew) {
    dialog.dataset.filled = "true";
    fill("#help-keys", KEYS);
    fill("#help-message-keys", MESSAGE_KEYS);
    fill("#help-commands", [...commands, ["//TEXT", "Send a message that begins with a slash"]]);
    find("#help-close", HTMLButtonElement).onclick = () => dialog.close();
  }
  dialog.showModal();
  find("#help-title", HTMLElement).focus(); // the button is below the edge of a small screen
}

/**
 * @param {string} place
 * @param {string[][]} rows
 */
function fill(place, rows) {
  const nodes = rows.flatMap(([keys = "", what = ""]) => [make("dt", "", make("kbd", "", keys)), make("dd", "", what)]);
  find(place, HTMLElement).append(...nodes);
}
