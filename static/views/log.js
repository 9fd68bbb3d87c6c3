/**
 * The log: draws lines, keeps the scroll position while lines are added and removed, and reports when the reader comes
 * close to either end. Knows no room and no socket.
 */

import { Children, find, make, setText } from "../dom.js";
import { messageElement, pendingElement } from "./message.js";

/** @typedef {import("../transcript.js").Line} Line */

const NEAR_PX = 600; // more messages are loaded at this distance from an end
const AT_END_PX = 40; // within about one line of the end counts as the end

export class LogView {
  #scroller = find("#scroller", HTMLElement);
  #top = find("#log-top", HTMLElement);
  #jump = find("#jump", HTMLButtonElement);
  #jumpText = find("#jump-text", HTMLElement);
  /** @type {Children<Line>} */
  #lines;
  #follows = true;

  /**
   * @param {object} on
   * @param {() => void} on.onNearTop
   * @param {() => void} on.onNearEnd
   * @param {(follows: boolean) => void} on.onFollow
   * @param {() => void} on.onJump
   * @param {(key: string) => void} on.onRetry
   * @param {(key: string) => void} on.onForget
   * @param {(message: import("../protocol.js").Message, button: HTMLElement) => void} on.onMenu
   */
  constructor(on) {
    this.on = on;
    this.#lines = new Children(find("#log", HTMLElement), (line) => this.#build(line));
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#jump.onclick = on.onJump;
    // Stay at the end when the composer grows or a phone's keyboard opens.
    new ResizeObserver(() => this.#follows && this.#toEnd()).observe(this.#scroller);
  }

  /** Remove all lines, for another room. */
  clear() {
    this.#lines.clear();
    this.#follows = true;
  }

  /**
   * @param {Line[]} lines
   * @param {{top: string, follows: boolean, hasNewer: boolean, unread: number}} state
   */
  show(lines, { top, follows, hasNewer, unread }) {
    const anchor = follows ? null : this.#findAnchor(new Set(lines.map(({ id }) => id)));
    setText(this.#top, top);
    this.#lines.show(lines);
    this.#follows = follows;
    if (follows) this.#toEnd();
    else if (anchor) this.#scroller.scrollTop += anchor.element.offsetTop - anchor.offset;
    this.#jump.hidden = follows && !hasNewer;
    setText(this.#jumpText, unread > 0 ? `${unread} new ${unread === 1 ? "message" : "messages"}` : "Newest messages");
    this.#reportEnds();
  }

  /**
   * Scroll a message to the middle and highlight it.
   * @param {string} id
   */
  reveal(id) {
    const element = this.#lines.element(id);
    if (!element) return;
    element.scrollIntoView({ block: "center" });
    element.classList.remove("revealed");
    void element.offsetWidth; // a layout restarts the animation
    element.classList.add("revealed");
  }

  focus() {
    this.#scroller.focus();
  }

  #onScroll() {
    const follows = this.#distance() < AT_END_PX;
    if (follows !== this.#follows) {
      this.#follows = follows;
      this.on.onFollow(follows);
    }
    this.#reportEnds();
  }

  #reportEnds() {
    if (this.#scroller.scrollTop < NEAR_PX) this.on.onNearTop();
    if (this.#distance() < NEAR_PX) this.on.onNearEnd();
  }

  #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /**
   * Return the first visible line that stays, which must not move.
   * @param {Set<string>} kept
   */
  #findAnchor(kept) {
    const edge = this.#scroller.scrollTop;
    for (const child of find("#log", HTMLElement).children) {
      const element = /** @type {HTMLElement} */ (child);
      if (element.offsetTop + element.offsetHeight <= edge || !kept.has(element.dataset.line ?? "")) continue;
      return { element, offset: element.offsetTop };
    }
    return null;
  }

  /** @param {Line} line */
  #build(line) {
    const element = this.#element(line);
    element.dataset.line = line.id;
    return element;
  }

  /** @param {Line} line */
  #element(line) {
    switch (line.kind) {
      case "day":
        return make("li", "rule day", make("span", "", line.label));
      case "new":
        return make("li", "rule new", make("span", "", "New"));
      case "gap":
        return make("li", "rule gap", make("span", "", line.text));
      case "message":
        return messageElement(line, this.on.onMenu);
      case "pending":
        return pendingElement(line, this.on);
    }
  }
}
