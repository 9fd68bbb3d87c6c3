/** Announces new messages to screen readers, once a second at most; in a busy room only their number. */

const INTERVAL_MS = 1_000;
const MAX_CHARS = 200;

export class Announcer {
  /** @type {string[]} */
  #waiting = [];
  #timer = 0;

  /** @param {HTMLElement} region */
  constructor(region) {
    this.region = region;
  }

  /**
   * @param {string} sender
   * @param {string} body
   */
  announce(sender, body) {
    this.#waiting.push(`${sender}: ${body.slice(0, MAX_CHARS)}`);
    this.#timer ||= window.setTimeout(() => this.#flush(), INTERVAL_MS);
  }

  #flush() {
    const texts = this.#waiting;
    this.#waiting = [];
    this.#timer = 0;
    this.region.textContent = texts.length <= 3 ? texts.join("\n") : `${texts.length} new messages`;
  }
}
