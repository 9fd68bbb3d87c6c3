/** How the link stands: a word beside the name, and a line above the log when it is not well. Counts down by itself. */

import { find, setText } from "../dom.js";

/** @typedef {import("../connection.js").LinkState} LinkState */

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
   * @param {string} storeAway why the server, which is there, can neither store nor hear
   */
  show(state, unsent, storeAway) {
    clearTimeout(this.#timer);
    const isWell = state.kind === "online" && !storeAway;
    this.#dot.dataset.state = isWell || state.kind !== "online" ? state.kind : "waiting";
    setText(this.#word, isWell || state.kind !== "online" ? WORDS[state.kind] : "Store away");
    if (state.kind === "online") this.#brokenMs = 0;
    else this.#brokenMs ||= Date.now();
    const isBroken = state.kind === "stopped" ? state.code !== 0 : Date.now() - this.#brokenMs >= PATIENCE_MS;
    this.#banner.hidden = isWell || (state.kind !== "online" && !isBroken);
    setText(this.#text, sentence(state, unsent, storeAway));
    const waitS = state.kind === "waiting" ? Math.max(0, Math.ceil((state.untilMs - Date.now()) / 1000)) : 0;
    setText(this.#wait, state.kind === "waiting" ? `Trying again in ${waitS} s.` : "");
    this.#retry.hidden = state.kind === "connecting" || state.kind === "online";
    setText(this.#retry, state.kind === "stopped" ? "Connect" : "Retry now");
    if (state.kind === "online" || state.kind === "stopped") return;
    this.#timer = window.setTimeout(() => this.show(state, unsent, storeAway), 500);
  }
}

const WORDS = { connecting: "Connecting…", online: "Connected", waiting: "Offline", stopped: "Disconnected" };

/**
 * @param {LinkState} state
 * @param {number} unsent
 * @param {string} storeAway
 */
function sentence(state, unsent, storeAway) {
  const kept = unsent ? ` ${unsent === 1 ? "One message is" : `${unsent} messages are`} kept and will be sent.` : "";
  if (state.kind === "online") return `The server is there, but ${storeAway.replace(/\.$/, "")}.${kept}`;
  if (state.kind === "waiting") return `Offline: ${state.reason}.${kept}`;
  if (state.kind === "stopped") return `The server ended the connection: ${state.reason || `code ${state.code}`}.`;
  return `Connecting…${kept}`;
}
