/**
 * Shows whose messages are at the upper edge of the log while their name is above it. Decorative: screen readers have
 * the name in each message's label.
 */

import { find, setText } from "../dom.js";

export class StickyView {
  #bar = find("#sticky", HTMLElement);
  #name = find("#sticky-name", HTMLElement);

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} log
   */
  constructor(scroller, log) {
    this.scroller = scroller;
    this.log = log;
  }

  update() {
    const edge = this.scroller.scrollTop;
    const first = this.#at(edge);
    const below = this.#at(edge + HEIGHT_PX);
    const head = first?.querySelector(".head");
    const isHidden =
      !first?.matches(".message") ||
      !(head instanceof HTMLElement) ||
      (!first.matches(".follows") && first.offsetTop + head.offsetTop + head.offsetHeight > edge) ||
      (below !== first && !below?.matches(".follows"));
    this.#bar.hidden = isHidden;
    if (!isHidden) setText(this.#name, first?.querySelector(".sender")?.textContent ?? "");
  }

  /**
   * Return the line at a height, by binary search.
   * @param {number} top
   */
  #at(top) {
    const lines = /** @type {HTMLCollectionOf<HTMLElement>} */ (this.log.children);
    let [low, high] = [0, lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const line = lines[middle];
      if (line && line.offsetTop + line.offsetHeight <= top) low = middle + 1;
      else high = middle;
    }
    return lines[low] ?? null;
  }
}

const HEIGHT_PX = 32; // of the bar, which must not cover the name of the next sender
