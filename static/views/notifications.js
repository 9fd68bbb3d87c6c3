/** The dialog in which the user chooses what a room announces, and the offer to turn notifications on. */

import { find, setText } from "../dom.js";

/** @typedef {import("../notifications.js").Notifications} Notifications */

/** @type {Record<string, string>} */
const STATES = {
  default: "Notifications are off in this browser.",
  denied: "This browser blocks the notifications of this page. Allow them in its settings for this site.",
  granted: "",
  unsupported: "This browser has no notifications for pages without https.",
};

export class NotificationsView {
  #dialog = find("#notify-dialog", HTMLDialogElement);
  #form = find("#notify-form", HTMLFormElement);
  #offer = find("#notify-offer", HTMLElement);
  #room = "";

  /** @param {Notifications} notifications */
  constructor(notifications) {
    this.notifications = notifications;
    this.#form.addEventListener("change", () => this.#keep());
    find("#notify-close", HTMLButtonElement).onclick = () => this.#dialog.close();
    for (const id of ["notify-allow", "notify-accept"]) {
      find(`#${id}`, HTMLButtonElement).onclick = () => void notifications.ask().then(() => this.#showState());
    }
    find("#notify-decline", HTMLButtonElement).onclick = () => notifications.decline();
  }

  /** @param {string} room */
  open(room) {
    this.#room = room;
    setText(find("#notify-title", HTMLElement), `Notifications for #${room}`);
    find(`#notify-${this.notifications.levelOf(room)}`, HTMLInputElement).checked = true;
    find("#notify-sound", HTMLInputElement).checked = this.notifications.hasSound;
    this.#showState();
    this.#dialog.showModal();
  }

  /** Show or hide the offer. */
  show() {
    this.#offer.hidden = !this.notifications.isOffered;
  }

  #showState() {
    const { permission } = this.notifications;
    setText(find("#notify-state", HTMLElement), STATES[permission] ?? "");
    find("#notify-allow", HTMLButtonElement).hidden = permission !== "default";
  }

  #keep() {
    const form = new FormData(this.#form);
    const level = /** @type {import("../notifications.js").Level} */ (form.get("level"));
    this.notifications.setLevel(this.#room, level);
    const hasSound = form.get("sound") !== null;
    if (hasSound !== this.notifications.hasSound) this.notifications.hasSound = hasSound;
  }
}
