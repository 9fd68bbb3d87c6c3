/**
 * A menu that opens at a button, for mouse, touch and keyboard (the menu pattern of WAI-ARIA). Knows no message.
 *
 * @typedef {{id: string, label: string, isDangerous: boolean}} Item
 */

import { find, make } from "../dom.js";

const GAP_PX = 4; // between the button and the menu

export class MenuView {
  #menu = find("#menu", HTMLElement);
  /** @type {HTMLElement | null} */
  #button = null;

  /** @param {{onChoose: (id: string) => void}} on */
  constructor(on) {
    this.on = on;
    this.#menu.addEventListener("keydown", (event) => this.#onKey(event));
    this.#menu.addEventListener("toggle", (event) => {
      const { newState } = /** @type {ToggleEvent} */ (event);
      if (newState === "closed") this.#button?.setAttribute("aria-expanded", "false");
    });
    // A menu that stayed in place would point to another message.
    find("#scroller", HTMLElement).addEventListener("scroll", () => this.#menu.hidePopover(), { passive: true });
  }

  /**
   * @param {HTMLElement} button
   * @param {Item[]} items
   */
  open(button, items) {
    this.#button = button;
    this.#menu.replaceChildren(...items.map((item) => this.#element(item)));
    this.#menu.showPopover();
    this.#place(button.getBoundingClientRect());
    button.setAttribute("aria-expanded", "true");
    this.#items[0]?.focus();
  }

  get #items() {
    return /** @type {HTMLElement[]} */ ([...this.#menu.children]);
  }

  /** @param {Item} item */
  #element({ id, label, isDangerous }) {
    const element = make("button", isDangerous ? "dangerous" : "", label);
    element.type = "button";
    element.role = "menuitem";
    element.tabIndex = -1;
    element.onclick = () => {
      this.#close();
      this.on.onChoose(id);
    };
    return element;
  }

  /** @param {DOMRect} at */
  #place(at) {
    const { width, height } = this.#menu.getBoundingClientRect();
    const isBelow = at.bottom + GAP_PX + height <= window.innerHeight;
    this.#menu.style.left = `${Math.max(GAP_PX, Math.min(at.right - width, window.innerWidth - width - GAP_PX))}px`;
    this.#menu.style.top = `${Math.max(GAP_PX, isBelow ? at.bottom + GAP_PX : at.top - GAP_PX - height)}px`;
  }

  #close() {
    this.#menu.hidePopover();
    this.#button?.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const items = this.#items;
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 };
    const target = targets[event.key];
    if (target !== undefined) items.at(target % items.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation(); // Escape would also jump to the newest message
  }
}
