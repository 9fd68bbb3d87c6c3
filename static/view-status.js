/** How the link stands: a word beside the name, and a line above the log when it is not well. Counts down by itself. */

import { find, setText } from "./dom.js";

/** @typedef {import("./connection.js").LinkState} LinkState */

const PATIENCE_MS = 1_500; // a link that comes back sooner is not worth a line above the log

export class StatusView {
  #word = find("#link-word", HTMLElement);
  #dot = find("#link-dot", HTMLElement);
  #banner = find("#banner", HTMLElement);
  #text = find("#banner-text", HTMLElement);
  #wait = find("#banner-wait", HTMLElement);
  #retry = find("#banner-retry", HTMLButtonElement);
  #brokenMs = 0;
  #timer = 0;

  /** @param {{onRetry: () => void}} on */
  constructor(on) {
    this.#retry.onclick = on.onRetry;
  }

  /**
   * @param {LinkState} state
   * @param {number} unsent
   */
  show(state, unsent) {
    clearTimeout(this.#timer);
    this.#dot.dataset.state = state.kind;
    setText(this.#word, WORDS[state.kind]);
    if (state.kind === "online") this.#brokenMs = 0;
    else this.#brokenMs ||= Date.now();
    const isBroken = state.kind === "stopped" ? state.code !== 0 : Date.now() - this.#brokenMs >= PATIENCE_MS;
    this.#banner.hidden = state.kind === "online" || !isBroken;
    setText(this.#text, sentence(state, unsent));
    const waitS = state.kind === "waiting" ? Math.max(0, Math.ceil((state.untilMs - Date.now()) / 1000)) : 0;
    setText(this.#wait, state.kind === "waiting" ? `Trying again in ${waitS} s.` : "");
    this.#retry.hidden = state.kind === "connecting";
    setText(this.#retry, state.kind === "stopped" ? "Connect" : "Retry now");
    if (state.kind === "online" || state.kind === "stopped") return;
    this.#timer = window.setTimeout(() => this.show(state, unsent), 500);
  }
}

const WORDS = { connecting: "Connecting…", online: "Connected", waiting: "Offline", stopped: "Disconnected" };

/**
 * @param {LinkState} state
 * @param {number} unsent
 */
function sentence(state, unsent) {
  const kept = unsent ? ` ${unsent === 1 ? "One message is" : `${unsent} messages are`} kept and will be sent.` : "";
  if (state.kind === "waiting") return `Offline: ${state.reason}.${kept}`;
  if (state.kind === "stopped") return `The server ended the connection: ${state.reason || `code ${state.code}`}.`;
  return `Connecting…${kept}`;
}
