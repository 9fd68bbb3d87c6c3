/**
 * Finds messages: in the open room, in all rooms, those that mention the user, or those that are pinned in the room.
 * Shows the results, newest first. Knows no socket.
 *
 * @typedef {import("../protocol.js").Message} Message
 * @typedef {"room" | "all" | "mentions" | "pinned"} Scope
 * @typedef {{messages: Message[], more: number | string | undefined, reached?: number}} Results newest first; `more`
 *   continues with older ones. A search of many messages ends early: `reached` is the message that it has reached
 */

import { find, setText } from "../dom.js";
import { parsedOf, textOf, textWithMatch } from "../parsed.js";
import { markText } from "./mark_text.js";
import { foundElement } from "./message.js";

const PAUSE_MS = 300; // a search is sent after a pause in typing, not for each letter
/** @type {Partial<Record<Scope, string>>} what an empty list says, of the scopes that list messages without a search */
const NONE = { mentions: "Nobody has mentioned you yet.", pinned: "No message of this room is pinned." };

export class SearchView {
  #form = find("#search-form", HTMLFormElement);
  #box = find("#search-box", HTMLInputElement);
  #status = find("#search-status", HTMLElement);
  #list = find("#search-list", HTMLElement);
  #more = find("#search-more", HTMLButtonElement);
  #timer = 0;
  /** Counts the searches: the answer to an outdated search is not shown. */
  #searchNumber = 0;

  /**
   * @param {object} on
   * @param {(scope: Scope, text: string, more?: number | string) => Promise<Results | string>} on.search returns the
   *   problem as a sentence
   * @param {(message: Message) => void} on.onOpen
   * @param {() => boolean} on.hasMarks whether senders are marked as verified
   */
  constructor(on) {
    this.on = on;
    this.#box.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#search(), PAUSE_MS);
    });
    this.#form.addEventListener("change", (event) => {
      if (event.target !== this.#box) this.#show(this.#scope);
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.#timer);
      void this.#search();
    });
  }

  /** The pane was opened. */
  focus() {
    if (this.#scope === "pinned") return this.#show("pinned"); // others may have been pinned since
    if (this.#scope === "mentions") return;
    this.#box.focus();
    this.#box.select();
  }

  /** @param {string} text */
  find(text) {
    this.#box.value = text;
    if (this.#scope in NONE) this.#scope = "room";
    this.#show(this.#scope);
  }

  showMentions() {
    this.#show("mentions");
  }

  /**
   * Another room is open, or none.
   * @param {string | null} room
   */
  onRoom(room) {
    for (const scope of ["room", "pinned"]) find(`#search-${scope}`, HTMLInputElement).disabled = room === null;
    if (this.#scope !== "room" && this.#scope !== "pinned") return;
    if (room === null) this.#scope = "all";
    this.#box.value = "";
    this.#show(this.#scope);
  }

  get #scope() {
    return /** @type {Scope} */ (new FormData(this.#form).get("scope"));
  }

  /** @param {Scope} scope */
  set #scope(scope) {
    find(`#search-${scope}`, HTMLInputElement).checked = true;
  }

  /** @param {Scope} scope */
  #show(scope) {
    this.#scope = scope;
    this.#box.hidden = scope in NONE;
    this.#clear();
    void this.#search();
  }

  #clear() {
    this.#searchNumber++;
    this.#list.replaceChildren();
    this.#more.hidden = true;
    setText(this.#status, "");
  }

  /** @param {number | string} [more] */
  async #search(more) {
    const scope = this.#scope;
    const text = scope in NONE ? "" : this.#box.value.trim();
    if (!text && !(scope in NONE)) return this.#clear();
    const number = ++this.#searchNumber;
    setText(this.#status, scope in NONE ? "Loading…" : "Searching…");
    const results = await this.on.search(scope, text, more);
    if (number !== this.#searchNumber) return;
    if (more === undefined) this.#list.replaceChildren();
    if (typeof results === "string") return setText(this.#status, results);
    this.#list.append(...results.messages.map((message) => this.#element(message, scope, text)));
    this.#more.hidden = results.more === undefined;
    this.#more.onclick = () => void this.#search(results.more);
    setText(this.#status, summary(this.#list.children.length, results, scope));
    this.#more.textContent = results.messages.length ? "Show older" : "Search on";
  }

  /**
   * @param {Message} message
   * @param {Scope} scope
   * @param {string} text
   */
  #element(message, scope, text) {
    // A message may have nothing but cards.
    const shown = text ? textWithMatch(message, text) : textOf(parsedOf(message).blocks) || message.body;
    const element = foundElement(message, shown, this.on.hasMarks(), () => this.on.onOpen(message));
    if (scope === "all" || scope === "mentions") find(".head", HTMLElement, element).prepend(`#${message.room} · `);
    if (text) markText(find(".text", HTMLElement, element), text);
    return element;
  }
}

/**
 * @param {number} count
 * @param {Results} results
 * @param {Scope} scope
 */
function summary(count, { more, reached }, scope) {
  const end = reached === undefined ? "" : `, searched back to message ${reached}`;
  if (count) return `${count}${more === undefined ? "" : " or more"} found${end}`;
  return NONE[scope] ?? (more === undefined ? "Nothing found." : `Nothing found so far${end}.`);
}
