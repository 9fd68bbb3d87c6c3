/**
 * Carries out what a user does with a message: opens the menu, sends changes, copies, asks. Changes are sent at once or
 * not at all, unlike messages, which wait for the connection.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {Exclude<import("./protocol.js").Act, "redact">} Act
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("./message_actions.js").Action} Action
 */

import { fragmentOf } from "./address.js";
import { explain } from "./explanations.js";
import { actionsOn, DANGEROUS, KEYS, LABELS } from "./message_actions.js";
import { ConnectionLost, Refused } from "./protocol.js";
import { countUse, mostUsed, pickEmoji } from "./reaction_choice.js";
import { emojiElement } from "./views/emoji.js";
import { MenuView } from "./views/menu.js";
import { showReactions } from "./views/reactions.js";

const OFFLINE = "This requires a connection. Try again when you are online.";
/** @type {Record<string, string>} */
const SHOWN_KEYS = { Delete: "Del" };
const KEY_OF = Object.fromEntries(Object.entries(KEYS).map(([key, action]) => [action, SHOWN_KEYS[key] ?? key]));

export class Actions {
  #menu = new MenuView();

  /**
   * @param {object} page
   * @param {import("./client.js").Client} page.session
   * @param {import("./storage.js").Store} page.store
   * @param {() => Room | null} page.room
   * @param {() => import("./message_actions.js").User} page.user
   * @param {import("./moderation.js").Moderation} page.moderation
   * @param {(message: Message) => void} page.onReply
   * @param {(message: Message) => void} page.onEdit
   * @param {(sentence: string) => void} page.onDone
   * @param {(sentence: string) => void} page.onProblem
   */
  constructor(page) {
    this.page = page;
  }

  /** @param {number} seq */
  of(seq) {
    const [room, message] = [this.page.room(), this.#find(seq)];
    return room && message ? actionsOn(message, room, this.page.user()) : [];
  }

  /**
   * @param {number} seq
   * @param {HTMLElement} anchor
   */
  openMenu(seq, anchor) {
    const [actions, message] = [this.of(seq), this.#find(seq)];
    if (!message) return;
    const items = actions.map((action) => ({
      label: LABELS[action],
      key: KEY_OF[action === "unpin" ? "pin" : action] ?? "",
      isDangerous: DANGEROUS.has(action),
      onChoose: () => this.run(action, seq, anchor),
    }));
    const reactions = (actions.includes("react") ? mostUsed(this.page.store) : []).map((emoji) => ({
      label: emojiElement(emoji),
      key: "",
      isDangerous: false,
      onChoose: () => this.toggle(message, emoji),
    }));
    this.#menu.open(anchor, items, reactions);
  }

  /**
   * @param {Action} action
   * @param {number} seq
   * @param {HTMLElement} anchor
   */
  run(action, seq, anchor) {
    const [room, message] = [this.page.room(), this.#find(seq)];
    if (!room || !message) return;
    switch (action) {
      case "reply":
        return this.page.onReply(message);
      case "edit":
        return this.page.onEdit(message);
      case "react":
        return void pickEmoji((emoji) => {
          this.toggle(message, emoji);
          anchor.focus();
        }, this.page.onProblem);
      case "pin":
      case "unpin":
        return void this.change(message, action);
      case "copy-text":
        return void this.#copy(message.body, "The text was copied.");
      case "copy-link":
        return void this.#copy(linkTo(room, message), "The link was copied.");
      case "reactions":
        return showReactions(message);
      default:
        return this.page.moderation.ask(action, room, message);
    }
  }

  /**
   * Add the user's reaction, or remove it.
   * @param {Message} message
   * @param {string} emoji
   */
  toggle(message, emoji) {
    const isMine = message.reactions?.[emoji]?.by.includes(this.page.user().name) ?? false;
    if (!isMine) countUse(this.page.store, emoji);
    void this.change(message, isMine ? "unreact" : "react", emoji);
  }

  /**
   * Send a change of a message; return whether the server accepted it.
   * @param {Message} message
   * @param {Exclude<Act, "redact">} act
   * @param {string} [body]
   */
  async change(message, act, body = "") {
    const room = this.page.room();
    if (!room) return false;
    try {
      await this.page.session.change(room, message.seq, act, body);
      return true;
    } catch (error) {
      if (error instanceof Refused) this.page.onProblem(explain(error));
      else if (error instanceof ConnectionLost) this.page.onProblem(OFFLINE);
      else throw error;
      return false;
    }
  }

  /** @param {number} seq */
  #find(seq) {
    return this.page.room()?.find(seq)?.message ?? null;
  }

  /**
   * @param {string} text
   * @param {string} done
   */
  async #copy(text, done) {
    try {
      await navigator.clipboard.writeText(text); // undefined without https
      this.page.onDone(done);
    } catch {
      this.page.onProblem("The browser does not let this page copy. Select the text and copy it yourself.");
    }
  }
}

/**
 * @param {Room} room
 * @param {Message} message
 */
function linkTo(room, message) {
  return new URL(fragmentOf(room.name, message.seq), document.baseURI).href;
}
