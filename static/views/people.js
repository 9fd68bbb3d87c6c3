/** Shows the members of the room and who is typing. Knows no socket. */

import { Children, clone, find, hueOf, initialOf, make, setText } from "../dom.js";

/** @typedef {{id: string, look: string, name: string, isMe: boolean, verified?: boolean, bot?: boolean}} PersonRow */

export class PeopleView {
  #count = find("#people-count", HTMLElement);
  #more = find("#people-more", HTMLElement);
  #typing = find("#typing", HTMLElement);
  /** @type {Children<PersonRow>} */
  #people = new Children(find("#people-list", HTMLElement), personElement);

  /**
   * @param {Map<string, {verified?: boolean, bot?: boolean}>} members by name
   * @param {number} count
   * @param {string} me
   */
  show(members, count, me) {
    const sorted = [...members].toSorted(([a], [b]) => a.localeCompare(b));
    this.#people.show(sorted.map(([name, member]) => rowOf(name, member, name === me)));
    setText(this.#count, String(count));
    const unnamed = count - members.size;
    this.#more.hidden = unnamed <= 0;
    setText(this.#more, members.size ? `and ${unnamed} more` : `${unnamed} members`);
  }

  /** @param {string[]} names */
  showTyping(names) {
    if (this.#typing.dataset.names === names.join("\n")) return;
    this.#typing.dataset.names = names.join("\n");
    this.#typing.replaceChildren(...typingNodes(names));
  }
}

/**
 * @param {string} name
 * @param {{verified?: boolean, bot?: boolean}} marks
 * @param {boolean} isMe
 * @returns {PersonRow}
 */
function rowOf(name, { verified = false, bot = false }, isMe) {
  return { id: name, look: `${isMe} ${verified} ${bot}`, name, isMe, verified, bot };
}

/** @param {PersonRow} row */
function personElement({ name, isMe, verified, bot }) {
  const element = clone("person");
  element.classList.add(hueOf(name));
  find(".avatar", HTMLElement, element).append(initialOf(name));
  const label = find(".name", HTMLElement, element);
  label.append(name);
  if (bot) label.after(clone("bot-mark"));
  if (verified) label.after(clone("verified-mark"));
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
