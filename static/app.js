/** The page: connects the session with the views. The fragment of the address decides which room is open. */

import { Actions } from "./actions.js";
import { fragmentOf, placeIn } from "./address.js";
import { findMessages } from "./finding.js";
import { find, setText } from "./dom.js";
import { explainAccess, explainTop, sentenceOf } from "./explanations.js";
import { Identification } from "./identification.js";
import { listenToKeys } from "./keys.js";
import { Moderation } from "./moderation.js";
import { Notifications } from "./notifications.js";
import { Parents } from "./parents.js";
import { roomList } from "./room_list.js";
import { roomLines } from "./room_lines.js";
import { installWorker } from "./installation.js";
import { Announcer } from "./announcer.js";
import { Client } from "./client.js";
import { openStore } from "./storage.js";
import { Writing } from "./writing.js";
import { BadgeView } from "./views/badge.js";
import { showCommands, showQuiet } from "./views/commands.js";
import { openHelp } from "./views/help.js";
import { LogView } from "./views/log.js";
import { showMe } from "./views/me.js";
import { NoticesView } from "./views/notices.js";
import { NotificationsView } from "./views/notifications.js";
import { PanesView } from "./views/panes.js";
import { PeopleView } from "./views/people.js";
import { RoomAccessView } from "./views/room_access.js";
import { RoomsView } from "./views/rooms.js";
import { SearchView } from "./views/search.js";
import { StatusView } from "./views/status.js";
import { ThemeView } from "./views/theme.js";

/** @typedef {import("./room.js").Room} Room */

const ROOMS_EVERY_MS = 15_000; // the server does not push the list of rooms
const WORKER_AFTER_MS = 1_000; // it reads all files again, which would delay the first messages
const HIDDEN_DRAW_MS = 250; // a hidden page gets no animation frames, but its title is still updated

class Page {
  #store = openStore();
  #announcer = new Announcer(find("#announcer", HTMLElement));
  /** @type {Room | null} */
  #room = null;
  #isDue = false;
  #typingTimer = 0;
  /** @type {string | null} the message to scroll to after the next drawing */
  #reveal = null;
  /** @type {number | null} the message in the address, to be shown when the room is joined */
  #wanted = null;

  constructor() {
    const store = this.#store;
    this.notices = new NoticesView();
    this.badge = new BadgeView();
    this.session = new Client({
      store,
      name: () => this.identification.chosenName,
      onChange: () => this.#draw(),
      onLive: (room, message) => this.#onLive(room, message),
      onRenamed: (room, oldName, name) => this.#onRenamed(room, oldName, name),
      onProblem: (text) => this.notices.showProblem(sentenceOf(text)),
      onBadName: () => this.identification.onBadName(),
      onWelcome: (event) => this.identification.onWelcome(event),
    });
    this.panes = new PanesView({ onSearch: () => this.search.focus() });
    const { session } = this;
    this.roomsView = new RoomsView({ onOpen: (room) => this.#goTo(room), onFilter: (part) => session.findRooms(part) });
    this.log = new LogView({
      onNearTop: () => this.#room && void this.session.loadOlder(this.#room),
      onNearEnd: () => this.#room?.hasNewer && void this.session.loadNewer(this.#room),
      onFollow: (follows) => this.#onFollow(follows),
      onJump: () => this.#toNewest(),
      onRetry: (key) => this.session.resend(key),
      onForget: (key) => this.session.forget(key),
      onJumpUp: () => void this.#toFirstNew(),
      onParent: (seq) => void this.#showMessage(seq),
      onReaction: (message, emoji) => this.actions.toggle(message, emoji),
      onName: (name) => this.writing.view.insert(`@${name} `),
      onLeave: () => this.writing.view.focus(),
      actions: (seq) => this.actions.of(seq),
      onAction: (action, seq, anchor) => this.actions.run(action, seq, anchor),
      onMenu: (seq, anchor) => this.actions.openMenu(seq, anchor),
    });
    this.parents = new Parents(() => this.#draw());
    this.people = new PeopleView();
    this.status = new StatusView({ onRetry: () => this.session.connection.open() });
    this.search = new SearchView({
      search: (scope, text, more) => findMessages(this.session, this.#room, scope, text, more),
      onOpen: (message) => this.#goTo(message.room, message.seq),
      hasMarks: () => this.#room?.rights !== undefined,
    });
    this.identification = new Identification({
      store,
      connection: this.session.connection,
      openRoom: (room) => this.#goTo(room),
      onChange: () => this.#draw(),
    });
    this.moderation = new Moderation({
      chosenName: () => this.identification.chosenName,
      onDone: (sentence) => this.notices.showNotice(sentence),
    });
    this.actions = new Actions({
      session: this.session,
      store,
      room: () => this.#room,
      user: () => this.#me,
      moderation: this.moderation,
      onReply: (message) => this.writing.reply(message),
      onEdit: (message) => this.writing.edit(message),
      onDone: (sentence) => this.notices.showNotice(sentence),
      onProblem: (sentence) => this.notices.showProblem(sentence),
    });
    this.writing = new Writing({
      session: this.session,
      store,
      user: () => this.#me,
      edit: (message, body) => this.actions.change(message, "edit", body),
      command: (name, argument) => this.#runCommand(name, argument),
      onProblem: (sentence) => this.notices.showProblem(sentence),
      onSent: () => this.#toNewest(),
    });
    this.access = new RoomAccessView({
      onAction: (action) => this.#onRoomAction(action),
      onEditTopic: () => this.#room && this.moderation.editTopic(this.#room),
    });
    this.notifications = new Notifications({
      store,
      isWatching: (room) => this.#isWatching(room),
      onOpen: (room, seq) => this.#goTo(room, seq),
      onChange: () => this.#draw(),
    });
    this.notificationsView = new NotificationsView(this.notifications);
    new ThemeView(store);
  }

  start() {
    this.identification.start(); // first: the page is drawn while the connection is opened
    this.#addListeners();
    this.#openFromAddress();
    window.setTimeout(() => void installWorker(), WORKER_AFTER_MS);
    window.setInterval(() => document.hidden || void this.session.refreshRooms(), ROOMS_EVERY_MS);
  }

  #addListeners() {
    const { connection } = this.session;
    window.addEventListener("hashchange", () => {
      if (!this.identification.takeInvite()) this.identification.takeToken();
      this.#openFromAddress();
    });
    window.addEventListener("online", () => connection.retryNow());
    window.addEventListener("offline", () => void this.session.probe());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return this.session.readState.flush();
      connection.retryNow();
      void this.session.probe(); // after a sleep of the machine, the connection may be dead
      if (this.#room?.unread) this.#room.newAfter = this.#room.read;
      this.#draw();
    });
    find("#me", HTMLButtonElement).onclick = () => this.identification.show();
    find("#help", HTMLButtonElement).onclick = openHelp;
    find("#leave", HTMLButtonElement).onclick = () => this.#leave();
    find("#notify-open", HTMLButtonElement).onclick = () => this.#room && this.notificationsView.open(this.#room.name);
    find("#mentions-open", HTMLButtonElement).onclick = () => {
      this.panes.openSearch();
      this.search.showMentions();
    };
    find("#skip", HTMLButtonElement).onclick = () => this.writing.view.focus();
    listenToKeys({
      onHelp: openHelp,
      onSwitch: (step) => this.#switch(step),
      onFind: () => {
        this.panes.openRooms();
        this.roomsView.focus();
      },
      onEscape: () => this.panes.close() || this.#toNewest(),
    });
  }

  /**
   * @param {string} room
   * @param {number} [seq] the message to show
   */
  #goTo(room, seq) {
    const hash = fragmentOf(room, seq);
    if (window.location.hash === hash) this.#openFromAddress();
    else window.location.hash = hash;
    this.panes.showConversation();
  }

  #openFromAddress() {
    const place = placeIn(window.location.hash);
    if (!place) return this.#closeRoom();
    const { room: name, seq } = place;
    const isOpen = this.#room?.name === name;
    this.#room = this.session.join(name);
    this.#wanted = seq;
    if (isOpen) return seq === null ? this.#toNewest() : this.#draw();
    this.#store.set("last-room", name);
    this.log.clear();
    this.search.onRoom(name);
    this.#drawFrame(); // the composer can measure its height only if it is visible
    this.writing.open(this.#room);
    this.panes.showConversation();
    // On a phone, the keyboard would cover the room.
    if (window.matchMedia("(hover: hover)").matches) this.writing.view.focus();
    if (seq === null) this.#toNewest();
  }

  /**
   * @param {import("./room.js").Room} room
   * @param {string} oldName
   * @param {string} name
   */
  #onRenamed(room, oldName, name) {
    this.writing.rename(oldName, name);
    this.notifications.renameRoom(oldName, name);
    void this.session.refreshRooms(); // it lists the old name
    // Replaced, because going back to the old name would lead here again.
    if (room === this.#room) window.location.replace(fragmentOf(name));
  }

  #closeRoom() {
    this.#room = null;
    this.search.onRoom(null);
    this.writing.close();
    this.#draw();
  }

  #leave() {
    const room = this.#room;
    if (!room) return;
    const next = this.session.rooms.neighbour(room.name, 1);
    this.session.leave(room.name);
    window.location.hash = next && next !== room.name ? fragmentOf(next) : "";
  }

  /** @param {number} step */
  #switch(step) {
    const next = this.session.rooms.neighbour(this.#room?.name ?? "", step);
    if (next) this.#goTo(next);
  }

  /** @param {import("./explanations.js").Action} action */
  #onRoomAction(action) {
    if (action === "sign-in") this.identification.askToken("");
    else if (action === "rooms") this.#leave();
    else if (this.#room) this.session.retry(this.#room);
  }

  get #me() {
    return { name: this.session.name || this.identification.chosenName, verified: this.session.verified };
  }

  /**
   * Carry out a command from the composer; return the problem, or an empty string.
   * @param {string} name
   * @param {string} argument
   */
  async #runCommand(name, argument) {
    if (name === "help") openHelp();
    if (name === "nick") return this.identification.rename(argument);
    if (name === "topic") return this.#room ? this.moderation.setTopic(this.#room, argument) : "";
    if (name === "search") {
      this.panes.openSearch();
      this.search.find(argument);
    }
    return "";
  }

  /** @param {boolean} follows */
  #onFollow(follows) {
    if (!this.#room) return;
    this.#room.following = follows && this.#room.attached;
    this.#draw();
  }

  #toNewest() {
    const room = this.#room;
    if (!room) return;
    // Without a message: reloading the page would show it again.
    window.history.replaceState(null, "", fragmentOf(room.name));
    void this.session.showNewest(room);
  }

  async #toFirstNew() {
    const room = this.#room;
    if (!room) return;
    if (room.hasOlder && (room.oldest?.message.seq ?? 0) > room.newAfter + 1) {
      await this.session.showAround(room, room.newAfter + 1);
    }
    room.following = false;
    this.#reveal = "new";
    this.#draw();
  }

  /** @param {number} seq */
  async #showMessage(seq) {
    const room = this.#room;
    if (!room) return;
    this.panes.showConversation();
    await this.session.showAround(room, seq);
    if (!room.find(seq)) return this.notices.showProblem(`Message ${seq} cannot be shown. Perhaps it is not kept.`);
    room.following = false;
    this.#reveal = `${room.generation}:${seq}`;
    this.#draw();
  }

  /**
   * @param {Room} room
   * @param {import("./protocol.js").Message} message
   */
  #onLive(room, message) {
    if (message.sender === this.session.name) return;
    this.notifications.onMessage(message, this.session.name);
    if (room === this.#room) this.#announcer.announce(message.sender, message.body);
  }

  /** @param {string} room */
  #isWatching(room) {
    const isOpen = this.#room?.name === room && this.#room.following;
    return isOpen && !document.hidden && document.hasFocus();
  }

  /** Schedule one drawing for all changes until then. */
  #draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    const draw = () => {
      this.#isDue = false;
      this.#drawNow();
    };
    if (document.hidden) window.setTimeout(draw, HIDDEN_DRAW_MS);
    else window.requestAnimationFrame(draw);
  }

  #drawNow() {
    const { session } = this;
    const { state } = session.connection;
    const room = this.#room;
    if (room?.following && room.attached && !document.hidden && !room.isRead) session.markRead(room);
    if (room) session.rooms.remember(room);
    this.status.show(state, session.outbox.unsent, session.storeProblem);
    this.identification.onState(state);
    this.roomsView.show(roomList(session, room));
    this.#drawFrame();
    if (room) this.#drawRoom(room);
  }

  #drawFrame() {
    const room = this.#room;
    showMe(this.#me);
    const { unread, mentions } = this.session.rooms;
    this.badge.show({ room: room && room.name, unread, mentions });
    this.notificationsView.show();
    find("#menu-dot", HTMLElement).hidden = unread === 0;
    setText(find("#room-title", HTMLElement), room ? `#${room.name}` : "chatkit");
    find("#home", HTMLElement).hidden = room !== null;
    find("#talk", HTMLElement).hidden = room === null || room.refusal !== null;
    if (!room) this.access.clear();
    find("#room-tools", HTMLElement).hidden = room === null;
    this.panes.show(room !== null);
    if (!room) showCommands(find("#home-commands", HTMLElement), "ops", this.identification.isSignedIn);
  }

  /** @param {Room} room */
  #drawRoom(room) {
    const { session } = this;
    const lines = roomLines(session, room, { me: this.#me, parents: this.parents });
    this.log.show(lines, {
      top: explainTop(room),
      follows: room.following,
      hasNewer: room.hasNewer,
      unread: room.unread,
      reveal: this.#reveal,
    });
    this.#reveal = null;
    if (this.#wanted !== null && room.joined) void this.#showMessage(this.#wanted);
    if (room.joined) this.#wanted = null;
    const isQuiet = room.joined && lines.length === 0 && room.head === 0;
    showQuiet(isQuiet ? room : null, this.identification.isSignedIn);
    this.access.show(explainAccess(room, this.identification));
    this.writing.view.maxBytes = session.maxBody;
    this.people.show(room.members, room.count, session.name);
    this.#drawTyping(room);
    if (room.isStale) void session.refresh(room);
  }

  /** @param {Room} room */
  #drawTyping(room) {
    const typingNames = room.typingNames(performance.now());
    this.people.showTyping(typingNames);
    clearTimeout(this.#typingTimer);
    if (typingNames.length) this.#typingTimer = window.setTimeout(() => this.#draw(), 500);
  }
}

new Page().start();
