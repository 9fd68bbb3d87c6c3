/** The button that switches between the system's, the light and the dark appearance. */

import { find } from "../dom.js";

const NEXT = { system: "light", light: "dark", dark: "system" };

export class ThemeView {
  #button = find("#theme", HTMLButtonElement);

  /** @param {import("../storage.js").Store} store */
  constructor(store) {
    this.#button.onclick = () => {
      const next = NEXT[this.#chosen];
      if (next === "system") store.delete("theme");
      else store.set("theme", next);
      document.documentElement.dataset.theme = next;
      this.#label();
    };
    this.#label();
  }

  get #chosen() {
    const { theme } = document.documentElement.dataset;
    return theme === "light" || theme === "dark" ? theme : "system";
  }

  #label() {
    const label = `Appearance: ${this.#chosen === "system" ? "system" : this.#chosen}`;
    this.#button.ariaLabel = label;
    this.#button.title = label;
    this.#button.dataset.chosen = this.#chosen;
  }
}
