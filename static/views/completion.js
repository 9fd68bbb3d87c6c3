/**
 * The list of words that can complete the one at the caret of a text box (the listbox pattern of WAI-ARIA: the focus
 * stays in the box). Knows no room.
 *
 * @typedef {{insert: string, label: string, detail: string}} Candidate
 * @typedef {(word: import("../completion.js").Word) => Candidate[] | Promise<Candidate[]>} Find
 */

import { wordAt } from "../completion.js";
import { find, make } from "../dom.js";

export class CompletionView {
  #list = find("#completion", HTMLElement);
  /** @type {Candidate[]} */
  #candidates = [];
  #at = 0;
  #from = 0;
  /** Counts the changes of the text: candidates that arrive late are not shown. */
  #version = 0;

  /**
   * @param {HTMLTextAreaElement} box
   * @param {{find: Find, onInsert: () => void}} on
   */
  constructor(box, on) {
    this.box = box;
    this.on = on;
    box.addEventListener("blur", () => this.close());
    // The box keeps the focus while an option is clicked.
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault());
    this.#list.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      if (option) this.#insert([...this.#list.children].indexOf(option));
    });
  }

  /** Show the candidates for the word at the caret. */
  async update() {
    const version = ++this.#version;
    const { value, selectionStart, selectionEnd } = this.box;
    const word = selectionStart === selectionEnd ? wordAt(value, selectionStart) : null;
    const found = word ? this.on.find(word) : [];
    const candidates = found instanceof Promise ? await found : found; // without a pause, if nothing has to be loaded
    if (version !== this.#version) return;
    this.#from = word?.from ?? 0;
    this.#candidates = candidates;
    if (word?.isClosed && candidates.length) this.#insert(0);
    else if (candidates.length && document.activeElement === this.box) this.#show();
    else this.close();
  }

  close() {
    this.#version++;
    this.#list.hidden = true;
    this.box.removeAttribute("aria-activedescendant");
    this.box.removeAttribute("aria-controls");
  }

  /**
   * Handle a key of the box; return whether it had an effect on the list.
   * @param {KeyboardEvent} event
   */
  onKey(event) {
    if (this.#list.hidden || event.altKey || event.ctrlKey || event.metaKey) return false;
    const { length } = this.#candidates;
    if (event.key === "ArrowDown") this.#choose((this.#at + 1) % length);
    else if (event.key === "ArrowUp") this.#choose((this.#at + length - 1) % length);
    else if (event.key === "Enter" && (event.shiftKey || this.#isTyped)) return false;
    else if (event.key === "Tab" || event.key === "Enter") this.#insert(this.#at);
    else if (event.key === "Escape") this.close();
    else return false;
    event.preventDefault();
    event.stopPropagation(); // Escape would also jump to the newest message
    return true;
  }

  /** Whether the candidate is in the box already: then Enter sends the text. */
  get #isTyped() {
    const typed = this.box.value.slice(this.#from, this.box.selectionStart);
    return this.#candidates[this.#at]?.insert.trimEnd() === typed;
  }

  #show() {
    this.#list.replaceChildren(
      ...this.#candidates.map(({ label, detail }, at) => {
        const option = make("li", "", make("bdi", "label", label), make("span", "detail", detail));
        option.id = `completion-${at}`;
        option.role = "option";
        return option;
      }),
    );
    this.#list.hidden = false;
    this.box.setAttribute("aria-controls", "completion");
    this.#choose(0);
  }

  /** @param {number} at */
  #choose(at) {
    this.#at = at;
    [...this.#list.children].forEach((option, index) => {
      option.ariaSelected = String(index === at);
      if (index === at) option.scrollIntoView({ block: "nearest" });
    });
    this.box.setAttribute("aria-activedescendant", `completion-${at}`);
  }

  /** @param {number} at */
  #insert(at) {
    const candidate = this.#candidates[at];
    if (!candidate) return;
    this.close();
    this.box.setRangeText(candidate.insert, this.#from, this.box.selectionStart, "end");
    this.on.onInsert();
  }
}
