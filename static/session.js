/**
 * The page's conversation with a server: joins and resumes rooms, applies events, sends messages. Holds the connection,
 * the rooms and the outbox; knows no DOM. `onChange` reports that the state changed; the owner then reads it.
 */

import { call } from "./api.js";
import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { Outbox } from "./outbox.js";
import { ConnectionLost, Refused } from "./protocol.js";
import { isChange } from "./relations.js";
import { WINDOW } from "./room.js";
import { Rooms } from "./rooms.js";

/**
 * @typedef {import("./protocol.js").Event} Event
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 */

const FIRST_PAGE = 60;
const PAGE = 100;
const FOUND = 50;
const AFTER_FAILURE_MS = 2_000; // a refused page of history is not requested again immediately
const MAX_NAMED = 200; // the protocol lists at most this many members by name
const TYPING_EVERY_MS = 3_000;

export class Session {
  /** The name that the server confirmed; empty before that. */
  name = "";
  /** Whether that name is bound to a token. */
  verified = false;
  maxBody = 65_536;
  #typedMs = 0;

  /**
   * @param {object} owner
   * @param {import("./storage.js").Store} owner.store
   * @param {() => string} owner.url
   * @param {() => void} owner.onChange
   * @param {(room: Room, message: Message) => void} owner.onLive a message that is newer than the state at joining
   * @param {(room: Room, oldName: string, name: string) => void} owner.onRenamed
   * @param {(sentence: string) => void} owner.onProblem
   * @param {() => void} owner.onBadName the server refused the name
   * @param {(event: import("./protocol.js").WelcomeEvent) => void} owner.onWelcome
   */
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
   * @param {Room} room
   * @param {string} body
   * @param {{of?: number}} [relation] `of` is the seq of the message that this one answers
   */
  publish(room, body, relation) {
    this.outbox.add(room.name, body, relation);
    this.#deliver();
  }

  /** @param {string} key */
  resend(key) {
    this.outbox.retry(key);
    this.#deliver();
  }

  /** @param {string} key */
  forget(key) {
    this.outbox.remove(key);
    this.owner.onChange();
  }

  /** @param {Room} room */
  typing(room) {
    if (Date.now() - this.#typedMs < TYPING_EVERY_MS) return;
    if (this.connection.send({ op: "typing", room: room.name })) this.#typedMs = Date.now();
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

  /** @param {Room} room */
  async loadOlder(room) {
    if (!room.hasOlder) return;
    const before = room.oldest?.message.seq ?? room.last + 1;
    await this.#load(room, "older", { before }, (page) => room.prepend(page));
  }

  /** @param {Room} room */
  async loadNewer(room) {
    const newest = room.newest?.message.seq ?? 0;
    await this.#load(room, "newer", { after: newest }, (page) => room.append(page));
  }

  /** @param {Room} room */
  async showNewest(room) {
    room.following = true;
    this.owner.onChange();
    if (room.attached) return;
    const page = await this.#page(room, { limit: PAGE });
    if (page) room.replace([page], { isAtEnd: true });
    this.owner.onChange();
  }

  /**
   * Read the messages in the window again, because changes of them were missed.
   * @param {Room} room
   */
  async refresh(room) {
    const first = room.firstShown;
    if (!room.isStale || !room.joined || first === undefined) return;
    room.isStale = false;
    const { generation } = room;
    const page = await this.#page(room, { after: first - 1, limit: WINDOW });
    if (!page || room.generation !== generation) return;
    room.refresh(page);
    this.owner.onChange();
  }

  /**
   * Show the part of the log around a message.
   * @param {Room} room
   * @param {number} seq
   */
  async showAround(room, seq) {
    if (room.find(seq)) return;
    const [before, after] = await Promise.all([
      this.#page(room, { before: seq + 1, limit: FOUND }),
      this.#page(room, { after: seq, limit: FOUND }),
    ]);
    if (!before || !after) return;
    room.following = false;
    room.replace([before, after], { isAtEnd: after.complete });
    this.owner.onChange();
  }

  /**
   * @param {Room} room
   * @param {string} search
   * @param {number} [before]
   */
  async search(room, search, before) {
    return this.#page(room, { search, before, limit: FOUND });
  }

  /** Read the list of rooms; return the reason if the server does not allow it, else null. */
  async refreshRooms() {
    try {
      this.rooms.listed = (await call("GET", "rooms")).rooms;
      this.owner.onChange();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (error.code === "unauthorized") return { code: 4401, reason: error.message };
      if (error.code === "forbidden" || error.code === "banned") return { code: 4403, reason: error.message };
      // The server cannot be reached; the state of the connection shows this.
    }
    return null;
  }

  /** @param {import("./connection.js").ConnectionState} state */
  #onState(state) {
    if (state.kind !== "online") for (const room of this.rooms.joined.values()) room.onConnectionLost();
    this.owner.onChange();
  }

  /** @param {Event} event */
  #onEvent(event) {
    if (event.type === "welcome") this.#onWelcome(event);
    else if (event.type === "error") this.#onError(event);
    else if (event.type === "restored") this.#onRestored();
    else if (event.type === "pong") return;
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
    for (const room of this.rooms.joined.values()) this.#join(room);
    this.#deliver();
    void this.refreshRooms();
  }

  /** @param {import("./protocol.js").ErrorEvent} event */
  #onError(event) {
    if (event.code === "bad-sender") this.owner.onBadName();
    else if (event.ref === undefined && event.code === "unavailable") this.storeProblem = event.message;
    else if (event.ref === undefined) this.owner.onProblem(event.message);
  }

  #onRestored() {
    this.storeProblem = "";
    this.#deliver();
  }

  /** @param {Exclude<Event, {type: "welcome" | "error" | "restored" | "pong"}>} event */
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
      case "presence":
        return this.#onPresence(room, event);
      case "members":
        return room.onMembers(event);
      case "typing":
        return event.sender === this.name ? undefined : room.onTyping(event.sender, Date.now());
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
    this.#deliver();
  }

  /**
   * @param {Room} room
   * @param {Message} message
   */
  #onMessage(room, message) {
    const isNew = message.seq > room.head;
    if (!room.onMessage(message)) return;
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
    if (room.members.size !== room.count && room.count <= MAX_NAMED) void this.#ask({ op: "members", room: room.name });
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
    else if (error.retryAfterS !== undefined) window.setTimeout(() => this.#retryJoin(room), error.retryAfterS * 1000);
    else room.onRefused(error.code, error.message, { wasInside: room.refusal?.wasInside ?? false });
    this.owner.onChange();
  }

  /** @param {Room} room */
  #retryJoin(room) {
    const isWanted = this.rooms.get(room.name) === room && !room.joined;
    if (isWanted && this.connection.isOnline) this.#join(room);
  }

  #deliver() {
    if (this.connection.isOnline) this.delivery.run();
    this.owner.onChange();
  }

  /**
   * @param {Room} room
   * @param {"older" | "newer"} direction
   * @param {{before?: number, after?: number}} where
   * @param {(page: import("./room.js").HistoryPage) => void} apply
   */
  async #load(room, direction, where, apply) {
    if (room.loading || !room.joined) return;
    room.loading = direction;
    this.owner.onChange();
    const { windowVersion } = room;
    const page = await this.#page(room, { ...where, limit: PAGE });
    if (!page) await pause(AFTER_FAILURE_MS);
    room.loading = null;
    // If the window was replaced during the request, this page would leave a hole.
    if (page && room.windowVersion === windowVersion) apply(page);
    this.owner.onChange();
  }

  /**
   * @param {Room} room
   * @param {{before?: number, after?: number, limit?: number, search?: string}} where
   */
  async #page(room, where) {
    const answer = await this.#ask({ op: "history", room: room.name, ...where });
    if (answer?.type !== "history") return null;
    for (const message of answer.messages) this.outbox.seen(message);
    return answer;
  }

  /**
   * Send a command for the view; return null if it is refused or the connection is lost.
   * @param {import("./protocol.js").Command} command
   */
  async #ask(command) {
    try {
      return await this.connection.ask(command);
    } catch (error) {
      if (error instanceof Refused) this.owner.onProblem(error.message);
      else if (!(error instanceof ConnectionLost)) throw error;
      return null;
    }
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => window.setTimeout(done, ms));
}
