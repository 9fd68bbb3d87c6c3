/**
 * Decides which messages the browser announces outside of the page, and does so: by a notification and, if the user
 * wants it, a sound. The choice of each room is kept in this browser. Knows no element of the page.
 *
 * @typedef {"all" | "mentions" | "none"} Level
 * @typedef {import("./protocol.js").Message} Message
 */

import { fragmentOf } from "./address.js";

const MAX_BODY_CHARS = 200; // the systems show about this much
const TONES_HZ = [660, 880];
const TONE_S = 0.12;

export class Notifications {
  /** Whether the page should ask if the user wants notifications: somebody mentioned the user while it was hidden. */
  isOffered = false;

  /**
   * @param {object} page
   * @param {import("./storage.js").Store} page.store
   * @param {(room: string) => boolean} page.isWatching whether the user sees the newest messages of a room
   * @param {(room: string, seq: number) => void} page.onOpen
   * @param {() => void} page.onChange
   */
  constructor(page) {
    this.page = page;
    // A notification of the service worker is clicked there.
    navigator.serviceWorker?.addEventListener("message", ({ data }) => {
      if (typeof data?.room === "string") page.onOpen(data.room, Number(data.seq));
    });
  }

  /** Whether notifications are "granted", "denied", not decided ("default"), or not known to this browser. */
  get permission() {
    return "Notification" in window ? Notification.permission : "unsupported";
  }

  /**
   * @param {string} room
   * @returns {Level}
   */
  levelOf(room) {
    const level = this.page.store.get(`notify.${room}`);
    return level === "all" || level === "none" ? level : "mentions";
  }

  /**
   * @param {string} room
   * @param {Level} level
   */
  setLevel(room, level) {
    if (level === "mentions") this.page.store.delete(`notify.${room}`);
    else this.page.store.set(`notify.${room}`, level);
  }

  /**
   * @param {string} oldName
   * @param {string} name
   */
  renameRoom(oldName, name) {
    const level = this.levelOf(oldName);
    this.page.store.delete(`notify.${oldName}`);
    this.setLevel(name, level);
  }

  get hasSound() {
    return this.page.store.get("sound") === "on";
  }

  set hasSound(isOn) {
    this.page.store.set("sound", isOn ? "on" : "off");
    if (isOn) void playSound();
  }

  /** Ask for the permission to notify. The browser shows the question only after a click. */
  async ask() {
    this.isOffered = false;
    if (this.permission === "default") await Notification.requestPermission();
    this.page.onChange();
  }

  /** The user does not want to be asked again. */
  decline() {
    this.isOffered = false;
    this.page.store.set("notify-declined", "");
    this.page.onChange();
  }

  /**
   * A new message of somebody else arrived.
   * @param {Message} message
   * @param {string} me the user's name
   */
  onMessage(message, me) {
    const isMention = message.mentions?.includes(me) ?? false;
    const level = this.levelOf(message.room);
    if (level === "none" || (level === "mentions" && !isMention) || this.page.isWatching(message.room)) return;
    if (this.hasSound) void playSound();
    if (this.permission === "granted") void show(message);
    else if (isMention && document.hidden) this.#offer();
  }

  #offer() {
    if (this.permission !== "default" || this.page.store.get("notify-declined") !== null) return;
    this.isOffered = true;
    this.page.onChange();
  }
}

/** @param {Message} message */
async function show({ room, seq, sender, body }) {
  const options = {
    body: body.slice(0, MAX_BODY_CHARS),
    tag: `chatkit ${room}`, // the newest message of a room replaces the one before, also that of another tab
    icon: new URL("static/icon.png", document.baseURI).href,
    data: { room, seq },
  };
  const worker = await navigator.serviceWorker?.getRegistration();
  // On Android, only a service worker may notify.
  if (worker) return worker.showNotification(`${sender} in #${room}`, options);
  const notification = new Notification(`${sender} in #${room}`, options);
  notification.onclick = () => {
    window.focus();
    window.location.hash = fragmentOf(room, seq);
    notification.close();
  };
}

async function playSound() {
  const audio = new AudioContext();
  const gain = audio.createGain();
  gain.gain.value = 0.05;
  gain.connect(audio.destination);
  TONES_HZ.forEach((frequency, index) => {
    const tone = audio.createOscillator();
    tone.frequency.value = frequency;
    tone.connect(gain);
    tone.start(audio.currentTime + index * TONE_S);
    tone.stop(audio.currentTime + (index + 1) * TONE_S);
  });
  await pause(TONES_HZ.length * TONE_S * 1_000 + 100);
  await audio.close(); // a browser allows only a few
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}
