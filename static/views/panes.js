/** Opens and closes the panes beside the conversation: rooms (a drawer on a narrow screen), members, search. */

import { find } from "../dom.js";

const NARROW = window.matchMedia("(max-width: 47.99rem)");
const ROOMY = window.matchMedia("(min-width: 72rem)");

export class PanesView {
  #app = find("#app", HTMLElement);
  #rooms = find("#rooms", HTMLElement);
  #main = find("main", HTMLElement);
  #opener = find("#rooms-open", HTMLButtonElement);
  /** The open side panes; search covers the members. */
  #open = { people: ROOMY.matches, search: false };
  #isDrawerOpen = false;
  #hasRoom = false;

  /** @param {{onSearch: () => void}} on */
  constructor(on) {
    this.on = on;
    this.#opener.onclick = () => this.openRooms();
    find("#rooms-close", HTMLButtonElement).onclick = () => this.closeRooms();
    find("#shade", HTMLElement).onclick = () => this.close();
    // The address stays if the open room is chosen.
    this.#rooms.addEventListener("click", ({ target }) => {
      if (target instanceof Element && target.closest("a")) this.showConversation();
    });
    for (const side of /** @type {const} */ (["people", "search"])) {
      find(`#${side}-open`, HTMLButtonElement).onclick = () => this.toggle(side);
      find(`#${side}-close`, HTMLButtonElement).onclick = () => this.toggle(side);
    }
    NARROW.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** @param {boolean} hasRoom */
  show(hasRoom) {
    if (hasRoom === this.#hasRoom) return;
    this.#hasRoom = hasRoom;
    this.#show();
  }

  openRooms() {
    if (!NARROW.matches) return;
    this.#isDrawerOpen = true;
    this.#show();
    find("#rooms-close", HTMLButtonElement).focus();
  }

  closeRooms() {
    if (!this.#isDrawerOpen) return;
    const hadFocus = this.#rooms.contains(document.activeElement);
    this.#isDrawerOpen = false;
    this.#show();
    if (hadFocus) this.#opener.focus();
  }

  /** @param {"people" | "search"} side */
  toggle(side) {
    const isOpening = this.#side !== side;
    if (isOpening) this.#open.search = false;
    this.#open[side] = isOpening;
    this.#show();
    if (!isOpening) find(`#${side}-open`, HTMLButtonElement).focus();
    else if (side === "search") this.on.onSearch();
  }

  openSearch() {
    this.closeRooms();
    if (this.#side !== "search") this.toggle("search");
  }

  /** Close the pane that covers the conversation, or the search; return false if no pane is open. */
  close() {
    if (this.#isDrawerOpen) {
      this.closeRooms();
      return true;
    }
    const side = this.#side;
    if (!side || (side === "people" && ROOMY.matches)) return false;
    this.toggle(side);
    return true;
  }

  /** Close panes that cover the conversation on a narrow screen. */
  showConversation() {
    this.closeRooms();
    if (ROOMY.matches) return;
    this.#open = { people: false, search: false };
    this.#show();
  }

  get #side() {
    if (this.#open.search) return "search"; // which needs no room: it finds messages of all rooms
    return this.#hasRoom && this.#open.people ? "people" : null;
  }

  #show() {
    if (!NARROW.matches) this.#isDrawerOpen = false;
    const side = this.#side;
    this.#app.dataset.drawer = String(this.#isDrawerOpen);
    this.#app.dataset.side = side ?? "none";
    this.#rooms.inert = NARROW.matches && !this.#isDrawerOpen;
    this.#main.inert = this.#isDrawerOpen;
    this.#opener.ariaExpanded = String(this.#isDrawerOpen);
    for (const name of ["people", "search"]) {
      find(`#${name}`, HTMLElement).hidden = side !== name;
      find(`#${name}-open`, HTMLButtonElement).ariaExpanded = String(side === name);
    }
  }
}
