/** Sentences above the composer: problems, and what was done. They disappear by themselves. */

import { find, setText } from "../dom.js";

const PROBLEM_MS = 8_000;
const NOTICE_MS = 20_000; // it may hold a command to copy

export class NoticesView {
  #timers = { problem: 0, notice: 0 };

  /** @param {string} sentence */
  showProblem(sentence) {
    this.#show("problem", sentence, PROBLEM_MS);
  }

  /** @param {string} sentence */
  showNotice(sentence) {
    this.#show("notice", sentence, NOTICE_MS);
  }

  /**
   * @param {"problem" | "notice"} place
   * @param {string} sentence
   * @param {number} ms
   */
  #show(place, sentence, ms) {
    clearTimeout(this.#timers[place]);
    setText(find(`#${place}`, HTMLElement), sentence);
    if (sentence) this.#timers[place] = window.setTimeout(() => this.#show(place, "", 0), ms);
  }
}
