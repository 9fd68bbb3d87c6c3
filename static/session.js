/**
 * The conversation with a server: joins and resumes rooms, and applies events to them. Holds the connection, the rooms
 * and the outbox; knows no DOM. `onChange` reports that the state changed; the owner then reads it.
 */

import { call } from "./api.js";
import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { Outbox } from "./outbox.js";
import { ConnectionLost, Refused } from "./protocol.js";
import { ReadState } from "./read_state.js";
import { isChange } from "./relations.js";
import { Rooms } from "./rooms.js";

/**
 * @typedef {import("./protocol.js").Event} Event
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 *
 * @typedef {object} Owner
 * @property {import("./storage.js").Store} store
 * @property {() => string} url called for each attempt to connect
 * @property {string} server the address of the server's HTTP calls
 * @property {string | undefined} token
 * @property {() => void} onChange
 * @property {(room: Room, message: Message) => void} onLive a message that is newer than the state at joining
 * @property {(room: Room, oldName: string, name: string) => void} onRenamed
 * @property {(sentence: string) => void} onProblem
 * @property {() => void} onBadName the server refused the name
 * @property {(event: import("./protocol.js").WelcomeEvent) => void} onWelcome
 */

const FIRST_PAGE = 60;
const FOUND = 50;
const FIND_AFTER_MS = 300; // rooms are looked for after a pause in typing
/** The codes of errors after which the server closes the connection, with the same reason. */
const CLOSING = new Set(["banned", "unauthorized"]);
const MAX_NAMED = 200; // the protocol lists at most this many members by name

export class Session {
  /** The name that the server confirmed; empty before that. */
  name = "";
  /** Whether that name is bound to a token. */
  verified = false;
  maxBody = 65_536;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #finding;

  /** @param {Owner} owner */
  constructor(owner) {
    this.owner = owner;
    this.rooms = new Rooms(owner.store);
    this.outbox = new Outbox(owner.store);
    this.connection = new Connection({
      url: owner.url,
      onState: (state) => this.#onState(state),
      onEvent: (event) => this.#onEvent(event),
      whyRefused: () => this.refreshRooms(),
    });
    /** The server's sentence about a store that it cannot reach, or an empty string. */
    this.storeProblem = "";
    this.readState = new ReadState({
      ask: (command) => this.connection.ask(command),
      rooms: this.rooms,
      onChange: owner.onChange,
    });
    this.delivery = new Delivery({
      outbox: this.outbox,
      ask: (command) => this.connection.ask(command),
      seenSeq: (room) => this.rooms.get(room)?.last ?? Infinity,
      onChange: owner.onChange,
    });
    owner.store.onChange((name, text) => {
      this.outbox.onStorageChange(name, text);
      owner.onChange();
    });
  }

  /** @param {string} name */
  join(name) {
    const known = this.rooms.get(name);
    const room = known ?? this.rooms.join(name);
    if (!known && this.connection.isOnline) this.#join(room);
    room.newAfter = room.unread > 0 ? room.read : 0;
    this.owner.onChange();
    return room;
  }

  /** @param {string} name */
  leave(name) {
    this.rooms.leave(name);
    this.connection.send({ op: "leave", room: name });
    void this.refreshRooms();
  }

  /**
   * Try again to join a room that the server refused.
   * @param {Room} room
   */
  retry(room) {
    if (this.connection.isOnline) this.#join(room);
    else this.connection.open();
  }

  /** Check whether the connection is alive. */
  async probe() {
    if (this.connection.isOnline) await this.connection.ping();
  }

  /** Read the list of rooms; return the reason if the server does not allow it, else null. */
  async refreshRooms() {
    try {
      const { rooms, complete = true } = await this.call("GET", "rooms");
      Object.assign(this.rooms, { listed: rooms, isComplete: complete });
      this.owner.onChange();
      if (this.verified && this.connection.isOnline) await this.readState.load(); // for rooms that are not joined
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "unauthorized") return { code: 4401, reason: error.message };
      if (error.code === "forbidden" || error.code === "banned") return { code: 4403, reason: error.message };
      // The server cannot be reached; the state of the connection shows this.
    }
    return null;
  }

  /**
   * Find the rooms whose names begin with a text, if the list of rooms is not complete.
   * @param {string} prefix
   */
  findRooms(prefix) {
    clearTimeout(this.#finding);
    this.rooms.found = [];
    if (prefix && !this.rooms.isComplete) this.#finding = setTimeout(() => this.#findRooms(prefix), FIND_AFTER_MS);
    this.owner.onChange();
  }

  /** @param {string} prefix */
  async #findRooms(prefix) {
    try {
      const { rooms } = await this.call("GET", "rooms", { query: { prefix, limit: FOUND } });
      this.rooms.found = rooms;
      this.owner.onChange();
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // the next letter tries again
    }
  }

  /**
   * Make an HTTP call to the server.
   * @param {string} method
   * @param {string} path
   * @param {import("./api.js").CallOptions} [options]
   */
  call(method, path, options) {
    const { server, token } = this.owner;
    return call(method, path, { ...options, server, token });
  }

  /** @param {import("./connection.js").ConnectionState} state */
  #onState(state) {
    if (state.kind !== "online") {
      for (const room of this.rooms.joined.values()) room.onConnectionLost();
      this.readState.onConnectionLost();
    }
    this.owner.onChange();
  }

  /** @param {Event} event */
  #onEvent(event) {
    if (event.type === "welcome") this.#onWelcome(event);
    else if (event.type === "error") this.#onError(event);
    else if (event.type === "restored") this.#onRestored();
    else if (event.type === "pong" || event.type === "unread") return;
    else this.#onRoomEvent(event);
    this.owner.onChange();
  }

  /** @param {import("./protocol.js").WelcomeEvent} event */
  #onWelcome(event) {
    this.name = event.name;
    this.verified = event.verified ?? false;
    this.owner.onWelcome(event);
    this.maxBody = event.limits.body;
    this.storeProblem = "";
    if (this.verified) void this.readState.load(); // before the rooms are joined, and so before they are read
    for (const room of this.rooms.joined.values()) this.#join(room);
    this.deliver();
    void this.refreshRooms();
  }

  /** @param {import("./protocol.js").ErrorEvent} event */
  #onError(event) {
    if (event.code === "bad-sender") this.owner.onBadName();
    else if (event.ref === undefined && event.code === "unavailable") this.storeProblem = event.message;
    else if (event.ref === undefined && !CLOSING.has(event.code)) this.owner.onProblem(event.message);
  }

  #onRestored() {
    this.storeProblem = "";
    this.deliver();
  }

  /** @param {Exclude<Event, {type: "welcome" | "error" | "restored" | "pong" | "unread"}>} event */
  #onRoomEvent(event) {
    const room = this.rooms.get(event.room);
    if (!room) return;
    switch (event.type) {
      case "joined":
        return room.onJoined(event);
      case "message":
        return this.#onMessage(room, event);
      case "gap":
        return this.#onGap(room, event);
      case "left":
        if (event.renamed_to !== undefined) return this.#followRenamed(room, event.renamed_to);
        return event.reason ? room.onRefused(event.reason, event.message ?? "", { wasInside: true }) : undefined;
      case "room":
        return room.onSettings(event);
      case "redacted":
        return room.onRedacted(event.seq);
      case "marked":
        return this.readState.onMarked(room, event.seq);
      case "presence":
        return this.#onPresence(room, event);
      case "members":
        return room.onMembers(event);
      case "typing":
        return event.sender === this.name ? undefined : room.onTyping(event.sender, performance.now());
      default:
        return undefined; // answers are returned by `ask`
    }
  }

  /**
   * Continue to read a room at its new name, from the same cursor, and send its messages there.
   * @param {Room} room
   * @param {string} name
   */
  #followRenamed(room, name) {
    const oldName = room.name;
    room.onConnectionLost();
    this.outbox.rename(oldName, name);
    if (this.rooms.rename(room, name)) this.#join(room);
    this.owner.onRenamed(room, oldName, name);
    this.deliver();
  }

  /**
   * @param {Room} room
   * @param {Message} message
   */
  #onMessage(room, message) {
    const isNew = message.seq > room.head;
    if (!room.onMessage(message, this.name)) return;
    this.outbox.seen(message);
    if (isNew && !isChange(message)) this.owner.onLive(room, message);
  }

  /**
   * @param {Room} room
   * @param {import("./protocol.js").GapEvent} event
   */
  #onGap(room, event) {
    room.onGap(event);
    if (!room.cursor) this.#join(room);
  }

  /**
   * @param {Room} room
   * @param {import("./protocol.js").PresenceEvent} event
   */
  #onPresence(room, event) {
    room.onPresence(event);
    // A large room reports only its count: request the names once the count is small enough.
    if (room.members.size !== room.count && room.count <= MAX_NAMED) void this.ask({ op: "members", room: room.name });
  }

  /** @param {Room} room */
  #join(room) {
    const from = room.cursor === undefined ? { history: FIRST_PAGE } : { after: room.cursor };
    this.connection.ask({ op: "join", room: room.name, ...from }).catch((error) => this.#onJoinRefused(room, error));
  }

  /**
   * @param {Room} room
   * @param {unknown} error
   */
  #onJoinRefused(room, error) {
    if (!(error instanceof Refused)) return; // the connection was lost: all rooms are joined again after reconnecting
    if (error.renamedTo !== undefined && this.rooms.get(room.name) === room) this.#followRenamed(room, error.renamedTo);
    else if (error.retryAfterS !== undefined) setTimeout(() => this.#retryJoin(room), error.retryAfterS * 1000);
    else room.onRefused(error.code, error.message, { wasInside: room.refusal?.wasInside ?? false });
    this.owner.onChange();
  }

  /** @param {Room} room */
  #retryJoin(room) {
    const isWanted = this.rooms.get(room.name) === room && !room.joined;
    if (isWanted && this.connection.isOnline) this.#join(room);
  }

  /** Send what is in the outbox, if there is a connection. */
  deliver() {
    if (this.connection.isOnline) this.delivery.run();
    this.owner.onChange();
  }

  /**
   * Send a command; return null if it is refused, which `onProblem` reports, or if the connection is lost.
   * @param {import("./protocol.js").Command} command
   */
  async ask(command) {
    try {
      return await this.connection.ask(command);
    } catch (error) {
      if (error instanceof Refused) this.owner.onProblem(error.message);
      else if (!(error instanceof ConnectionLost)) throw error;
      return null;
    }
  }
}
