/**
 * The actions on a message: a bar that moves to the message under the mouse or with the focus, keys on the message that
 * has the focus, and a long press on a touch screen. One message at a time can be reached with Tab (roving focus).
 * Knows no room.
 *
 * @typedef {import("../message_actions.js").Action} Action
 */

import { find } from "../dom.js";
import { KEYS } from "../message_actions.js";

const LONG_PRESS_MS = 450;
const MOVED_PX = 10; // a finger that moves further scrolls
const HEIGHT_PX = 44; // of the bar on a touch screen, where it is above its message if there is room

export class ToolbarView {
  #log = find("#log", HTMLElement);
  #scroller = find("#scroller", HTMLElement);
  #bar = find("#toolbar", HTMLElement);
  /** @type {HTMLElement | null} the message that Tab reaches */
  #current = null;
  #isChosen = false; // the user moved the focus to the current message; otherwise, it is the newest
  #isShown = false; // whether the bar is on a message, which may have been built again
  #pressTimer = 0;
  /** @type {{x: number, y: number, message: HTMLElement, isLong: boolean} | null} */
  #press = null;

  /**
   * @param {object} on
   * @param {(seq: number) => readonly Action[]} on.actions the actions on a message
   * @param {(action: Action, seq: number, anchor: HTMLElement) => void} on.onAction
   * @param {(seq: number, anchor: HTMLElement) => void} on.onMenu
   * @param {() => void} on.onLeave the user has done with the messages
   */
  constructor(on) {
    this.on = on;
    const log = this.#log;
    log.addEventListener("pointerover", (event) => {
      if (event.pointerType === "mouse") this.#moveTo(messageAt(event.target));
    });
    log.addEventListener("pointerleave", () => this.#moveTo(messageAt(document.activeElement)));
    log.addEventListener("focusin", (event) => this.#onFocus(messageAt(event.target)));
    log.addEventListener("focusout", (event) => {
      if (!messageAt(event.relatedTarget) && !messageAt(this.#bar)?.matches(":hover")) this.#moveTo(null);
    });
    this.#scroller.addEventListener("keydown", (event) => this.#onKey(event));
    this.#bar.addEventListener("click", (event) => this.#onClick(event));
    this.#listenToTouch();
  }

  /** Attach the bar and the focus to the new elements of messages that were built again. */
  refresh() {
    if (!this.#isChosen || !this.#current?.isConnected) {
      this.#isChosen = false;
      this.#setCurrent(this.#newest());
    }
    if (this.#isShown && !this.#bar.isConnected) this.#moveTo(this.#log.querySelector(".message[data-seq]:hover"));
  }

  /** @param {HTMLElement | null} message */
  #moveTo(message) {
    const seq = seqOf(message);
    if (this.#bar.parentElement === message || this.#bar.querySelector("[data-open]")) return;
    // The bar cannot keep the focus while it moves.
    if (this.#bar.contains(document.activeElement)) messageAt(this.#bar)?.focus({ preventScroll: true });
    this.#isShown = message !== null;
    if (!message || seq === null) return this.#bar.remove();
    const actions = this.on.actions(seq);
    for (const button of this.#buttons) {
      const { action } = button.dataset;
      button.hidden = action !== "menu" && !actions.includes(/** @type {Action} */ (action));
    }
    const above = message.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    this.#bar.classList.toggle("below", above < HEIGHT_PX);
    message.append(this.#bar);
  }

  get #buttons() {
    return [...this.#bar.querySelectorAll("button")];
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    const seq = seqOf(messageAt(this.#bar));
    if (!button || seq === null) return;
    const { action } = button.dataset;
    if (action === "menu") this.on.onMenu(seq, button);
    else this.on.onAction(/** @type {Action} */ (action), seq, button);
  }

  /** @param {HTMLElement | null} message */
  #onFocus(message) {
    if (!message) return;
    this.#isChosen = true;
    this.#setCurrent(message);
    this.#moveTo(message);
  }

  /** @param {HTMLElement | null} message */
  #setCurrent(message) {
    if (this.#current) this.#current.tabIndex = -1;
    this.#current = message;
    if (message) message.tabIndex = 0;
  }

  #newest() {
    let line = this.#log.lastElementChild;
    while (line && !line.matches(".message[data-seq]")) line = line.previousElementSibling;
    return /** @type {HTMLElement | null} */ (line);
  }

  #messages() {
    return /** @type {HTMLElement[]} */ ([...this.#log.querySelectorAll(".message[data-seq]")]);
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    const message = messageAt(event.target);
    // A link or a button in a message uses Enter and the space bar itself, and a box of code the arrows.
    const isOnPart = isControl(event.target) && event.key.length === 1 && event.key !== " ";
    const isOnMessage = message !== null && (message === event.target || isOnPart);
    const isOnLog = event.target === this.#scroller && (event.key === "j" || event.key === "k");
    if (!isOnMessage && !isOnLog) return;
    if (!this.#step(event.key, message) && !(message && this.#act(event.key, message))) return;
    event.preventDefault();
    event.stopPropagation(); // Escape would also jump to the newest message
  }

  /**
   * @param {string} key
   * @param {HTMLElement | null} message
   */
  #step(key, message) {
    const messages = this.#messages();
    const at = message ? messages.indexOf(message) : messages.length;
    /** @type {Record<string, number>} */
    const targets = { ArrowUp: at - 1, k: at - 1, ArrowDown: at + 1, j: at + 1, Home: 0, End: messages.length - 1 };
    const target = targets[key];
    if (target === undefined) return false;
    if (target >= messages.length) this.on.onLeave();
    else messages[Math.max(0, target)]?.focus();
    return true;
  }

  /**
   * @param {string} key
   * @param {HTMLElement} message
   */
  #act(key, message) {
    const seq = seqOf(message);
    if (seq === null) return false;
    if (key === "Escape") {
      this.on.onLeave();
      return true;
    }
    if (key === "Enter" || key === "ContextMenu") {
      this.on.onMenu(seq, message);
      return true;
    }
    const action = KEYS[key];
    const actions = this.on.actions(seq);
    const offered = action === "pin" && !actions.includes("pin") ? "unpin" : action;
    if (!offered || !actions.includes(offered)) return false;
    this.on.onAction(offered, seq, message);
    return true;
  }

  #listenToTouch() {
    this.#log.addEventListener("pointerdown", (event) => this.#onPress(event));
    this.#log.addEventListener("pointermove", (event) => {
      const press = this.#press;
      if (press && Math.hypot(event.clientX - press.x, event.clientY - press.y) > MOVED_PX) this.#endPress();
    });
    this.#log.addEventListener("pointercancel", () => this.#endPress());
    // The menu opens at the end of the press: a release would close one that is open already.
    this.#log.addEventListener("click", (event) => this.#onTap(event), { capture: true });
    this.#log.addEventListener("contextmenu", (event) => this.#press && event.preventDefault());
  }

  /** @param {PointerEvent} event */
  #onPress(event) {
    this.#endPress();
    const message = messageAt(event.target);
    if (event.pointerType === "mouse" || !message || isControl(event.target)) return;
    const press = { x: event.clientX, y: event.clientY, message, isLong: false };
    this.#press = press;
    this.#pressTimer = window.setTimeout(() => {
      press.isLong = true;
      message.classList.add("pressed");
    }, LONG_PRESS_MS);
  }

  /** @param {MouseEvent} event */
  #onTap(event) {
    const press = this.#press;
    this.#endPress();
    const seq = seqOf(press?.message ?? null);
    if (!press || seq === null) return;
    if (!press.isLong) return this.#moveTo(press.message);
    event.preventDefault();
    event.stopPropagation();
    this.on.onMenu(seq, press.message);
  }

  #endPress() {
    clearTimeout(this.#pressTimer);
    this.#press?.message.classList.remove("pressed");
    this.#press = null;
  }
}

/**
 * Return the stored message that contains an element.
 * @param {EventTarget | null} target
 * @returns {HTMLElement | null}
 */
function messageAt(target) {
  return target instanceof Element ? target.closest(".message[data-seq]") : null;
}

/** @param {HTMLElement | null} message */
function seqOf(message) {
  return message ? Number(message.dataset.seq) : null;
}

/** @param {EventTarget | null} target */
function isControl(target) {
  return target instanceof Element && target.closest("button, a, summary") !== null;
}
