/** Shows the state of the connection: a word below the name, and a banner above the log if there is a problem. */

import { find, setText } from "../dom.js";
import { sentenceOf } from "../explanations.js";

/** @typedef {import("../connection.js").ConnectionState} ConnectionState */

const BANNER_AFTER_MS = 1_500; // shorter interruptions show no banner

export class StatusView {
  #word = find("#link-word", HTMLElement);
  #dot = find("#link-dot", HTMLElement);
  #banner = find("#banner", HTMLElement);
  #text = find("#banner-text", HTMLElement);
  #wait = find("#banner-wait", HTMLElement);
  #retry = find("#banner-retry", HTMLButtonElement);
  /** @type {number | null} */
  #brokenMs = null;
  #timer = 0;

  /** @param {{onRetry: () => void}} on */
  constructor(on) {
    this.#retry.onclick = on.onRetry;
  }

  /**
   * @param {ConnectionState} state
   * @param {number} unsent
   * @param {string} storeProblem why the connected server cannot reach its store
   */
  show(state, unsent, storeProblem) {
    clearTimeout(this.#timer);
    const isHealthy = state.kind === "online" && !storeProblem;
    const isNew = state.kind === "stopped" && state.code === 0; // before the first connection: a visitor without a name
    this.#dot.dataset.state = isNew ? "new" : isHealthy || state.kind !== "online" ? state.kind : "waiting";
    const word = isHealthy || state.kind !== "online" ? WORDS[state.kind] : "Store unavailable";
    setText(this.#word, isNew ? "Welcome" : word);
    const nowMs = performance.now();
    this.#brokenMs = state.kind === "online" ? null : (this.#brokenMs ?? nowMs);
    const isBroken = state.kind === "stopped" ? state.code !== 0 : nowMs - (this.#brokenMs ?? nowMs) >= BANNER_AFTER_MS;
    this.#banner.hidden = isHealthy || (state.kind !== "online" && !isBroken);
    setText(this.#text, sentence(state, unsent, storeProblem));
    const waitS = state.kind === "waiting" ? Math.max(0, Math.ceil((state.untilMs - nowMs) / 1000)) : 0;
    setText(this.#wait, state.kind === "waiting" ? `Trying again in ${waitS} s.` : "");
    this.#retry.hidden = state.kind === "connecting" || state.kind === "online";
    setText(this.#retry, state.kind !== "stopped" ? "Retry now" : state.code === 4401 ? "Sign in" : "Connect");
    if (state.kind === "online" || state.kind === "stopped") return;
    this.#timer = window.setTimeout(() => this.show(state, unsent, storeProblem), 500);
  }
}

const WORDS = { connecting: "Connecting…", online: "Connected", waiting: "Offline", stopped: "Disconnected" };

/** @param {{code: number, reason: string}} state */
function refusal({ code, reason }) {
  const isOfAccess = reason && (code === 4401 || code === 4403);
  return isOfAccess ? sentenceOf(reason) : `The server closed the connection: ${reason || `code ${code}`}.`;
}

/**
 * @param {ConnectionState} state
 * @param {number} unsent
 * @param {string} storeProblem
 */
function sentence(state, unsent, storeProblem) {
  const kept = unsent ? ` ${unsent === 1 ? "One message is" : `${unsent} messages are`} kept and will be sent.` : "";
  if (state.kind === "online") return `The server reports: ${storeProblem.replace(/\.$/, "")}.${kept}`;
  if (state.kind === "waiting") return `Offline: ${state.reason}.${kept}`;
  if (state.kind === "stopped") return `${refusal(state)}${kept}`;
  return `Connecting…${kept}`;
}
