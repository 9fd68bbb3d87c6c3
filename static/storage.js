/** Small texts that outlive the page; where the browser stores nothing, or no more, they live as long as the page. */

const PREFIX = "chatkit.";
const SHARED = new Set(["name", "theme"]); // a person's, whichever of an origin's chats is open; all else is one chat's

export class Store {
  /**
   * @param {Storage | null} storage
   * @param {string} folder where the page is: the chats below other paths of this origin have rooms of their own
   */
  constructor(storage, folder) {
    this.storage = storage;
    this.prefix = folder === "/" ? PREFIX : `chatkit:${folder}:`;
    /** @type {Map<string, string>} what the browser would not take */
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
      // what cannot be reached was not stored either
    }
  }

  /**
   * The rest of every name that begins with `prefix`.
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
   * Hear of what other tabs write: `name`, and its new text or null.
   * @param {(name: string, text: string | null) => void} heard
   */
  onChange(heard) {
    window.addEventListener("storage", ({ key, newValue }) => {
      if (key?.startsWith(this.prefix)) heard(key.slice(this.prefix.length), newValue);
    });
  }

  /** @param {string} name */
  #key(name) {
    return (SHARED.has(name) ? PREFIX : this.prefix) + name;
  }
}

/** The browser's own storage, or none where it is forbidden. */
export function openStore() {
  const folder = new URL(".", document.baseURI).pathname;
  try {
    return new Store(window.localStorage, folder);
  } catch {
    return new Store(null, folder);
  }
}
