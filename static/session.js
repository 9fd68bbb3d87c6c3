/**
 * What this page does with a server: joins rooms and resumes them, takes in what comes, sends what is written. Holds
 * the connection, the rooms and the outbox; knows no DOM. Its owner is told that something changed, and looks.
 */

import { Connection } from "./connection.js";
import { Delivery } from "./delivery.js";
import { Outbox } from "./outbox.js";
import { LinkLost, Refused } from "./protocol.js";
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
const AFTER_FAILURE_MS = 2_000; // a page of history that was refused is not asked for again in the next frame
const MAX_NAMED = 200; // members that the protocol lists by name
const TYPING_EVERY_MS = 3_000;

export class Session {
  /** The name the server knows this page by; empty until it said so. */
  name = "";
  maxBody = 65_536;
  #typedMs = 0;

  /**
   * @param {object} owner
   * @param {import("./storage.js").Store} owner.store
   * @param {() => string} owner.url
   * @param {() => void} owner.onChange
   * @param {(room: Room, message: Message) => void} owner.onLive a message that nobody has seen yet
   * @param {(sentence: string) => void} owner.onProblem
   * @param {() => void} owner.onBadName the server does not take this page's name
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
    /** What the server said of a store that it cannot reach; empty while all is well. */
    this.storeAway = "";
    this.delivery = new Delivery({
      outbox: this.outbox,
      ask: (command) => this.connection.ask(command),
      seenSeq: (room) => this.rooms.get(room)?.last ?? Infinity,
      onChange: owner.onChange,
    });
    owner.store.onChange((name, text) => {
      this.outbox.heard(name, text);
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
   */
  publish(room, body) {
    this.outbox.add(room.name, body);
    this.#deliver();
  }

  /** @param {string} key */
  retry(key) {
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

  /** Find out whether the link is dead. */
  async probe() {
    if (this.connection.isOnline) await this.connection.ping();
  }

  /** @param {Room} room */
  async loadOlder(room) {
    const oldest = room.oldest;
    if (!oldest || !room.hasOlder) return;
    const before = oldest.message.seq;
    await this.#load(room, "older", { before }, (page) => room.prepend(page.messages, page.complete));
  }

  /** @param {Room} room */
  async loadNewer(room) {
    const newest = room.newest?.message.seq ?? 0;
    await this.#load(room, "newer", { after: newest }, (page) => room.append(page.messages, page.complete));
  }

  /** @param {Room} room */
  async showNewest(room) {
    room.following = true;
    this.owner.onChange();
    if (room.attached) return;
    const page = await this.#page(room, { limit: PAGE });
    if (page) room.replace(page.messages);
    this.owner.onChange();
  }

  /**
   * Learn what was taken away while there was no link: on return, only what is new is delivered.
   * @param {Room} room
   */
  async refresh(room) {
    const first = room.firstShown;
    if (!room.isStale || !room.joined || first === undefined) return;
    room.isStale = false;
    const { life } = room;
    const page = await this.#page(room, { after: first - 1, limit: WINDOW });
    if (!page || room.life !== life) return;
    for (const { seq } of page.messages.filter(({ redacted }) => redacted)) room.onRedacted(seq);
    this.owner.onChange();
  }

  /**
   * Show the stretch of the log around a message.
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
    room.replace([...before.messages, ...after.messages]);
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

  /** Read the list of rooms; says why if this page may not. */
  async refreshRooms() {
    try {
      const answer = await fetch("rooms", { headers: { Accept: "application/json" }, cache: "no-store" });
      if (answer.status === 401) return { code: 4401, reason: "no valid token" };
      if (answer.status === 403) return { code: 4403, reason: "not allowed" };
      if (answer.ok) this.rooms.listed = (await answer.json()).rooms;
      this.owner.onChange();
    } catch {
      // The server is away: the connection says so already.
    }
    return null;
  }

  /** @param {import("./connection.js").LinkState} state */
  #onState(state) {
    if (state.kind !== "online") for (const room of this.rooms.joined.values()) room.onLinkLost();
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
    this.maxBody = event.limits.body;
    this.storeAway = "";
    for (const room of this.rooms.joined.values()) this.#join(room);
    this.#deliver();
    void this.refreshRooms();
  }

  /** @param {import("./protocol.js").ErrorEvent} event */
  #onError(event) {
    if (event.code === "bad-sender") this.owner.onBadName();
    else if (event.ref === undefined && event.code === "unavailable") this.storeAway = event.message;
    else if (event.ref === undefined) this.owner.onProblem(event.message);
  }

  #onRestored() {
    this.storeAway = "";
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
      case "redacted":
        return room.onRedacted(event.seq);
      case "presence":
        return this.#onPresence(room, event);
      case "members":
        return room.onMembers(event);
      case "typing":
        return event.sender === this.name ? undefined : room.onTyping(event.sender, Date.now());
      default:
        return undefined; // answers: whoever asked has them
    }
  }

  /**
   * @param {Room} room
   * @param {Message} message
   */
  #onMessage(room, message) {
    const isNews = message.seq > room.head;
    if (!room.onMessage(message)) return;
    this.outbox.seen(message);
    if (isNews) this.owner.onLive(room, message);
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
    // A crowd came and went by count alone: once it is small enough to be named, ask for the names.
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
    if (!(error instanceof Refused)) return; // the link went: every room is joined again on its return
    room.problem = error.message;
    if (error.retryAfterS !== undefined) window.setTimeout(() => this.#joinAgain(room), error.retryAfterS * 1000);
    this.owner.onChange();
  }

  /** @param {Room} room */
  #joinAgain(room) {
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
   * @param {(page: {messages: Message[], complete: boolean}) => void} take
   */
  async #load(room, direction, where, take) {
    if (room.loading || !room.joined) return;
    room.loading = direction;
    this.owner.onChange();
    const { stretch } = room;
    const page = await this.#page(room, { ...where, limit: PAGE });
    if (!page) await pause(AFTER_FAILURE_MS);
    room.loading = null;
    // Meanwhile the reader may have gone to another stretch of the log: there, this page would leave a hole.
    if (page && room.stretch === stretch) take(page);
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
   * Ask what a reader wants to see; null where it is not to be had now.
   * @param {import("./protocol.js").Command} command
   */
  async #ask(command) {
    try {
      return await this.connection.ask(command);
    } catch (error) {
      if (error instanceof Refused) this.owner.onProblem(error.message);
      else if (!(error instanceof LinkLost)) throw error;
      return null;
    }
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => window.setTimeout(done, ms));
}
