/**
 * The dialogs of a moderator. Nothing is carried out before it is confirmed. Know no socket.
 *
 * @typedef {import("../moderation.js").Action} Action
 * @typedef {{action: Action, reason: string, until: string | null, isEverywhere: boolean}} Choice
 */

import { find, setText } from "../dom.js";
import { submit } from "./dialogs.js";

const SHOWN_CHARS = 200; // of the message that is about to be removed

export class ModerationDialog {
  #dialog = find("#moderation-dialog", HTMLDialogElement);
  #reason = find("#moderation-reason", HTMLInputElement);
  #time = find("#moderation-time", HTMLSelectElement);
  #everywhere = find("#moderation-everywhere", HTMLInputElement);
  #problem = find("#moderation-problem", HTMLElement);
  /** @type {Action} */
  #action = "redact";

  /** @param {{onConfirm: (choice: Choice) => Promise<string>}} on */
  constructor(on) {
    const form = find("#moderation-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void submit(form, this.#problem, () => on.onConfirm(this.#choice), () => this.#dialog.close());
    });
    find("#moderation-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
  }

  /**
   * @param {Action} action
   * @param {{room: string, sender: string, text: string, isForAllRooms: boolean}} about
   */
  ask(action, { room, sender, text, isForAllRooms }) {
    this.#action = action;
    const [title, explanation, verb] = textsOf(action, sender, room);
    setText(find("#moderation-title", HTMLElement), title);
    setText(find("#moderation-text", HTMLElement), explanation);
    setText(find("#moderation-confirm", HTMLElement), verb);
    const quote = find("#moderation-quote", HTMLElement);
    quote.hidden = action !== "redact" || !text;
    setText(quote, text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text);
    find("#moderation-reason-part", HTMLElement).hidden = action === "redact";
    find("#moderation-time-part", HTMLElement).hidden = action !== "ban" && action !== "mute";
    find("#moderation-everywhere-part", HTMLElement).hidden = !isForAllRooms;
    this.#reason.value = "";
    this.#time.selectedIndex = 1;
    this.#everywhere.checked = false;
    setText(this.#problem, "");
    this.#dialog.showModal();
    // Enter must not destroy anything by accident.
    if (action === "redact") find("#moderation-cancel", HTMLButtonElement).focus();
    else this.#reason.focus();
  }

  /** @returns {Choice} */
  get #choice() {
    const seconds = Number(this.#time.value);
    return {
      action: this.#action,
      reason: this.#reason.value.trim(),
      until: seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null,
      isEverywhere: this.#everywhere.checked,
    };
  }
}

/**
 * @param {Action} action
 * @param {string} sender
 * @param {string} room
 * @returns {[title: string, explanation: string, verb: string]}
 */
function textsOf(action, sender, room) {
  const all = sender === "anonymous" ? " This concerns everybody who is anonymous." : "";
  switch (action) {
    case "redact":
      return ["Remove this message?", "Its text is removed for everybody. It cannot be restored.", "Remove"];
    case "mute":
      return [`Mute ${sender}?`, `${sender} can read #${room}, but not write there.${all}`, "Mute"];
    case "kick":
      return [`Remove ${sender}?`, `${sender} has to leave #${room}, and can come back in a minute.${all}`, "Remove"];
    case "ban":
      return [`Ban ${sender}?`, `${sender} can neither read nor write #${room}.${all}`, "Ban"];
  }
}

export class TopicDialog {
  #dialog = find("#topic-dialog", HTMLDialogElement);
  #box = find("#topic-box", HTMLInputElement);
  #problem = find("#topic-problem", HTMLElement);

  /** @param {{onTopic: (topic: string) => Promise<string>}} on */
  constructor(on) {
    const form = find("#topic-form", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void submit(form, this.#problem, () => on.onTopic(this.#box.value.trim()), () => this.#dialog.close());
    });
    find("#topic-cancel", HTMLButtonElement).onclick = () => this.#dialog.close();
  }

  /**
   * @param {string} room
   * @param {string} topic
   */
  ask(room, topic) {
    setText(find("#topic-title", HTMLElement), `Topic of #${room}`);
    this.#box.value = topic;
    setText(this.#problem, "");
    this.#dialog.showModal();
    this.#box.select();
  }
}
