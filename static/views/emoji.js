/** Shows an emoji, or the one that a name such as `:ship:` stands for. Knows no message. */

import { make } from "../dom.js";

/** @param {string} text an emoji, or a name between colons; a name that the page does not know stays as it is */
export function emojiElement(text) {
  const element = make("span", "emoji", text);
  if (text.startsWith(":")) void showNamed(element, text.slice(1, -1));
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 */
async function showNamed(element, name) {
  const table = await import("../emoji.js").catch(() => null); // without a connection, it may be missing
  const emoji = table?.emojiNamed(name);
  if (emoji) element.textContent = emoji;
}
