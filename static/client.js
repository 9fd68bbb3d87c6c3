/**
 * A client of a chatkit server, for pages in the browser. Other pages import it from a server, and the server's own page
 * is built on it:
 *
 *     import { connect } from "https://chat.example.org/client.js";
 *     const chat = connect({ name: "ann", onChange: draw });
 *     const room = chat.join("ops");
 *     chat.publish(room, "hello");
 *
 * A room is state: `room.items` is a window of its log, in which each message is in its current form (edits, reactions
 * and replies included). `onChange` is called after every change, and the page draws what it finds. The client connects
 * again after a lost connection, continues every room at its cursor, and sends each message exactly once.
 *
 * Knows no DOM.
 */

import { pathOf, queryOf } from "./api.js";
import { HistoryReader } from "./history.js";
import { Session } from "./session.js";
import { Store } from "./storage.js";

export { ConnectionLost, Refused } from "./protocol.js";
export { applyChange, fold, isChange } from "./relations.js";
export { Store } from "./storage.js";

/**
 * @typedef {import("./protocol.js").Act} Act
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 * @typedef {{messages: Message[], complete: boolean, cursor?: string}} Found messages of several rooms, newest first;
 *   `cursor` continues with older ones
 *
 * @typedef {object} Options
 * @property {string} [server] the address of the server's page; by default, the server of this module
 * @property {string | (() => string)} [name] the user's name. A token decides the name itself
 * @property {string} [token] for pages of another site. The server's own page uses a cookie, which scripts cannot read
 * @property {Store} [store] where unsent messages and positions are kept. By default, they last as long as the page;
 *   `new Store(localStorage, "/my-chat/")` keeps them in the browser
 * @property {() => void} [onChange] something changed: the connection, a room, the outbox. Called once for all changes
 *   of a task, after it
 * @property {(room: Room, message: Message) => void} [onLive] a new message arrived, after the state at joining
 * @property {(room: Room, oldName: string, name: string) => void} [onRenamed] a room was renamed and is read further
 * @property {(sentence: string) => void} [onProblem] the server refused something, or reports a problem
 * @property {() => void} [onBadName] the server refused the name: choose another and call `open`
 * @property {(event: import("./protocol.js").WelcomeEvent) => void} [onWelcome] the server greeted the user
 */

const FOUND = 50; // messages a page of results
const TYPING_EVERY_MS = 3_000;

/**
 * Return a client that connects, and connects again whenever the connection is lost.
 * @param {Options} [options]
 */
export function connect(options = {}) {
  const client = new Client(options);
  client.open();
  return client;
}

/**
 * A connection to a server with its rooms. What a page reads: `connection.state`, `name`, `verified`, `maxBody`,
 * `rooms.joined` (the rooms of this client), `rooms.listed` (what the server lists), `outbox`, `storeProblem`.
 */
export class Client extends Session {
  #typedMs = -Infinity;
  #history;

  /** @param {Options} options */
  constructor(options) {
    const { server = serverOf(import.meta.url), name = "", token, store = new Store(null, "/") } = options;
    const nothing = () => undefined;
    super({
      store,
      server,
      token,
      url: () => socketUrl(server, typeof name === "function" ? name() : name, token),
      onChange: oncePerTask(options.onChange ?? nothing),
      onLive: options.onLive ?? nothing,
      onRenamed: options.onRenamed ?? nothing,
      onProblem: options.onProblem ?? nothing,
      onBadName: options.onBadName ?? nothing,
      onWelcome: options.onWelcome ?? nothing,
    });
    this.#history = new HistoryReader({
      ask: (command) => this.ask(command),
      onMessage: (message) => this.outbox.seen(message),
      onChange: this.owner.onChange,
    });
  }

  /** Connect now. A present connection is replaced, for example after a change of the name. */
  open() {
    this.connection.open();
  }

  /** Close the connection, and do not connect again before `open`. */
  close() {
    this.connection.stop(1000, "closed");
  }

  // Messages go through the outbox: they are sent as soon as there is a connection, in their order, and stored once.
  // Until a message arrives in `room.items`, it is in `outbox.of(room.name)`.

  /**
   * Publish a message.
   * @param {Room} room
   * @param {string} body
   * @param {{of?: number}} [relation] `of` is the number of the message that this one answers
   */
  publish(room, body, relation) {
    this.outbox.add(room.name, body, relation);
    this.deliver();
  }

  /**
   * Send a message of the outbox again that the server refused.
   * @param {string} key
   */
  resend(key) {
    this.outbox.retry(key);
    this.deliver();
  }

  /**
   * Remove a message from the outbox.
   * @param {string} key
   */
  forget(key) {
    this.outbox.remove(key);
    this.owner.onChange();
  }

  // Changes of messages are sent at once. They throw `Refused` if the server refuses them, and `ConnectionLost` without
  // a connection; the server may then have carried them out. The message in `room.items` changes with the delivery.

  /**
   * Replace the text of one of the user's messages.
   * @param {Room} room
   * @param {number} seq the number of the message
   * @param {string} body
   */
  async edit(room, seq, body) {
    await this.change(room, seq, "edit", body);
  }

  /**
   * Add a reaction of the user to a message.
   * @param {Room} room
   * @param {number} seq
   * @param {string} emoji one emoji, or a name such as `:ship:`
   */
  async react(room, seq, emoji) {
    await this.change(room, seq, "react", emoji);
  }

  /**
   * Remove a reaction of the user.
   * @param {Room} room
   * @param {number} seq
   * @param {string} emoji
   */
  async unreact(room, seq, emoji) {
    await this.change(room, seq, "unreact", emoji);
  }

  /**
   * Change a message.
   * @param {Room} room
   * @param {number} seq
   * @param {Exclude<Act, "redact">} act
   * @param {string} [body] the new text of an edit, the emoji of a reaction
   */
  async change(room, seq, act, body = "") {
    await this.connection.ask({ op: "publish", room: room.name, body, of: seq, act });
  }

  /**
   * Remove the text of a message for good: one of the user's own or, with the right to moderate, any.
   * @param {Room} room
   * @param {number} seq
   */
  async redact(room, seq) {
    await this.call("DELETE", `${pathOf(room.name)}/messages/${seq}`, { name: this.name || undefined });
  }

  /**
   * Show the others that the user is typing. May be called for every key.
   * @param {Room} room
   */
  typing(room) {
    if (performance.now() - this.#typedMs < TYPING_EVERY_MS) return;
    if (this.connection.send({ op: "typing", room: room.name })) this.#typedMs = performance.now();
  }

  // Reading moves the window of a room: `room.hasOlder`, `room.hasNewer`, `room.attached`.

  /**
   * Extend the window by older messages.
   * @param {Room} room
   */
  async loadOlder(room) {
    await this.#history.loadOlder(room);
  }

  /**
   * Extend the window by newer messages, after it was moved into the past.
   * @param {Room} room
   */
  async loadNewer(room) {
    await this.#history.loadNewer(room);
  }

  /**
   * Move the window to the end of the log, and let it follow new messages.
   * @param {Room} room
   */
  async showNewest(room) {
    await this.#history.showNewest(room);
  }

  /**
   * Move the window to a message, with the messages around it. Afterwards, `room.find(seq)` finds the message, unless it
   * is not kept any more.
   * @param {Room} room
   * @param {number} seq
   */
  async showAround(room, seq) {
    await this.#history.showAround(room, seq);
  }

  /**
   * Read the window of a room again if changes of its messages may have been missed (`room.isStale`).
   * @param {Room} room
   */
  async refresh(room) {
    await this.#history.refresh(room);
  }

  /**
   * Find a text in a room; return null without a connection. The newest matches come first, in the order of the log.
   * @param {Room} room
   * @param {string} text
   * @param {number} [before] the oldest match so far, to find older ones
   */
  async search(room, text, before) {
    return this.#history.search(room, text, before);
  }

  /**
   * Find the messages of a room that are pinned now, in the order of the log.
   * @param {Room} room
   * @param {number} [before] the oldest message so far, to find older ones
   * @returns {Promise<import("./log_window.js").HistoryPage>}
   * @throws {import("./protocol.js").Refused}
   */
  async pinned(room, before) {
    const query = { pinned: "true", before, limit: FOUND };
    return this.call("GET", `${pathOf(room.name)}/messages`, { name: this.name || undefined, query });
  }

  /**
   * The user has read everything that the window of a room shows. For a verified name, the server moves its marker, and
   * the user's other browsers follow.
   * @param {Room} room
   */
  markRead(room) {
    room.markRead();
    if (this.verified) this.readState.mark(room);
  }

  /**
   * Find messages that mention the user, in all rooms that the user may read.
   * @param {string} [before] the cursor of the page before
   * @returns {Promise<Found>}
   * @throws {import("./protocol.js").Refused}
   */
  async mentions(before) {
    return this.call("GET", "mentions", { name: this.name || undefined, query: { before, limit: FOUND } });
  }

  /**
   * Find a text in all rooms that the user may read.
   * @param {string} text
   * @param {string} [before] the cursor of the page before
   * @returns {Promise<Found>}
   * @throws {import("./protocol.js").Refused}
   */
  async searchAll(text, before) {
    return this.call("GET", "search", { name: this.name || undefined, query: { q: text, before, limit: FOUND } });
  }
}

/**
 * Return a function that calls another one, once for all its calls until the running task ends.
 * @param {() => void} run
 */
function oncePerTask(run) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      run();
    });
  };
}

/**
 * Return the address of the server that this module comes from: it is in `static/` or a folder below.
 * @param {string} moduleUrl
 */
function serverOf(moduleUrl) {
  return moduleUrl.replace(/(static\/(\w+\/)?)?[^/]*$/, "");
}

/**
 * @param {string} server
 * @param {string} name
 * @param {string | undefined} token
 */
function socketUrl(server, name, token) {
  const url = new URL("ws", server);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = queryOf({ name: name || undefined, token });
  return url.href;
}
