/** Removing messages and moderating a room: the dialogs, and the calls that carry out what was confirmed. */

import { call, pathOf } from "./api.js";
import { explain } from "./explanations.js";
import { Refused } from "./protocol.js";
import { ModerationDialog, TopicDialog } from "./views/moderation.js";

/**
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 * @typedef {"redact" | "mute" | "kick" | "ban"} Action
 */

export class Moderation {
  /** @type {Room | null} of the menu or dialog that is open */
  #room = null;
  /** @type {Message | null} */
  #message = null;

  /**
   * @param {object} page
   * @param {() => string} page.chosenName
   * @param {(sentence: string) => void} page.onDone
   */
  constructor(page) {
    this.page = page;
    this.dialog = new ModerationDialog({ onConfirm: (choice) => this.#confirm(choice) });
    this.topics = new TopicDialog({ onTopic: async (topic) => (this.#room ? this.setTopic(this.#room, topic) : "") });
  }

  /** @param {Room} room */
  editTopic(room) {
    this.#room = room;
    this.topics.ask(room.name, room.topic);
  }

  /**
   * Ask whether an action should be carried out.
   * @param {Action} action
   * @param {Room} room
   * @param {Message} message
   */
  ask(action, room, message) {
    this.#room = room;
    this.#message = message;
    this.dialog.ask(action, {
      room: room.name,
      sender: message.sender,
      text: message.body,
      isForAllRooms: action === "ban" && (room.rights ?? []).includes("admin"),
    });
  }

  /**
   * Carry out what was confirmed; return the problem, or an empty string.
   * @param {import("./views/moderation.js").Choice} choice
   */
  async #confirm({ action, reason, until, isEverywhere }) {
    const [room, message] = [this.#room, this.#message];
    if (!room || !message) return "";
    const path = pathOf(room.name);
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

  /**
   * Set the topic of a room; return the problem, or an empty string.
   * @param {Room} room
   * @param {string} topic
   */
  async setTopic(room, topic) {
    return this.#call("PATCH", pathOf(room.name), { topic }, () => "");
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
