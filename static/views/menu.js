/**
 * A menu that opens at an element, for mouse, touch and keyboard (the menu pattern of WAI-ARIA); on a narrow screen, a
 * sheet at its lower edge. Knows no message.
 *
 * @typedef {{label: string | Node, key: string, isDangerous: boolean, onChoose: () => void}} Item
 */

import { find, make } from "../dom.js";

const GAP_PX = 4; // between the element and the menu
const SHEET = window.matchMedia("(max-width: 47.99rem)");

export class MenuView {
  #menu = find("#menu", HTMLElement);
  /** @type {HTMLElement | null} */
  #anchor = null;

  constructor() {
    this.#menu.addEventListener("keydown", (event) => this.#onKey(event));
    this.#menu.addEventListener("toggle", (event) => {
      const { newState } = /** @type {ToggleEvent} */ (event);
      if (newState === "closed") this.#anchor?.removeAttribute("data-open");
    });
    // A menu that stayed in place would point to another message.
    find("#scroller", HTMLElement).addEventListener("scroll", () => this.#menu.hidePopover(), { passive: true });
  }

  /**
   * @param {HTMLElement} anchor
   * @param {Item[]} items
   * @param {Item[]} row short items in one row above the others
   */
  open(anchor, items, row) {
    this.#anchor = anchor;
    const quick = make("div", "row", ...row.map((item) => this.#element(item)));
    quick.role = "group";
    quick.ariaLabel = "Reactions";
    this.#menu.replaceChildren(...(row.length ? [quick] : []), ...items.map((item) => this.#element(item)));
    this.#menu.showPopover();
    if (!SHEET.matches) this.#place(anchor.getBoundingClientRect());
    else this.#menu.style.left = this.#menu.style.top = "";
    anchor.dataset.open = "true";
    this.#items[row.length % this.#items.length]?.focus();
  }

  get #items() {
    return /** @type {HTMLElement[]} */ ([...this.#menu.querySelectorAll("button")]);
  }

  /** @param {Item} item */
  #element({ label, key, isDangerous, onChoose }) {
    const element = make("button", isDangerous ? "dangerous" : "", make("span", "", label));
    if (key) {
      const hint = make("kbd", "", key);
      hint.ariaHidden = "true";
      element.append(hint);
    }
    element.type = "button";
    element.role = "menuitem";
    element.tabIndex = -1;
    element.onclick = () => {
      this.#close();
      onChoose();
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
    this.#anchor?.focus();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const items = this.#items;
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    /** @type {Record<string, number>} */
    const targets = {
      ArrowDown: at + 1,
      ArrowRight: at + 1,
      ArrowUp: at - 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: items.length - 1,
    };
    const target = targets[event.key];
    if (target !== undefined) items.at(target % items.length)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation(); // Escape would also jump to the newest message
  }
}
