/** One sentence for a problem, and one for what was done. Each is shown for some seconds. */

import { find, setText } from "../dom.js";

const PROBLEM_MS = 8_000;
const NOTICE_MS = 20_000; // it may hold a command to copy

export class NoticesView {
  #problemTimer = 0;
  #noticeTimer = 0;

  /** @param {string} sentence */
  showProblem(sentence) {
    clearTimeout(this.#problemTimer);
    setText(find("#problem", HTMLElement), sentence);
    if (sentence) this.#problemTimer = window.setTimeout(() => this.showProblem(""), PROBLEM_MS);
  }

  /**
   * Show that something was done.
   * @param {string} sentence
   */
  show(sentence) {
    clearTimeout(this.#noticeTimer);
    setText(find("#notice", HTMLElement), sentence);
    if (sentence) this.#noticeTimer = window.setTimeout(() => this.show(""), NOTICE_MS);
  }
}
