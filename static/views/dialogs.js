/** The dialogs for the name and for the token. Know no socket. */

import { find, setText } from "../dom.js";
import { checkSender, SENDER_RULE } from "../validation.js";

export class NameDialog {
  #dialog = find("#name-dialog", HTMLDialogElement);
  #box = find("#name-box", HTMLInputElement);
  #problem = find("#name-problem", HTMLElement);

  /** @param {{onName: (name: string) => void}} on */
  constructor(on) {
    find("#name-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const name = checkSender(this.#box.value);
      setText(this.#problem, name ? "" : SENDER_RULE);
      this.#box.ariaInvalid = name ? null : "true";
      if (!name) return;
      this.#box.dataset.previous = name;
      this.#dialog.close();
      on.onName(name);
    });
    find("#name-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
    // A dialog that is closed without a name, by its button or Escape, selects the default name.
    this.#dialog.addEventListener("close", () => !this.#box.dataset.previous && on.onName("anonymous"));
  }

  /** @param {string} name the present name, or empty on a first visit */
  ask(name) {
    if (this.#dialog.open) return;
    this.#box.value = name;
    this.#box.dataset.previous = name;
    find("#name-cancel", HTMLButtonElement).textContent = name ? "Cancel" : "Stay anonymous";
    setText(this.#problem, "");
    this.#dialog.showModal();
    this.#box.select();
  }
}

export class TokenDialog {
  #dialog = find("#token-dialog", HTMLDialogElement);
  #box = find("#token-box", HTMLInputElement);

  /** @param {{onToken: (token: string) => void}} on */
  constructor(on) {
    find("#token-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#box.value.trim();
      if (token) on.onToken(token);
    });
  }

  /** @param {string} reason */
  ask(reason) {
    setText(find("#token-reason", HTMLElement), reason);
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}
