/**
 * The link to the server: opening it, questions and answers, and coming back after it broke. Knows no DOM and no room;
 * what is to be joined on return is asked of its owner, who hears `welcome` as the first event of every link.
 */

import { LinkLost, readEvent, Refused, SUBPROTOCOL } from "./protocol.js";

/**
 * @typedef {import("./protocol.js").Command} Command
 * @typedef {import("./protocol.js").Event} Event
 * @typedef {{kind: "connecting"}
 *   | {kind: "online", name: string, server: string}
 *   | {kind: "waiting", untilMs: number, reason: string}
 *   | {kind: "stopped", code: number, reason: string}} LinkState
 * @typedef {{settle: (event: Event) => void, fail: (error: Error) => void, timer: number}} Question
 */

const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 30_000;
const STEADY_MS = 10_000; // a link that lived this long was a good one: the next wait is short again
const OPEN_WITHIN_MS = 10_000;
const ANSWER_WITHIN_MS = 10_000; // a silent server or a cut cable: an overdue answer ends the link
const HEARTBEAT_MS = 15_000; // after so much silence a ping is sent: a dead link is noticed 25 s after its last frame

export class Connection {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<import("./protocol.js").Ref, Question>} */
  #questions = new Map();
  #refs = 0;
  #attempts = 0;
  #openedMs = 0;
  #timer = 0;
  #heartbeat = 0;
  /** @type {LinkState} */
  #state = { kind: "stopped", code: 0, reason: "" };

  /**
   * @param {object} owner
   * @param {() => string} owner.url read anew for each try
   * @param {(state: LinkState) => void} owner.onState
   * @param {(event: Event) => void} owner.onEvent
   * @param {() => Promise<{code: number, reason: string} | null>} owner.whyRefused asked when a link never opened: a
   *   browser does not tell a page why a handshake failed
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

  /** Open the link now, whatever stands: used to start, for "retry now", and to come back under another name. */
  open() {
    this.#drop("reopened");
    this.#set({ kind: "connecting" });
    const socket = new WebSocket(this.owner.url(), SUBPROTOCOL);
    this.#socket = socket;
    this.#timer = window.setTimeout(() => this.#lost(1006, "the server does not answer"), OPEN_WITHIN_MS);
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  /** Try now if a wait is under way. */
  retryNow() {
    if (this.#state.kind === "waiting") this.open();
  }

  /**
   * End the link for good.
   * @param {number} code
   * @param {string} reason
   */
  stop(code, reason) {
    this.#drop(reason);
    this.#set({ kind: "stopped", code, reason });
  }

  /**
   * Send what needs no answer; false where there is no link.
   * @param {Command} command
   */
  send(command) {
    if (!this.isOnline || !this.#socket) return false;
    this.#socket.send(JSON.stringify(command));
    return true;
  }

  /**
   * Send a command and wait for its answer; rejects with `Refused` or `LinkLost`.
   * @param {Command} command
   * @returns {Promise<Event>}
   */
  ask(command) {
    const ref = ++this.#refs;
    const asked = { ...command, ref };
    if (!this.send(asked)) return Promise.reject(new LinkLost("not connected"));
    return new Promise((settle, fail) => {
      const overdue = () => this.#lost(1006, "the server does not answer");
      this.#questions.set(ref, { settle, fail, timer: window.setTimeout(overdue, ANSWER_WITHIN_MS) });
    });
  }

  /** Ask for a sign of life; a link that gives none is ended and opened again. */
  async ping() {
    try {
      await this.ask({ op: "ping" });
    } catch (error) {
      // A refusal is an answer, too, and whoever owns the connection learns by its state that the link went.
      if (!(error instanceof Refused || error instanceof LinkLost)) throw error;
    }
  }

  /** Wait for the next silence. */
  #listen() {
    clearTimeout(this.#heartbeat);
    this.#heartbeat = window.setTimeout(() => void this.ping(), HEARTBEAT_MS);
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#listen();
    const event = readEvent(data);
    if (!event) return;
    if (event.type === "welcome") {
      clearTimeout(this.#timer);
      this.#openedMs = Date.now();
      this.#set({ kind: "online", name: event.name, server: event.server });
    }
    this.owner.onEvent(event);
    const question = event.ref === undefined ? undefined : this.#questions.get(event.ref);
    if (!question || event.ref === undefined) return;
    this.#questions.delete(event.ref);
    clearTimeout(question.timer);
    if (event.type === "error") question.fail(new Refused(event));
    else question.settle(event);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const wasOpen = this.isOnline;
    if (wasOpen && Date.now() - this.#openedMs > STEADY_MS) this.#attempts = 0;
    this.#drop(reason);
    if (code >= 4000 && code < 4500) return this.#set({ kind: "stopped", code, reason });
    // Half of the wait is chance: a thousand pages that lost one server do not come back in one moment.
    const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts++) * (0.5 + Math.random() / 2);
    this.#set({ kind: "waiting", untilMs: Date.now() + wait, reason: reason || nameOf(code) });
    this.#timer = window.setTimeout(() => this.open(), wait);
    if (!wasOpen) void this.#learnWhy();
  }

  async #learnWhy() {
    const why = await this.owner.whyRefused();
    if (why && this.#state.kind === "waiting") this.stop(why.code, why.reason);
  }

  /** @param {string} reason */
  #drop(reason) {
    clearTimeout(this.#timer);
    clearTimeout(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      // A dead link's close may take minutes: what it still says concerns nobody.
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    const questions = [...this.#questions.values()];
    this.#questions.clear();
    for (const { fail, timer } of questions) {
      clearTimeout(timer);
      fail(new LinkLost(reason));
    }
  }

  /** @param {LinkState} state */
  #set(state) {
    this.#state = state;
    this.owner.onState(state);
  }
}

/** @param {number} code */
function nameOf(code) {
  switch (code) {
    case 1001:
    case 1012:
      return "the server restarts";
    case 1009:
      return "a frame was too big";
    case 4503:
      return "the store is away";
    case 4508:
      return "the server is busy";
    default:
      return "the connection was lost";
  }
}
