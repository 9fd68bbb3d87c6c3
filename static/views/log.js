/**
 * The log on the screen: draws lines, keeps its place while lines come and go above and below, and tells when its
 * reader nears an end. Knows no room and no socket.
 */

import { Children, find, make, setText } from "../dom.js";
import { messageElement, pendingElement } from "./message.js";

/** @typedef {import("../transcript.js").Line} Line */

const NEAR_PX = 600; // more is loaded before the reader gets to the end
const AT_END_PX = 40; // a line's height of slack still counts as the end

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
   */
  constructor(on) {
    this.on = on;
    this.#lines = new Children(find("#log", HTMLElement), (line) => this.#build(line));
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#jump.onclick = on.onJump;
    // The composer grows, a phone's keyboard opens: who looked at the end still does.
    new ResizeObserver(() => this.#follows && this.#toEnd()).observe(this.#scroller);
  }

  /** Begin with another room. */
  clear() {
    this.#lines.clear();
    this.#follows = true;
  }

  /**
   * @param {Line[]} lines
   * @param {{top: string, follows: boolean, hasNewer: boolean, unread: number}} state
   */
  show(lines, { top, follows, hasNewer, unread }) {
    const place = follows ? null : this.#place(new Set(lines.map(({ id }) => id)));
    setText(this.#top, top);
    this.#lines.show(lines);
    this.#follows = follows;
    if (follows) this.#toEnd();
    else if (place) this.#scroller.scrollTop += place.element.offsetTop - place.offset;
    this.#jump.hidden = follows && !hasNewer;
    setText(this.#jumpText, unread > 0 ? `${unread} new ${unread === 1 ? "message" : "messages"}` : "Newest messages");
    this.#tellEnds();
  }

  /**
   * Bring a message to the middle and point at it.
   * @param {string} id
   */
  reveal(id) {
    const element = this.#lines.element(id);
    if (!element) return;
    element.scrollIntoView({ block: "center" });
    element.classList.remove("revealed");
    void element.offsetWidth; // lets the animation begin anew
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
    this.#tellEnds();
  }

  #tellEnds() {
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
   * The first line in sight that will still be there: what must not move.
   * @param {Set<string>} kept
   */
  #place(kept) {
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
        return messageElement(line);
      case "pending":
        return pendingElement(line, this.on);
    }
  }
}
