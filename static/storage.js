/** Small texts that outlive the page; where the browser stores nothing, or no more, they live as long as the page. */

const PREFIX = "chatkit.";

export class Store {
  /** @param {Storage | null} storage */
  constructor(storage) {
    this.storage = storage;
    /** @type {Map<string, string>} what the browser would not take */
    this.fallback = new Map();
  }

  /** @param {string} name */
  get(name) {
    const kept = this.fallback.get(name);
    if (kept !== undefined) return kept;
    try {
      return this.storage?.getItem(PREFIX + name) ?? null;
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
      this.storage.setItem(PREFIX + name, text);
      this.fallback.delete(name);
    } catch {
      this.fallback.set(name, text);
    }
  }

  /** @param {string} name */
  delete(name) {
    this.fallback.delete(name);
    try {
      this.storage?.removeItem(PREFIX + name);
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
        if (name.startsWith(PREFIX)) names.add(name.slice(PREFIX.length));
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
      if (key?.startsWith(PREFIX)) heard(key.slice(PREFIX.length), newValue);
    });
  }
}

/** The browser's own storage, or none where it is forbidden. */
export function openStore() {
  try {
    return new Store(window.localStorage);
  } catch {
    return new Store(null);
  }
}
