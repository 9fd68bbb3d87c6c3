/** Tells a screen reader what came, gathered: in a busy room a sum, not a stream. */

const GATHER_MS = 1_000;
const MAX_CHARS = 200;

export class Announcer {
  /** @type {string[]} */
  #said = [];
  #timer = 0;

  /** @param {HTMLElement} region */
  constructor(region) {
    this.region = region;
  }

  /**
   * @param {string} sender
   * @param {string} body
   */
  say(sender, body) {
    this.#said.push(`${sender}: ${body.slice(0, MAX_CHARS)}`);
    this.#timer ||= window.setTimeout(() => this.#speak(), GATHER_MS);
  }

  #speak() {
    const said = this.#said;
    this.#said = [];
    this.#timer = 0;
    this.region.textContent = said.length <= 3 ? said.join("\n") : `${said.length} new messages`;
  }
}
