/** The dialog to choose an emoji, by search or from groups. Loaded when it is opened first. Knows no message. */

import { find, make } from "../dom.js";
import { GROUPS, searchEmoji } from "../emoji.js";

/** @typedef {import("../emoji.js").Emoji} Emoji */

const COLUMNS = 8; // as many as fit in a row; see `.picker` in message.css

export class PickerView {
  #dialog = find("#picker", HTMLDialogElement);
  #box = find("#picker-box", HTMLInputElement);
  #list = find("#picker-list", HTMLElement);
  #at = -1;
  /** @type {(char: string) => void} */
  #onChoose = () => {};

  constructor() {
    this.#box.addEventListener("input", () => this.#show(this.#box.value.trim()));
    this.#box.addEventListener("keydown", (event) => this.#onKey(event));
    this.#list.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      if (option) this.#choose(option);
    });
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
  }

  /** @param {(char: string) => void} onChoose */
  open(onChoose) {
    this.#onChoose = onChoose;
    this.#box.value = "";
    this.#dialog.showModal();
    this.#show("");
    this.#list.scrollTop = 0;
    this.#box.focus();
  }

  get #options() {
    return [...this.#list.querySelectorAll("[role=option]")];
  }

  /** @param {string} query */
  #show(query) {
    const groups = query ? [{ title: "Found", emoji: searchEmoji(query) }] : GROUPS;
    this.#list.replaceChildren(...groups.map(({ title, emoji }, at) => groupElement(title, emoji, at)));
    this.#options.forEach((option, at) => (option.id = `picker-${at}`));
    this.#select(query ? 0 : -1);
  }

  /** @param {number} at */
  #select(at) {
    const options = this.#options;
    this.#at = at < 0 ? -1 : Math.min(at, options.length - 1);
    options.forEach((option, index) => (option.ariaSelected = String(index === this.#at)));
    const selected = options[this.#at];
    if (selected) this.#box.setAttribute("aria-activedescendant", selected.id);
    else this.#box.removeAttribute("aria-activedescendant");
    selected?.scrollIntoView({ block: "nearest" });
  }

  /** @param {Element} option */
  #choose(option) {
    this.#dialog.close();
    this.#onChoose(option.textContent ?? "");
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const isEmpty = this.#box.value === "";
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: COLUMNS, ArrowUp: -COLUMNS, ...(isEmpty || this.#at >= 0 ? SIDEWAYS : {}) };
    const step = steps[event.key];
    const selected = this.#options[this.#at];
    if (step !== undefined) this.#select(this.#at < 0 ? 0 : Math.max(0, this.#at + step));
    else if (event.key === "Enter" && selected) this.#choose(selected);
    else if (event.key !== "Enter") return;
    event.preventDefault();
  }
}

const SIDEWAYS = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * @param {string} title
 * @param {Emoji[]} emoji
 * @param {number} at
 */
function groupElement(title, emoji, at) {
  const heading = make("p", "title", emoji.length ? title : "Nothing found.");
  heading.id = `picker-title-${at}`;
  heading.role = "presentation";
  const group = make("div", "group", heading, ...emoji.map(optionElement));
  group.role = "group";
  group.setAttribute("aria-labelledby", heading.id);
  return group;
}

/** @param {Emoji} emoji */
function optionElement({ char, name }) {
  const option = make("span", "", char);
  option.role = "option";
  option.title = `:${name}:`;
  option.ariaLabel = name.replaceAll("_", " ");
  option.ariaSelected = "false";
  return option;
}
