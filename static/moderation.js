/** Moderating a room: which actions a user has on a message, their dialogs, and the calls that carry them out. */

import { call } from "./api.js";
import { explain } from "./explanations.js";
import { Refused } from "./protocol.js";
import { MenuView } from "./views/menu.js";
import { ModerationDialog, TopicDialog } from "./views/moderation.js";

/**
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 * @typedef {"redact" | "mute" | "kick" | "ban"} Action
 * @typedef {{name: string, verified: boolean}} User
 */

/** @type {Record<Action, string>} */
const LABELS = {
  redact: "Remove message…",
  mute: "Mute…",
  kick: "Remove from room…",
  ban: "Ban…",
};

export class Moderation {
  /** @type {Room | null} of the menu or dialog that is open */
  #room = null;
  /** @type {Message | null} */
  #message = null;

  /**
   * @param {object} page
   * @param {() => User} page.user
   * @param {() => string} page.chosenName
   * @param {(sentence: string) => void} page.onDone
   */
  constructor(page) {
    this.page = page;
    this.menu = new MenuView({ onChoose: (action) => this.#choose(/** @type {Action} */ (action)) });
    this.dialog = new ModerationDialog({ onConfirm: (choice) => this.#confirm(choice) });
    this.topics = new TopicDialog({ onTopic: (topic) => this.#setTopic(topic) });
  }

  /**
   * @param {Room} room
   * @param {Message} message
   * @param {HTMLElement} button
   */
  openMenu(room, message, button) {
    this.#room = room;
    this.#message = message;
    const actions = actionsOn(message, room, this.page.user());
    this.menu.open(
      button,
      actions.map((action) => ({ id: action, label: LABELS[action], isDangerous: action !== "mute" })),
    );
  }

  /** @param {Room} room */
  editTopic(room) {
    this.#room = room;
    this.topics.ask(room.name, room.topic);
  }

  /** @param {Action} action */
  #choose(action) {
    if (!this.#room || !this.#message) return;
    this.dialog.ask(action, {
      room: this.#room.name,
      sender: this.#message.sender,
      text: this.#message.body,
      isForAllRooms: action === "ban" && (this.#room.rights ?? []).includes("admin"),
    });
  }

  /**
   * Carry out what was confirmed; return the problem, or an empty string.
   * @param {import("./views/moderation.js").Choice} choice
   */
  async #confirm({ action, reason, until, isEverywhere }) {
    const [room, message] = [this.#room, this.#message];
    if (!room || !message) return "";
    const path = `rooms/${encodeURIComponent(room.name)}`;
    const { sender } = message;
    if (action === "redact") {
      return this.#call("DELETE", `${path}/messages/${message.seq}`, undefined, () => "The message was removed.");
    }
    if (action === "kick") {
      return this.#call("POST", `${path}/kick`, { name: sender, reason }, () => `${sender} was removed from the room.`);
    }
    const mute = action === "mute";
    const where = isEverywhere ? "*" : room.name;
    const body = { kind: "name", subject: sender, room: where, reason, mute, ...(until && { until }) };
    const place = isEverywhere ? "all rooms" : `#${room.name}`;
    return this.#call("POST", "bans", body, (ban) =>
      `${sender} is ${mute ? "muted" : "banned"} in ${place}. To undo this: chatkit ban remove ${ban?.id ?? "ID"}`,
    );
  }

  /** @param {string} topic */
  async #setTopic(topic) {
    if (!this.#room) return "";
    return this.#call("PATCH", `rooms/${encodeURIComponent(this.#room.name)}`, { topic }, () => "");
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} body
   * @param {(answer: any) => string} done
   */
  async #call(method, path, body, done) {
    try {
      this.page.onDone(done(await call(method, path, { body, name: this.page.chosenName() })));
      return "";
    } catch (error) {
      if (error instanceof Refused) return explain(error);
      throw error;
    }
  }
}

/**
 * Return what a user may do with a message and its sender. On an open server, where nobody is known, that is nothing.
 * @param {Message} message
 * @param {Room} room
 * @param {User} user
 * @returns {Action[]}
 */
export function actionsOn(message, room, user) {
  const rights = room.rights ?? [];
  const isModerator = rights.includes("moderate");
  const isOwn = user.verified && message.verified === true && message.sender === user.name;
  /** @type {Action[]} */
  const actions = [];
  if (!message.redacted && (isModerator || (isOwn && room.canWrite))) actions.push("redact");
  if (isModerator && message.sender !== user.name) actions.push("mute", "kick", "ban");
  return actions;
}
