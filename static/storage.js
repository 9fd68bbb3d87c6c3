/**
 * Stores small texts in the browser. If the browser stores nothing, or its storage is full, they last as long as the
 * page.
 */

const PREFIX = "chatkit.";
const SHARED = new Set(["name", "theme"]); // shared by all chats of an origin; other items belong to one chat

export class Store {
  #isClosed = false;

  /**
   * @param {Storage | null} storage
   * @param {string} folder the path of the page: chats at other paths of this origin have separate rooms
   */
  constructor(storage, folder) {
    this.storage = storage;
    this.prefix = folder === "/" ? PREFIX : `chatkit:${folder}:`;
    /** @type {Map<string, string>} items that the browser refused */
    this.fallback = new Map();
  }

  /** @param {string} name */
  get(name) {
    const kept = this.fallback.get(name);
    if (kept !== undefined) return kept;
    try {
      return this.storage?.getItem(this.#key(name)) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  set(name, text) {
    if (this.#isClosed) return;
    try {
      if (!this.storage) throw new Error("no storage");
      this.storage.setItem(this.#key(name), text);
      this.fallback.delete(name);
    } catch {
      this.fallback.set(name, text);
    }
  }

  /** @param {string} name */
  delete(name) {
    this.fallback.delete(name);
    try {
      this.storage?.removeItem(this.#key(name));
    } catch {
      // without access to the storage, nothing was stored
    }
  }

  /** Delete all that was stored for this chat, and the name. Nothing is stored after that. */
  close() {
    for (const name of ["name", ...this.list("")]) if (name !== "theme") this.delete(name);
    this.#isClosed = true;
  }

  /**
   * Return the names that begin with `prefix`, without it.
   * @param {string} prefix
   * @returns {string[]}
   */
  list(prefix) {
    const names = new Set(this.fallback.keys());
    try {
      for (const name of Object.keys(this.storage ?? {})) {
        if (name.startsWith(this.prefix)) names.add(name.slice(this.prefix.length));
      }
    } catch {
      // as above
    }
    return [...names].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  }

  /**
   * Call `onWrite` with the name and the new text (or null) of each item that another tab changes.
   * @param {(name: string, text: string | null) => void} onWrite
   */
  onChange(onWrite) {
    if (!this.storage) return;
    window.addEventListener("storage", ({ key, newValue }) => {
      if (key?.startsWith(this.prefix)) onWrite(key.slice(this.prefix.length), newValue);
    });
  }

  /** @param {string} name */
  #key(name) {
    return (SHARED.has(name) ? PREFIX : this.prefix) + name;
  }
}

/** Open the browser's storage, or a temporary one if access is denied. */
export function openStore() {
  const folder = new URL(".", document.baseURI).pathname;
  try {
    return new Store(window.localStorage, folder);
  } catch {
    return new Store(null, folder);
  }
}
