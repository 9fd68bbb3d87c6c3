/**
 * The log: draws lines in steps, keeps the scroll position while lines are added and removed, and reports when the reader
 * comes close to either end. Knows no room and no socket.
 */

import { Children, find, make, setText } from "../dom.js";
import { STEP, gradually, partToDraw } from "../drawn_part.js";
import { idsBetween, lineAt } from "./line_at.js";
import { messageElement, pendingElement } from "./message.js";
import { Shield } from "./shield.js";
import { StickyView } from "./sticky.js";
import { ToolbarView } from "./toolbar.js";

/** @typedef {import("../transcript.js").Line} Line */

const NEAR_PX = 600; // more messages are loaded at this distance from an end
const AT_END_PX = 40; // within about one line of the end counts as the end

export class LogView {
  #scroller = find("#scroller", HTMLElement);
  #log = find("#log", HTMLElement);
  #top = find("#log-top", HTMLElement);
  #topText = "";
  #hasNewer = false; // whether the log goes on after the lines
  #height = 0; // of the scroller, in px, as it was observed last
  #jump = find("#jump", HTMLButtonElement);
  #jumpText = find("#jump-text", HTMLElement);
  /** @type {Children<Line>} */
  #lines;
  #follows = true;
  #jumpUp = find("#jump-up", HTMLButtonElement);
  /** The first new message; empty if there are no new ones. */
  #firstNew = "";
  /** The number of messages after the "New" line; 0 when the user has seen it. */
  #newCount = 0;
  #sticky = new StickyView(this.#scroller, this.#log);
  #isWhole = { above: true, below: true }; // whether all lines are drawn
  #nextStep = 0;
  /** @type {Line[]} */
  #shown = [];
  /** @type {CSSNumberish | null} the frame in which lines were added */
  #grownIn = null;

  /**
   * @param {object} on
   * @param {() => void} on.onNearTop
   * @param {() => void} on.onNearEnd
   * @param {(follows: boolean) => void} on.onFollow
   * @param {() => void} on.onJump
   * @param {(key: string) => void} on.onRetry
   * @param {(key: string) => void} on.onForget
   * @param {() => void} on.onJumpUp go to the first message that was not read
   * @param {(seq: number) => void} on.onParent
   * @param {(message: import("../protocol.js").Message, emoji: string) => void} on.onReaction
   * @param {(name: string) => void} on.onName
   * @param {() => void} on.onLeave
   * @param {(seq: number) => readonly import("../message_actions.js").Action[]} on.actions
   * @param {(action: import("../message_actions.js").Action, seq: number, anchor: HTMLElement) => void} on.onAction
   * @param {(seq: number, anchor: HTMLElement) => void} on.onMenu
   */
  constructor(on) {
    this.on = on;
    this.#lines = new Children(this.#log, (line) => this.#build(line));
    this.#scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    this.#jump.onclick = on.onJump;
    this.#jumpUp.onclick = () => {
      this.#newCount = 0;
      on.onJumpUp();
    };
    this.toolbar = new ToolbarView(on);
    this.#log.addEventListener("click", (event) => {
      const name = event.target instanceof Element ? event.target.closest(".mention") : null;
      if (name instanceof HTMLElement && name.dataset.name) on.onName(name.dataset.name);
    });
    // Stay at the end when the composer grows or a phone's keyboard opens.
    const shield = new Shield(this.#scroller);
    new ResizeObserver(() => {
      if (this.#follows) this.#toEnd();
      this.#height = this.#scroller.clientHeight;
      shield.resize(this.#height);
    }).observe(this.#scroller);
  }

  /** Remove all lines, for another room. */
  clear() {
    cancelAnimationFrame(this.#nextStep);
    this.#lines.clear();
    this.#shown = [];
    this.#follows = true;
    this.#newCount = 0;
    this.#firstNew = "";
    this.#jumpUp.hidden = true;
  }

  /**
   * Draw lines; if they are many, those that are left are drawn in the next frames.
   * @param {Line[]} lines
   * @param {{top: string, follows: boolean, hasNewer: boolean, unread: number, reveal: string | null}} state `reveal` is
   *   a line to show in the middle
   */
  show(lines, { top, follows, hasNewer, unread, reveal }) {
    this.#topText = top;
    this.#hasNewer = hasNewer;
    this.#follows = follows;
    this.#drawStep(lines, follows, reveal);
    this.#jump.hidden = follows && !hasNewer;
    setText(this.#jumpText, unread > 0 ? `${unread} new ${unread === 1 ? "message" : "messages"}` : "Newest messages");
    this.#showJumpUp(lines);
    if (reveal !== null) this.#reveal(reveal);
    this.#sticky.update();
    this.#reportEnds();
  }

  /**
   * @param {Line[]} lines
   * @param {boolean} follows
   * @param {string | null} reveal
   */
  #drawStep(lines, follows, reveal) {
    cancelAnimationFrame(this.#nextStep);
    const frame = document.timeline.currentTime;
    const step = frame === this.#grownIn ? 0 : STEP; // a change may be drawn in the frame of a step
    const lookOf = (/** @type {string} */ id) => this.#lines.look(id);
    const { from, to } = partToDraw(lines, (id) => lookOf(id) !== undefined, { follows, reveal, step });
    const view = { step, lookOf, isInView: this.#viewTest() };
    const { lines: shown, isAll } = gradually(lines.slice(from, to), this.#shown, view);
    this.#shown = shown;
    this.#grownIn = frame;
    const anchor = follows ? null : this.#findAnchor(new Set(shown.map(({ id }) => id)));
    setText(this.#top, this.#topText); // after the anchor is found, because its height changes
    this.#keepFocus(() => this.#lines.show(shown));
    this.toolbar.refresh();
    if (follows) this.#toEnd();
    else if (anchor) this.#scroller.scrollTop += (this.#lines.element(anchor.id)?.offsetTop ?? 0) - anchor.offset;
    this.#isWhole = { above: from === 0, below: to === lines.length };
    if (!isAll || to - from < lines.length) this.#nextStep = requestAnimationFrame(() => this.#drawNext(lines, follows));
  }

  /**
   * @param {Line[]} lines
   * @param {boolean} follows as the owner said; in between, the user may have scrolled away
   */
  #drawNext(lines, follows) {
    this.#drawStep(lines, follows && this.#follows, null);
    this.#reportEnds();
  }

  /**
   * Change lines; if the message with the focus was built again, give the focus to its new element.
   * @param {() => void} change
   */
  #keepFocus(change) {
    const { activeElement } = document;
    const line = activeElement?.closest("[data-line]");
    const id = line instanceof HTMLElement ? line.dataset.line : undefined;
    change();
    if (id !== undefined && !activeElement?.isConnected) this.#lines.element(id)?.focus({ preventScroll: true });
  }

  /** @param {Line[]} lines */
  #showJumpUp(lines) {
    const at = lines.findIndex(({ kind }) => kind === "new");
    const added = at < 0 ? [] : lines.slice(at).filter(({ kind }) => kind === "message");
    const count = added.length;
    const firstNew = added[0]?.id ?? "";
    if (this.#newCount === 0 && this.#firstNew === firstNew) return; // the user has seen it
    this.#newCount = count;
    this.#firstNew = firstNew;
    setText(find("#jump-up-text", HTMLElement), `${count} new ${count === 1 ? "message" : "messages"}`);
    this.#hideJumpUp();
  }

  /** Hide the button that leads to the "New" line when that line was in view. */
  #hideJumpUp() {
    const line = this.#lines.element("new");
    const isAbove = line !== undefined && line.offsetTop + line.offsetHeight < this.#scroller.scrollTop;
    if (line && !isAbove) this.#newCount = 0;
    this.#jumpUp.hidden = this.#newCount === 0;
  }

  /**
   * Scroll a message to the middle and highlight it.
   * @param {string} id
   */
  #reveal(id) {
    const element = this.#lines.element(id);
    if (!element) return;
    element.scrollIntoView({ block: "center" });
    element.focus({ preventScroll: true });
    element.classList.remove("revealed");
    void element.offsetWidth; // a layout restarts the animation
    element.classList.add("revealed");
  }

  focus() {
    this.#scroller.focus();
  }

  #onScroll() {
    if (this.#scroller.clientHeight !== this.#height) return; // it is resized, after which it stays at its end
    const isEnd = this.#isWhole.below && !this.#hasNewer; // not at the end of what is drawn so far
    const follows = isEnd && this.#distance() < AT_END_PX;
    if (follows !== this.#follows) {
      this.#follows = follows;
      this.on.onFollow(follows);
    }
    this.#hideJumpUp();
    this.#sticky.update();
    this.#reportEnds();
  }

  #reportEnds() {
    const { above, below } = this.#isWhole;
    if (above && this.#scroller.scrollTop < NEAR_PX) this.on.onNearTop();
    if (below && this.#distance() < NEAR_PX) this.on.onNearEnd();
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
    /** @type {Element | null} */
    let line = lineAt(this.#log, this.#scroller.scrollTop);
    while (line instanceof HTMLElement && !kept.has(line.dataset.line ?? "")) line = line.nextElementSibling;
    return line instanceof HTMLElement ? { id: line.dataset.line ?? "", offset: line.offsetTop } : null;
  }

  /** @returns {(id: string) => boolean} whether a line is in view; the view is measured by the first question */
  #viewTest() {
    /** @type {Set<string> | undefined} */
    let ids;
    const measure = () => {
      const { scrollTop, clientHeight } = this.#scroller;
      return idsBetween(this.#log, scrollTop, scrollTop + clientHeight);
    };
    return (id) => (ids ??= measure()).has(id);
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
        return make("li", "rule day", make("h2", "", line.label));
      case "new":
        return make("li", "rule new", make("span", "", "New"));
      case "gap":
        return make("li", "rule gap", make("span", "", line.text));
      case "message":
        return messageElement(line, this.on);
      case "pending":
        return pendingElement(line, this.on);
    }
  }
}
