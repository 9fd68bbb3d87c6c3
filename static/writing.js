/**
 * Writing in a room: drafts, answers, edits, commands and completion. Connects the composer with the session; what it
 * sends are messages and edits.
 *
 * @typedef {import("./protocol.js").Message} Message
 * @typedef {import("./room.js").Room} Room
 * @typedef {{kind: "reply" | "edit", message: Message}} Context what is answered or edited
 */

import { COMMANDS, readInput } from "./commands.js";
import { matching } from "./completion.js";
import { isOwn } from "./message_actions.js";
import { moduleOf } from "./loading.js";
import { pickEmoji } from "./reaction_choice.js";
import { excerpt } from "./transcript.js";
import { ComposerView } from "./views/composer.js";

const RECENT = 100; // messages whose senders are offered, although they may have left
const MAX_CANDIDATES = 8; // as many lines fit above a phone's keyboard

export class Writing {
  /** @type {Room | null} */
  #room = null;
  /** @type {Map<string, Context>} room to what is answered or edited there */
  #contexts = new Map();

  /**
   * @param {object} page
   * @param {import("./client.js").Client} page.session
   * @param {import("./storage.js").Store} page.store
   * @param {() => import("./message_actions.js").User} page.user
   * @param {(message: Message, body: string) => Promise<boolean>} page.edit
   * @param {(name: string, argument: string) => Promise<string>} page.command carries out a command; returns the
   *   problem, or an empty string
   * @param {(sentence: string) => void} page.onProblem
   * @param {() => void} page.onSent
   */
  constructor(page) {
    this.page = page;
    this.view = new ComposerView({
      onSend: (text) => void this.#send(text),
      onDraft: (text) => this.#keepDraft(text),
      onEditLast: () => this.#editLast(),
      onDrop: () => this.drop(),
      onEmoji: () => void pickEmoji((emoji) => this.view.insert(emoji), page.onProblem),
      onFiles: () =>
        page.onProblem("Files and pictures cannot be sent yet. Put the file where others can open it and send a link."),
      find: (word) => this.#find(word),
    });
  }

  /** @param {Room} room */
  open(room) {
    this.#room = room;
    const context = this.#contexts.get(room.name);
    this.view.open(room.name, context?.kind === "edit" ? context.message.body : this.#draft);
    this.#showContext();
  }

  close() {
    this.#room = null;
  }

  /**
   * Keep the draft, the answer and the edit of a room that was renamed.
   * @param {string} oldName
   * @param {string} name
   */
  rename(oldName, name) {
    const { store } = this.page;
    const draft = store.get(`draft.${oldName}`);
    store.delete(`draft.${oldName}`);
    if (draft) store.set(`draft.${name}`, draft);
    const context = this.#contexts.get(oldName);
    this.#contexts.delete(oldName);
    if (context) this.#contexts.set(name, context);
    if (this.#room?.name === name) this.view.setRoom(name);
  }

  /** @param {Message} message */
  reply(message) {
    if (!this.#room) return;
    this.drop();
    this.#contexts.set(this.#room.name, { kind: "reply", message });
    this.#showContext();
    this.view.focus();
  }

  /** @param {Message} message */
  edit(message) {
    if (!this.#room) return;
    this.#contexts.set(this.#room.name, { kind: "edit", message });
    this.view.setText(message.body);
    this.#showContext();
    this.view.focus();
  }

  /** End the answer or the edit; return false if nothing is answered or edited. */
  drop() {
    const context = this.#context;
    if (!this.#room || !context) return false;
    this.#contexts.delete(this.#room.name);
    if (context.kind === "edit") this.view.setText(this.#draft);
    this.#showContext();
    return true;
  }

  get #context() {
    return this.#room ? this.#contexts.get(this.#room.name) : undefined;
  }

  get #draft() {
    return this.page.store.get(`draft.${this.#room?.name}`) ?? "";
  }

  #showContext() {
    const context = this.#context;
    const title = context?.kind === "edit" ? "Editing your message" : context && `Answering ${context.message.sender}`;
    this.view.showContext(title ?? "", context ? excerpt(context.message) : "");
  }

  /** @param {string} text */
  async #send(text) {
    const [room, context] = [this.#room, this.#context];
    if (!room) return;
    if (context?.kind === "edit") return this.#sendEdit(room, context, text);
    const input = readInput(text);
    if (input.kind === "unknown") {
      return this.page.onProblem(`There is no command /${input.name}. To send this as a message, begin it with //.`);
    }
    if (input.kind === "command") return this.#runCommand(input.name, input.argument);
    this.page.onProblem(""); // that of an earlier text
    this.page.session.publish(room, input.body, context && { of: context.message.seq });
    this.#contexts.delete(room.name);
    this.#empty();
    this.page.onSent();
  }

  /**
   * @param {Room} room
   * @param {Context} context
   * @param {string} text
   */
  async #sendEdit(room, context, text) {
    const isDone = text === context.message.body || (await this.page.edit(context.message, text));
    if (isDone && this.#contexts.get(room.name) === context && room === this.#room) this.drop();
  }

  /**
   * @param {string} name
   * @param {string} argument
   */
  async #runCommand(name, argument) {
    const problem = await this.page.command(name, argument);
    this.page.onProblem(problem);
    if (!problem) this.#empty();
  }

  #empty() {
    this.view.setText("");
    this.#keepDraft("");
    this.#showContext();
  }

  /** @param {string} text */
  #keepDraft(text) {
    const room = this.#room;
    if (!room || this.#context?.kind === "edit") return;
    if (text) this.page.store.set(`draft.${room.name}`, text);
    else this.page.store.delete(`draft.${room.name}`);
    if (text.trim() && readInput(text).kind === "message") this.page.session.typing(room);
  }

  #editLast() {
    const room = this.#room;
    if (!room?.canWrite || this.#context) return false;
    const user = this.page.user();
    const item = room.items.findLast((each) => each.kind === "message" && isOwn(each.message, room, user));
    if (item?.kind !== "message" || item.generation !== room.generation || item.message.redacted) return false;
    this.edit(item.message);
    return true;
  }

  /**
   * @param {import("./completion.js").Word} word
   * @returns {import("./views/completion.js").Candidate[] | Promise<import("./views/completion.js").Candidate[]>}
   */
  #find({ kind, query, isClosed }) {
    switch (kind) {
      case "command":
        return COMMANDS.filter(({ name }) => name.startsWith(query)).map(({ name, argument, help }) => ({
          insert: argument ? `/${name} ` : `/${name}`,
          label: `/${name} ${argument}`.trim(),
          detail: help,
        }));
      case "name":
        return matching(query, this.#names(), MAX_CANDIDATES).map((name) => simple(`@${name}`));
      case "room":
        return matching(query, this.#rooms(), MAX_CANDIDATES).map((name) => simple(`#${name}`));
      case "emoji":
        return emoji ? findEmoji(emoji, query, isClosed) : this.#loadAndFindEmoji(query, isClosed);
    }
  }

  /**
   * @param {string} query
   * @param {boolean} isClosed whether the whole name was typed
   */
  async #loadAndFindEmoji(query, isClosed) {
    emoji = await moduleOf(import("./emoji.js"), this.page.onProblem);
    return emoji ? findEmoji(emoji, query, isClosed) : [];
  }

  /** The members of the room, and who wrote in it recently. */
  *#names() {
    const room = this.#room;
    if (!room) return;
    const me = this.page.user().name;
    for (const name of room.members.keys()) if (name !== me) yield name;
    for (const item of room.items.slice(-RECENT)) {
      if (item.kind === "message" && item.message.sender !== me) yield item.message.sender;
    }
  }

  *#rooms() {
    const { rooms } = this.page.session;
    yield* rooms.joined.keys();
    for (const { room } of rooms.listed) yield room;
  }
}

/** @param {string} text */
function simple(text) {
  return { insert: `${text} `, label: text, detail: "" };
}

/** @type {typeof import("./emoji.js") | null} loaded when the first name is typed */
let emoji = null;

/**
 * @param {typeof import("./emoji.js")} emoji
 * @param {string} query
 * @param {boolean} isClosed
 */
function findEmoji({ emojiNamed, searchEmoji }, query, isClosed) {
  const named = isClosed ? emojiNamed(query) : undefined;
  if (isClosed) return named ? [{ insert: named, label: named, detail: "" }] : [];
  return searchEmoji(query)
    .slice(0, MAX_CANDIDATES)
    .map(({ char, name }) => ({ insert: `${char} `, label: char, detail: `:${name}:` }));
}
