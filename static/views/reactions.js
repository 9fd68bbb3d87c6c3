/** The dialog that lists who reacted to a message. Knows no socket. */

import { find, make } from "../dom.js";
import { emojiElement } from "./emoji.js";

/** @param {import("../protocol.js").Message} message */
export function showReactions(message) {
  const dialog = find("#reactions-dialog", HTMLDialogElement);
  const rows = Object.entries(message.reactions ?? {}).map(([emoji, { count, by }]) => {
    const names = by.flatMap((name, at) => (at ? [", ", make("bdi", "", name)] : [make("bdi", "", name)]));
    const more = count > by.length ? ` and ${count - by.length} more` : "";
    return make("li", "", emojiElement(emoji), make("span", "", ...names, more));
  });
  find("#reactions-list", HTMLElement).replaceChildren(...rows);
  find("#reactions-close", HTMLButtonElement).onclick = () => dialog.close();
  dialog.showModal();
}
