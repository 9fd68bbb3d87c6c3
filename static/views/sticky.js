/**
 * Shows whose messages are at the upper edge of the log while their name is above it. Decorative: screen readers have
 * the name in each message's label.
 */

import { find, setText } from "../dom.js";
import { lineAt } from "./line_at.js";

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
    const first = lineAt(this.log, edge);
    const below = lineAt(this.log, edge + HEIGHT_PX);
    const head = first?.querySelector(".head");
    const isHidden =
      !first?.matches(".message") ||
      !(head instanceof HTMLElement) ||
      (!first.matches(".follows") && first.offsetTop + head.offsetTop + head.offsetHeight > edge) ||
      (below !== first && !below?.matches(".follows"));
    this.#bar.hidden = isHidden;
    if (!isHidden) setText(this.#name, first?.querySelector(".sender")?.textContent ?? "");
  }
}

const HEIGHT_PX = 32; // of the bar, which must not cover the name of the next sender
