/**
 * Messages that the server has not acknowledged. Each one is an item in the browser's storage under its random message
 * key. Therefore tabs do not overwrite each other's messages, and a message that two tabs send is stored once. Knows no
 * socket and no DOM.
 *
 * @typedef {{key: string, room: string, body: string, time: string, of?: number, problem?: string}} Entry `of` is the
 *   seq of the message that it answers
 */

const PREFIX = "outbox.";

export class Outbox {
  /** @type {Map<string, Entry>} in the order in which they were written */
  #entries = new Map();
  /** @type {Map<string, number>} key to seq of acknowledged messages that the room has not shown yet */
  #stored = new Map();

  /** @param {import("./storage.js").Store} store */
  constructor(store) {
    this.store = store;
    const found = store.list(PREFIX).map((key) => readEntry(store.get(PREFIX + key)));
    for (const entry of found.filter((entry) => entry !== null).sort((a, b) => (a.time < b.time ? -1 : 1))) {
      this.#entries.set(entry.key, entry);
    }
  }

  /** Rooms with messages in the outbox. */
  get rooms() {
    return new Set([...this.#entries.values()].map((entry) => entry.room));
  }

  /** The number of messages that will be sent without action by the user. */
  get unsent() {
    return [...this.#entries.values()].filter((entry) => !entry.problem && !this.#stored.has(entry.key)).length;
  }

  /**
   * @param {string} room
   * @returns {Entry[]}
   */
  of(room) {
    return [...this.#entries.values()].filter((entry) => entry.room === room);
  }

  /**
   * The oldest message that can be sent. A message with a problem waits for the user.
   * @param {string} room
   */
  next(room) {
    return this.of(room).find((entry) => !entry.problem && !this.#stored.has(entry.key));
  }

  /** @param {string} key */
  get(key) {
    return this.#entries.get(key);
  }

  /** @param {string} key */
  isStored(key) {
    return this.#stored.has(key);
  }

  /**
   * @param {string} room
   * @param {string} body
   * @param {{of?: number}} [relation]
   */
  add(room, body, relation) {
    const entry = { key: newKey(), room, body, time: new Date().toISOString(), ...relation };
    this.#write(entry);
    return entry;
  }

  /**
   * Record that the server stored a message as `seq`. It stays in the outbox until the room shows it, so that the page
   * always displays it.
   * @param {string} key
   * @param {number} seq
   * @param {number} seenSeq the newest seq of the room that was received
   */
  stored(key, seq, seenSeq) {
    this.store.delete(PREFIX + key);
    if (seq <= seenSeq) this.remove(key);
    else if (this.#entries.has(key)) this.#stored.set(key, seq);
  }

  /**
   * Remove the messages that a received message makes obsolete.
   * @param {import("./protocol.js").Message} message
   */
  seen(message) {
    if (message.key !== undefined && this.#entries.get(message.key)?.room === message.room) this.remove(message.key);
    for (const [key, seq] of this.#stored) {
      if (seq <= message.seq && this.#entries.get(key)?.room === message.room) this.remove(key);
    }
  }

  /**
   * @param {string} key
   * @param {string} problem
   */
  refuse(key, problem) {
    const entry = this.#entries.get(key);
    if (entry) this.#write({ ...entry, problem });
  }

  /** @param {string} key */
  retry(key) {
    const entry = this.#entries.get(key);
    if (entry) this.#write({ ...entry, problem: undefined });
  }

  /** @param {string} key */
  remove(key) {
    this.#entries.delete(key);
    this.#stored.delete(key);
    this.store.delete(PREFIX + key);
  }

  /**
   * Address the messages of a renamed room to its new name. Their keys stay, so that each is stored once.
   * @param {string} room
   * @param {string} name
   */
  rename(room, name) {
    for (const entry of this.of(room)) {
      const renamed = { ...entry, room: name };
      this.#entries.set(entry.key, renamed);
      // A message that is stored, possibly by another tab, is not in the browser's storage any more.
      if (this.store.get(PREFIX + entry.key) !== null) this.store.set(PREFIX + entry.key, JSON.stringify(renamed));
    }
  }

  /**
   * Remove a message that another tab has sent or removed.
   * @param {string} name
   * @param {string | null} text
   */
  onStorageChange(name, text) {
    const key = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : "";
    if (text !== null || !this.#entries.has(key) || this.#stored.has(key)) return;
    this.#entries.delete(key);
  }

  /** @param {Entry} entry */
  #write(entry) {
    this.#entries.set(entry.key, entry);
    this.store.set(PREFIX + entry.key, JSON.stringify(entry));
  }
}

function newKey() {
  // crypto.randomUUID requires https or loopback; a server on a home network may have neither.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {string | null} text
 * @returns {Entry | null}
 */
function readEntry(text) {
  try {
    const entry = JSON.parse(text ?? "");
    const isComplete = [entry.key, entry.room, entry.body, entry.time].every((part) => typeof part === "string");
    return isComplete ? entry : null;
  } catch {
    return null;
  }
}
