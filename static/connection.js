/**
 * The WebSocket connection to the server: commands with their answers, the heartbeat, and reconnecting with back-off.
 * Knows no DOM and no room. `welcome` is the first event of every connection; the owner then joins its rooms again.
 */

import { ConnectionLost, readEvent, Refused, SUBPROTOCOL } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Event} Event
 * @typedef {{kind: "connecting"}
 *   | {kind: "online", name: string, server: string}
 *   | {kind: "waiting", untilMs: number, reason: string}
 *   | {kind: "stopped", code: number, reason: string}} ConnectionState
 * @typedef {{resolve: (event: Event) => void, reject: (error: Error) => void, timer: number}} PendingAnswer
 * @typedef {{socket: WebSocket, command: string, ref: number, frames: unknown[]}} Early what early.js has begun: a
 *   socket that sends `command`, as JSON without its `ref`, when it opens, and what it has received
 */

const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 30_000;
const WAIT_GROWTH = 1.2; // not more, so that a page is back soon after a server that was restarted
const STABLE_MS = 10_000; // after a connection this long, the back-off starts again
const OPEN_WITHIN_MS = 10_000;
const ANSWER_WITHIN_MS = 10_000; // an overdue answer ends the connection: the server or the network failed
// A ping is sent after this silence, so a dead connection is detected 25 s after its last frame.
const HEARTBEAT_MS = 15_000;

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<import("./protocol.js").Ref, PendingAnswer>} */
  #pending = new Map();
  #refs = 0;
  #attempts = 0;
  #openedMs = 0;
  #timer = 0;
  #heartbeat = 0;
  /** @type {Early | null} whose command has not been asked for yet */
  #early = null;
  /** @type {ConnectionState} */
  #state = { kind: "stopped", code: 0, reason: "" };

  /**
   * @param {object} owner
   * @param {() => string} owner.url called for each attempt
   * @param {(state: ConnectionState) => void} owner.onState
   * @param {(event: Event) => void} owner.onEvent
   * @param {() => Promise<{code: number, reason: string} | null>} owner.whyRefused called if a
   *   connection never opened: a browser does not show a page refusal a handshake failed
   */
  constructor(owner) {
    this.owner = owner;
  }

  get state() {
    return this.#state;
  }

  get isOnline() {
    return this.#state.kind === "online";
  }

  /**
   * Open a new connection now and drop the present one: at the start, for "Retry now", and after a change of the name.
   */
  open() {
    this.#drop("reopened");
    this.#set({ kind: "connecting" });
    const url = this.owner.url();
    this.#early = takeEarly(url);
    const socket = this.#early?.socket ?? new WebSocket(url, SUBPROTOCOL);
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lost(1006, "the server does not answer"), OPEN_WITHIN_MS);
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    if (this.#early) this.#receiveEarly(this.#early);
  }

  /**
   * Receive what came before, after the running task: until then, the owner adds its rooms.
   * @param {Early} early
   */
  #receiveEarly({ socket, frames }) {
    queueMicrotask(() => {
      for (const frame of frames) if (this.#socket === socket) this.#receive(frame);
    });
  }

  /** Reconnect now instead of after the back-off. */
  retryNow() {
    if (this.#state.kind === "waiting") this.open();
  }

  /**
   * Close the connection and do not reconnect.
   * @param {number} code
   * @param {string} reason
   */
  stop(code, reason) {
    this.#drop(reason);
    this.#set({ kind: "stopped", code, reason });
  }

  /**
   * Send a command that has no answer; return false if there is no connection.
   * @param {Command} command
   */
  send(command) {
    if (!this.isOnline || !this.#socket) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  /**
   * Send a command and return its answer; reject with `Refused` or `ConnectionLost`.
   * @param {Command} command
   * @returns {Promise<Event>}
   */
  ask(command) {
    const early = this.#early?.command === JSON.stringify(command) ? this.#early : null;
    const ref = early?.ref ?? ++this.#refs;
    const sent = { ...command, ref };
    if (early) this.#early = null; // it is sent
    else if (!this.send(sent)) return Promise.reject(new ConnectionLost("not connected"));
    return new Promise((resolve, reject) => {
      const overdue = () => this.#lost(1006, "the server does not answer");
      this.#pending.set(ref, { resolve, reject, timer: setTimeout(overdue, ANSWER_WITHIN_MS) });
    });
  }

  /** Send a ping. If no answer arrives in time, the connection is dropped and opened again. */
  async ping() {
    try {
      await this.ask({ op: "ping" });
    } catch (error) {
      // A refusal proves that the connection works. A lost connection is reported by `onState`.
      if (!(error instanceof Refused || error instanceof ConnectionLost)) throw error;
    }
  }

  /** Restart the time after which a ping is sent. */
  #restartHeartbeat() {
    clearTimeout(this.#heartbeat);
    this.#heartbeat = setTimeout(() => void this.ping(), HEARTBEAT_MS);
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#restartHeartbeat();
    const event = readEvent(data);
    if (!event) return;
    if (event.type === "welcome") {
      clearTimeout(this.#timer);
      this.#openedMs = performance.now();
      this.#set({ kind: "online", name: event.name, server: event.server });
    }
    this.owner.onEvent(event);
    const pending = event.ref === undefined ? undefined : this.#pending.get(event.ref);
    if (!pending || event.ref === undefined) return;
    this.#pending.delete(event.ref);
    clearTimeout(pending.timer);
    if (event.type === "error") pending.reject(new Refused(event));
    else pending.resolve(event);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const wasOpen = this.isOnline;
    if (wasOpen && performance.now() - this.#openedMs > STABLE_MS) this.#attempts = 0;
    this.#drop(reason);
    if (code >= 4000 && code < 4500) return this.#set({ kind: "stopped", code, reason });
    // Half of the wait is random, so that the pages of a failed server do not all reconnect at the same moment.
    const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * WAIT_GROWTH ** this.#attempts++) * (0.5 + Math.random() / 2);
    this.#set({ kind: "waiting", untilMs: performance.now() + wait, reason: reason || reasonOf(code) });
    this.#timer = setTimeout(() => this.open(), wait);
    if (!wasOpen) void this.#findReason();
  }

  async #findReason() {
    const refusal = await this.owner.whyRefused();
    if (refusal && this.#state.kind === "waiting") this.stop(refusal.code, refusal.reason);
  }

  /** @param {string} reason */
  #drop(reason) {
    clearTimeout(this.#timer);
    clearTimeout(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = this.#early = null;
    if (socket) {
      // Closing a dead connection may take minutes; its late events are ignored.
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const unanswered = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of unanswered) {
      clearTimeout(timer);
      reject(new ConnectionLost(reason));
    }
  }

  /** @param {ConnectionState} state */
  #set(state) {
    this.#state = state;
    this.owner.onState(state);
  }
}

/**
 * Return what early.js has begun with an address, once. Anything else of it is closed.
 * @param {string} url
 * @returns {Early | null}
 */
function takeEarly(url) {
  const page = /** @type {{chatkitEarly?: Early | null}} */ (/** @type {unknown} */ (globalThis));
  const early = page.chatkitEarly;
  page.chatkitEarly = null;
  if (!early) return null;
  if (early.socket.url === url && early.socket.readyState <= WebSocket.OPEN) return early;
  early.socket.close();
  return null;
}

/** @param {number} code */
function reasonOf(code) {
  switch (code) {
    case 1001:
    case 1012:
      return "the server is restarting";
    case 1009:
      return "a message was too large";
    case 4503:
      return "the store is unavailable";
    case 4508:
      return "the server is busy";
    default:
      return "the connection was lost";
  }
}
