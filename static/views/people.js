/** Shows the members of the room and who is typing. Knows no socket. */

import { Children, clone, find, hueOf, initialOf, make, setText } from "../dom.js";

/** @typedef {{id: string, look: string, name: string, isMe: boolean}} PersonRow */

export class PeopleView {
  #count = find("#people-count", HTMLElement);
  #more = find("#people-more", HTMLElement);
  #typing = find("#typing", HTMLElement);
  /** @type {Children<PersonRow>} */
  #people = new Children(find("#people-list", HTMLElement), personElement);

  /**
   * @param {string[]} names
   * @param {number} count
   * @param {string} me
   */
  show(names, count, me) {
    const sorted = names.toSorted((a, b) => a.localeCompare(b));
    this.#people.show(sorted.map((name) => ({ id: name, look: String(name === me), name, isMe: name === me })));
    setText(this.#count, String(count));
    const unnamed = count - names.length;
    this.#more.hidden = unnamed <= 0;
    setText(this.#more, names.length ? `and ${unnamed} more` : `${unnamed} members`);
  }

  /** @param {string[]} names */
  showTyping(names) {
    if (this.#typing.dataset.names === names.join("\n")) return;
    this.#typing.dataset.names = names.join("\n");
    this.#typing.replaceChildren(...typingNodes(names));
  }
}

/** @param {PersonRow} row */
function personElement({ name, isMe }) {
  const element = clone("person");
  element.classList.add(hueOf(name));
  find(".avatar", HTMLElement, element).append(initialOf(name));
  find(".name", HTMLElement, element).append(name);
  find(".you", HTMLElement, element).hidden = !isMe;
  return element;
}

/** @param {string[]} names */
function typingNodes(names) {
  const [first, second] = names.map((name) => make("bdi", "", name));
  if (!first) return [];
  if (!second) return [first, " is typing…"];
  if (names.length === 2) return [first, " and ", second, " are typing…"];
  return ["Several people are typing…"];
}
