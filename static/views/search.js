/** Searches a room's history: the box, and the results, newest first. Knows no socket. */

import { find, setText } from "../dom.js";
import { foundElement } from "./message.js";

/** @typedef {import("../protocol.js").Message} Message */

const PAUSE_MS = 300; // a search is sent after a pause in typing, not for each letter

export class SearchView {
  #box = find("#search-box", HTMLInputElement);
  #status = find("#search-status", HTMLElement);
  #list = find("#search-list", HTMLElement);
  #more = find("#search-more", HTMLButtonElement);
  #timer = 0;
  /** Counts the searches: the answer to an outdated search is not shown. */
  #searchNumber = 0;

  /**
   * @param {object} on
   * @param {(text: string, before?: number) => Promise<{messages: Message[], complete: boolean} | null>} on.search
   * @param {(message: Message) => void} on.onOpen
   * @param {() => boolean} on.hasMarks whether senders are marked as verified
   */
  constructor(on) {
    this.on = on;
    this.#box.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#search(), PAUSE_MS);
    });
    find("#search-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(this.#timer);
      void this.#search();
    });
  }

  focus() {
    this.#box.focus();
    this.#box.select();
  }

  /** @param {string} text */
  find(text) {
    this.#box.value = text;
    void this.#search();
  }

  clear() {
    this.#searchNumber++;
    this.#box.value = "";
    this.#list.replaceChildren();
    this.#more.hidden = true;
    setText(this.#status, "");
  }

  /** @param {number} [before] */
  async #search(before) {
    const text = this.#box.value.trim();
    if (!text) return this.clear();
    const number = ++this.#searchNumber;
    setText(this.#status, "Searching…");
    const page = await this.on.search(text, before);
    if (number !== this.#searchNumber) return;
    if (before === undefined) this.#list.replaceChildren();
    if (!page) return setText(this.#status, "Search requires a connection. Try again when you are online.");
    const found = page.messages.toReversed();
    const hasMarks = this.on.hasMarks();
    this.#list.append(...found.map((message) => foundElement(message, hasMarks, () => this.on.onOpen(message))));
    const oldest = page.messages[0]?.seq;
    this.#more.hidden = page.complete || oldest === undefined;
    this.#more.onclick = () => void this.#search(oldest);
    const { length } = this.#list.children;
    setText(this.#status, length ? `${length}${page.complete ? "" : " or more"} found` : "Nothing found.");
  }
}
