/**
 * Covers the log while the wheel turns: otherwise, each message that passes under the mouse is found, styled as hovered and
 * given the bar of actions, which takes half of the time of a frame.
 */

import { find } from "../dom.js";

const AFTER_WHEEL_MS = 150;

export class Shield {
  #cover = find("#shield", HTMLElement);
  #timer = 0;

  /** @param {HTMLElement} scroller */
  constructor(scroller) {
    scroller.addEventListener("wheel", () => this.#raise(), { passive: true });
    scroller.addEventListener("pointermove", () => this.#lower());
    scroller.addEventListener("pointerdown", ({ target, button }) => {
      this.#lower();
      if (target === this.#cover && button === 0) passClick(scroller);
    });
  }

  /**
   * The scroller has another height.
   * @param {number} height in px
   */
  resize(height) {
    this.#cover.style.height = `${height}px`;
    this.#cover.style.marginBottom = `${-height}px`;
  }

  #raise() {
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#lower(), AFTER_WHEEL_MS);
    this.#cover.hidden = false;
  }

  #lower() {
    clearTimeout(this.#timer);
    this.#cover.hidden = true;
  }
}

/**
 * Pass the click that follows to the element below the mouse. The button went down on the cover and goes up on that
 * element, so that the browser reports the click to what contains both.
 * @param {HTMLElement} scroller
 */
function passClick(scroller) {
  scroller.addEventListener(
    "click",
    ({ target, clientX, clientY }) => {
      const below = document.elementFromPoint(clientX, clientY);
      if (target === scroller && below instanceof HTMLElement && below !== scroller) below.click();
    },
    { once: true },
  );
}
