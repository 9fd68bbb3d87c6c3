/** Shows who the user is, below the list of rooms. */

import { find, hueOf, initialOf, setText } from "../dom.js";

/** @param {import("../message_actions.js").User} user */
export function showMe({ name, verified }) {
  find("#me-verified", SVGElement).toggleAttribute("hidden", !verified);
  setText(find("#me-action", HTMLElement), verified ? "Your account" : "Change your name");
  setText(find("#me-name", HTMLElement), name);
  setText(find("#me-avatar", HTMLElement), initialOf(name));
  find("#me", HTMLElement).className = `who ${hueOf(name)}`;
}
