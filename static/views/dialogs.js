/** The dialogs about who the user is: name, token, account, invite. Know no socket. */

import { find, make, setText } from "../dom.js";
import { checkSender, SENDER_RULE } from "../validation.js";
import { copyOnClick } from "./copy.js";

export class NameDialog {
  #dialog = find("#name-dialog", HTMLDialogElement);
  #box = find("#name-box", HTMLInputElement);
  #problem = find("#name-problem", HTMLElement);
  #signIn = find("#name-sign-in", HTMLButtonElement);
  #signOut = find("#name-sign-out", HTMLButtonElement);

  /** @param {{onName: (name: string) => void, onSignIn: () => void, onSignOut: () => Promise<string>}} on */
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
    this.#signIn.onclick = () => {
      this.#dialog.close("sign-in");
      on.onSignIn();
    };
    this.#signOut.onclick = async () => setText(this.#problem, await on.onSignOut());
    // A dialog that is closed without a name, by its button or Escape, selects the default name.
    this.#dialog.addEventListener("close", () => {
      if (!this.#box.dataset.previous && this.#dialog.returnValue !== "sign-in") on.onName("anonymous");
    });
  }

  /**
   * @param {string} name the present name, or empty on a first visit
   * @param {{canSignIn?: boolean, canSignOut?: boolean, problem?: string}} [options]
   */
  ask(name, { canSignIn = false, canSignOut = false, problem = "" } = {}) {
    if (this.#dialog.open) return;
    this.#box.value = name;
    this.#box.dataset.previous = name;
    const isFirst = name === "";
    setText(find("#name-title", HTMLElement), isFirst ? "Welcome" : "Choose a name");
    const what = isFirst ? "Here, people and programs talk in rooms. Choose a name: other" : "Other";
    setText(find("#name-text", HTMLElement), `${what} members of a room see it next to your messages.`);
    find("#name-cancel", HTMLButtonElement).textContent = isFirst ? "Stay anonymous" : "Cancel";
    this.#signIn.hidden = !canSignIn;
    this.#signOut.hidden = !canSignOut;
    this.#dialog.returnValue = "";
    setText(this.#problem, problem);
    this.#box.ariaInvalid = problem ? "true" : null;
    this.#dialog.showModal();
    this.#box.select();
  }
}

export class TokenDialog {
  #dialog = find("#token-dialog", HTMLDialogElement);
  #box = find("#token-box", HTMLInputElement);
  #reason = find("#token-reason", HTMLElement);
  #guest = find("#token-guest", HTMLButtonElement);

  /** @param {{onToken: (token: string) => Promise<string>, onGuest: () => Promise<void>}} on */
  constructor(on) {
    const form = find("#token-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#box.value.trim();
      const send = async () => {
        const problem = await on.onToken(token);
        if (problem) this.#box.select();
        return problem;
      };
      if (token) void submit(form, find("#token-problem", HTMLElement), send, () => this.#dialog.close());
    });
    this.#dialog.addEventListener("close", () => (this.#box.value = ""));
    find("#token-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
    this.#guest.onclick = () => {
      this.#dialog.close();
      void on.onGuest();
    };
  }

  /**
   * @param {string} reason why a token is needed; empty if the user chose to sign in
   * @param {boolean} wasSignedIn whether the session of a token has ended
   */
  ask(reason, wasSignedIn) {
    setText(this.#reason, reason);
    this.#guest.hidden = !(reason && wasSignedIn);
    if (this.#dialog.open) return;
    setText(find("#token-problem", HTMLElement), "");
    this.#dialog.showModal();
  }
}

export class AccountDialog {
  #dialog = find("#account-dialog", HTMLDialogElement);
  #problem = find("#account-problem", HTMLElement);

  /** @param {{onSignOut: () => Promise<string>}} on */
  constructor(on) {
    find("#account-close", HTMLButtonElement).onclick = () => this.#dialog.close();
    find("#account-sign-out", HTMLButtonElement).onclick = async () => setText(this.#problem, await on.onSignOut());
  }

  /** @param {import("../account.js").Me} me */
  show(me) {
    setText(find("#account-name", HTMLElement), me.name);
    find("#account-grants", HTMLElement).replaceChildren(...me.grants.map(grantElement));
    find("#account-none", HTMLElement).hidden = me.grants.length > 0;
    find("#account-sign-out", HTMLElement).hidden = me.token === undefined;
    setText(this.#problem, "");
    this.#dialog.showModal();
  }
}

const RIGHTS = { read: "read", write: "write", moderate: "moderate", admin: "administer" };

/** @param {import("../account.js").Grant} grant */
function grantElement({ rooms, rights }) {
  const names = rights.map((right) => RIGHTS[/** @type {keyof typeof RIGHTS} */ (right)] ?? right);
  return make("li", "", make("b", "", names.join(", ")), " in ", make("bdi", "", placeOf(rooms)));
}

/** @param {string} rooms the pattern of a grant */
function placeOf(rooms) {
  if (rooms === "*") return "all rooms";
  return rooms.endsWith("*") ? `rooms that begin with ${rooms.slice(0, -1)}` : `#${rooms}`;
}

export class InviteDialog {
  #dialog = find("#invite-dialog", HTMLDialogElement);
  #box = find("#invite-name", HTMLInputElement);
  #problem = find("#invite-problem", HTMLElement);
  #isDone = false;

  /** @param {{onName: (name: string) => Promise<string>, onCancel: () => void, onSignIn: () => void}} on */
  constructor(on) {
    const form = find("#invite-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = checkSender(this.#box.value);
      if (!name) return setText(this.#problem, SENDER_RULE);
      void submit(form, this.#problem, () => on.onName(name), () => this.close());
    });
    find("#invite-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
    find("#invite-sign-in", HTMLButtonElement).onclick = on.onSignIn;
    this.#dialog.addEventListener("close", () => this.#isDone || on.onCancel());
  }

  get isOpen() {
    return this.#dialog.open;
  }

  close() {
    this.#isDone = true;
    this.#dialog.close();
  }

  /** @param {string} name */
  ask(name) {
    this.#isDone = false;
    this.#box.value = name === "anonymous" ? "" : name;
    setText(this.#problem, "");
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#box.select();
  }
}

/** Asks whether a link may sign the user in as somebody else. */
export class LinkDialog {
  #dialog = find("#link-dialog", HTMLDialogElement);
  #token = "";

  /** @param {{onAccept: (token: string) => Promise<string>, onCancel: () => void}} on */
  constructor(on) {
    const form = find("#link-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void submit(form, find("#link-problem", HTMLElement), () => on.onAccept(this.#token));
    });
    find("#link-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
    this.#dialog.addEventListener("close", () => {
      this.#token = "";
      on.onCancel();
    });
  }

  /**
   * @param {string} present the name of the user
   * @param {string} other the name that the link gives
   * @param {string} token
   */
  ask(present, other, token) {
    this.#token = token;
    setText(find("#link-present", HTMLElement), present);
    setText(find("#link-other", HTMLElement), other);
    setText(find("#link-problem", HTMLElement), "");
    this.#dialog.showModal();
    find("#link-cancel", HTMLButtonElement).focus();
  }
}

/** Shows a new token once. It is removed from the page when the dialog closes. */
export class SecretDialog {
  #dialog = find("#secret-dialog", HTMLDialogElement);
  #box = find("#secret-box", HTMLInputElement);

  constructor() {
    find("#secret-close", HTMLButtonElement).onclick = () => this.#dialog.close();
    copyOnClick(find("#secret-copy", HTMLButtonElement), () => this.#box.value);
    this.#box.onfocus = () => this.#box.select();
    this.#dialog.addEventListener("close", () => (this.#box.value = ""));
  }

  /**
   * @param {string} name
   * @param {string} secret
   */
  show(name, secret) {
    setText(find("#secret-name", HTMLElement), name);
    this.#box.value = secret;
    this.#dialog.showModal();
    find("#secret-close", HTMLButtonElement).focus();
  }
}

/**
 * Send a form once: disable its main button until the answer arrives, and show the problem, if there is one.
 * @param {HTMLFormElement} form
 * @param {HTMLElement} place
 * @param {() => Promise<string>} send returns the problem, or an empty string
 * @param {() => void} [onDone] called if there is no problem
 */
export async function submit(form, place, send, onDone) {
  const button = find("button[type=submit]", HTMLButtonElement, form);
  if (button.disabled) return;
  const box = form.querySelector("input");
  button.disabled = true;
  setText(place, "");
  try {
    const problem = await send();
    setText(place, problem);
    if (box) box.ariaInvalid = problem ? "true" : null;
    if (!problem) onDone?.();
  } finally {
    button.disabled = false;
  }
}
