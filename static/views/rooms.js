/** The list of rooms, and the box to find, join and create rooms. Knows no socket. */

import { checkRoom, ROOM_RULE } from "../validation.js";
import { Children, clone, find, setText } from "../dom.js";
import { fold } from "../text.js";

/**
 * @typedef {{name: string, unread: number, mentions: number, members: number, isOpen: boolean,
 *   hasPending: boolean}} RoomState `mentions` are messages that mention the user, among the unread ones
 * @typedef {RoomState & {id: string, look: string}} RoomRow
 */

export class RoomsView {
  #box = find("#room-box", HTMLInputElement);
  #problem = find("#room-problem", HTMLElement);
  #make = find("#room-make", HTMLButtonElement);
  #mentions = find("#mentions-count", HTMLElement);
  #joinedPart = find("#joined-part", HTMLElement);
  #otherPart = find("#other-part", HTMLElement);
  /** @type {Children<RoomRow>} */
  #joined = new Children(find("#joined-list", HTMLElement), rowElement);
  /** @type {Children<RoomRow>} */
  #others = new Children(find("#other-list", HTMLElement), rowElement);

  /** @param {{onOpen: (room: string) => void, onFilter: (prefix: string) => void}} on */
  constructor(on) {
    this.on = on;
    find("#room-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("input", () => {
      setText(this.#problem, "");
      this.#box.ariaInvalid = null;
      on.onFilter(this.#typed);
    });
  }

  /** @param {{joined: RoomState[], others: RoomState[]}} rooms */
  show({ joined, others }) {
    const typed = this.#typed;
    const query = fold(typed);
    /** @param {RoomState} row */
    const matches = (row) => fold(row.name).includes(query);
    const [mine, rest] = [joined.filter(matches), others.filter(matches)];
    this.#joined.show(mine.map(keyed));
    this.#others.show(rest.map(keyed));
    const mentions = [...joined, ...others].reduce((sum, row) => sum + row.mentions, 0);
    this.#mentions.hidden = mentions === 0;
    setText(this.#mentions, mentions > 999 ? "999+" : String(mentions));
    this.#joinedPart.hidden = mine.length === 0;
    this.#otherPart.hidden = rest.length === 0;
    const room = checkRoom(typed);
    const isKnown = [...mine, ...rest].some(({ name }) => name === room);
    this.#make.hidden = !room || isKnown;
    setText(find(".name", HTMLElement, this.#make), typed);
  }

  get #typed() {
    return this.#box.value.trim().replace(/^#/, "");
  }

  focus() {
    this.#box.focus();
    this.#box.select();
  }

  #submit() {
    const room = checkRoom(this.#box.value);
    if (!room) {
      setText(this.#problem, ROOM_RULE);
      this.#box.ariaInvalid = "true";
      return;
    }
    this.#box.value = "";
    this.on.onFilter("");
    this.on.onOpen(room);
  }
}

/** @param {RoomState} row */
function keyed(row) {
  const look = `${row.unread} ${row.mentions} ${row.members} ${row.isOpen} ${row.hasPending}`;
  return { ...row, id: row.name, look };
}

/** @param {RoomRow} row */
function rowElement({ name, unread, mentions, members, isOpen, hasPending }) {
  const element = clone("room-row");
  const link = find("a", HTMLAnchorElement, element);
  link.href = `#${encodeURIComponent(name)}`;
  link.classList.toggle("unread", unread > 0);
  if (isOpen) link.ariaCurrent = "page";
  find(".name", HTMLElement, element).append(name);
  const badge = find(".badge", HTMLElement, element);
  badge.hidden = unread === 0;
  badge.classList.toggle("for-me", mentions > 0);
  badge.append(unread > 999 ? "999+" : String(unread), srText(unread === 1 ? " new message" : " new messages"));
  if (mentions > 0) badge.append(srText(mentions === 1 ? ", one mentions you" : `, ${mentions} mention you`));
  const people = find(".people", HTMLElement, element);
  people.hidden = unread > 0 || members === 0;
  people.append(String(members), srText(members === 1 ? " member" : " members"));
  find(".waits", HTMLElement, element).hidden = !hasPending;
  return element;
}

/** @param {string} text */
function srText(text) {
  const element = document.createElement("span");
  element.className = "sr";
  element.append(text);
  return element;
}
