/** Shows what a user may do in the room: its topic, why it cannot be written, or why it cannot be opened. */

import { find, setText } from "../dom.js";

/** @typedef {import("../explanations.js").Action} Action */
/** @typedef {import("../explanations.js").Explanation} Explanation */

/** @type {Record<Action, string>} */
const LABELS = { "sign-in": "Sign in", retry: "Try again", rooms: "Leave this room" };

export class RoomAccessView {
  #title = find("#room-title", HTMLElement);
  #topic = find("#topic", HTMLButtonElement);
  #details = find("#details", HTMLElement);
  #detailsName = find("#details-name", HTMLElement);
  #detailsTopic = find("#details-topic", HTMLElement);
  #editTopic = find("#topic-edit", HTMLButtonElement);
  #composer = find("#composer", HTMLElement);
  #readOnly = find("#read-only", HTMLElement);
  #signIn = find("#read-only-sign-in", HTMLButtonElement);
  #closed = find("#closed", HTMLElement);
  #button = find("#closed-button", HTMLButtonElement);
  /** @type {Action | undefined} */
  #action;

  /** @param {{onAction: (action: Action) => void, onEditTopic: () => void}} on */
  constructor(on) {
    this.#editTopic.onclick = on.onEditTopic;
    find("#titles", HTMLElement).addEventListener("click", ({ target }) => {
      if (target instanceof Node && this.#editTopic.contains(target)) return;
      this.#showDetails(this.#details.hidden && (isCut(this.#title) || isCut(this.#topic)));
    });
    this.#signIn.onclick = () => on.onAction("sign-in");
    this.#button.onclick = () => this.#action && on.onAction(this.#action);
  }

  /**
   * @param {object} room
   * @param {string} room.topic
   * @param {boolean} room.canEditTopic
   * @param {string} room.readOnly why the room cannot be written; empty if it can
   * @param {boolean} room.canSignIn whether a token may help
   * @param {Explanation | null} room.closed why the room cannot be opened
   */
  show({ topic, canEditTopic, readOnly, canSignIn, closed }) {
    setText(this.#topic, topic);
    this.#topic.title = topic;
    this.#topic.hidden = !topic;
    if (this.#detailsName.textContent !== this.#title.textContent || this.#detailsTopic.textContent !== topic) {
      this.#showDetails(false);
    }
    this.#editTopic.hidden = !canEditTopic;
    this.#composer.hidden = readOnly !== "";
    find("#hint", HTMLElement).hidden = readOnly !== "";
    this.#readOnly.hidden = readOnly === "";
    setText(find("#read-only-text", HTMLElement), readOnly);
    this.#signIn.hidden = !canSignIn;
    this.#showClosed(closed);
  }

  /** Show a page without a room. */
  clear() {
    this.#topic.hidden = true;
    this.#showDetails(false);
    this.#editTopic.hidden = true;
    this.#closed.hidden = true;
  }

  /**
   * Show the name and the topic of the room in full, below the bar, which may cut them.
   * @param {boolean} isShown
   */
  #showDetails(isShown) {
    this.#details.hidden = !isShown;
    this.#topic.ariaExpanded = String(isShown);
    if (!isShown) return;
    setText(this.#detailsName, this.#title.textContent);
    setText(this.#detailsTopic, this.#topic.textContent);
  }

  /** @param {Explanation | null} closed */
  #showClosed(closed) {
    this.#closed.hidden = closed === null;
    if (!closed) return;
    setText(find("#closed-title", HTMLElement), closed.title);
    setText(find("#closed-text", HTMLElement), closed.text);
    this.#action = closed.action;
    this.#button.hidden = closed.action === undefined;
    if (closed.action) setText(this.#button, LABELS[closed.action]);
  }
}

/** @param {HTMLElement} element */
function isCut(element) {
  return element.scrollWidth > element.clientWidth;
}
