/** Builds the elements of a message. Knows no room and no socket. */

import { isEmojiOnly } from "../body.js";
import { actionOf } from "../commands.js";
import { clone, find, hueOf, initialOf, make } from "../dom.js";
import { hookOf, shownText } from "../hook.js";
import { parsedOf } from "../parsed.js";
import { bodyNodes, plainNodes } from "./body.js";
import { cardsElement } from "./card.js";
import { emojiElement } from "./emoji.js";

/**
 * @typedef {import("../protocol.js").Message} Message
 * @typedef {import("./body.js").Known} Known
 * @typedef {import("../transcript.js").MessageLine} MessageLine
 * @typedef {import("../transcript.js").PendingLine} PendingLine
 */

const FOLD_LINES = 30; // a longer message is folded, so that the messages around it stay visible
const FOLD_CHARS = 3_000;
const LABEL_CHARS = 300; // of a long text, a screen reader reads the rest in the message itself

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/**
 * @param {MessageLine} line
 * @param {{onParent: (seq: number) => void, onReaction: (message: Message, emoji: string) => void}} on
 */
export function messageElement({ message, follows, own, hasMarks, parsed, known, parent, canReact }, on) {
  const element = frame(message.sender, message.time, follows, own);
  element.dataset.seq = String(message.seq);
  element.tabIndex = -1; // the view moves the focus between messages
  if (hasMarks) mark(find(".sender", HTMLElement, element), message);
  const head = find(".head", HTMLElement, element);
  if (message.pinned) head.append(clone("pinned-mark"));
  if (parent) head.before(parentElement(parent, on.onParent));
  const text = find(".text", HTMLElement, element);
  if (message.redacted) {
    element.classList.add("redacted");
    text.append("This message was removed.");
  } else {
    const { mentions = [] } = message;
    element.classList.toggle("mentions-me", mentions.includes(known.me) && !own);
    const [shown, names] = [shownText(message), new Set([...known.names, ...mentions])];
    fill(text, shown, parsed.blocks, { ...known, names });
    if (actionOf(shown) !== null) asAction(element, text, message.sender);
    if (message.edited) text.append(" ", editedMark(message.edited.time));
    const hook = hookOf(message);
    if (hook) showHook(element, message.body, hook, { ...known, names });
    else if (message.data !== undefined) text.after(dataElement(message.data));
    if (message.reactions) {
      find(".content", HTMLElement, element).append(reactionsElement(message, known.me, canReact, on.onReaction));
    }
  }
  element.ariaLabel = labelOf(message);
  return element;
}

/**
 * Show the name that the sender of a webhook gave itself, which nobody has checked, and its cards.
 * @param {HTMLElement} element
 * @param {string} body with the texts of the cards
 * @param {import("../hook.js").Hook} hook
 * @param {Known} known
 */
function showHook(element, body, { username, icon, cards }, known) {
  if (username) {
    const alias = make("bdi", "alias", "(", ...(icon ? [emojiElement(icon), " "] : []), `${username})`);
    alias.title = "The program calls itself this; the name before it belongs to its token.";
    find(".head time", HTMLTimeElement, element).before(alias);
  }
  if (cards.length === 0) return;
  const shown = cardsElement(cards, known);
  find(".content", HTMLElement, element).append(shown);
  if (isLong(body)) fold(shown);
}

/**
 * Describe a message to a screen reader that has moved to it.
 * @param {Message} message
 */
function labelOf({ sender, time, body, redacted, edited, pinned, reactions = {} }) {
  const text = redacted ? "This message was removed." : body.slice(0, LABEL_CHARS);
  const counts = Object.entries(reactions).map(([emoji, { count }]) => `${emoji} ${count}`);
  const states = [edited ? "edited" : "", pinned ? "pinned" : "", ...counts].filter(Boolean);
  return [`${sender}, ${CLOCK.format(new Date(time))}: ${text}`, ...states].join(", ");
}

/**
 * @param {import("../transcript.js").Parent} parent
 * @param {(seq: number) => void} onParent
 */
function parentElement({ seq, sender, text }, onParent) {
  const button = clone("parent");
  find(".sender", HTMLElement, button).append(sender);
  find(".excerpt", HTMLElement, button).append(...plainNodes(text));
  if (sender) button.classList.add(hueOf(sender));
  button.onclick = () => onParent(seq);
  return button;
}

/**
 * Show what the sender does, as `/me` says it: the text continues the name.
 * @param {HTMLElement} element
 * @param {HTMLElement} text
 * @param {string} sender
 */
function asAction(element, text, sender) {
  element.classList.add("action");
  (text.querySelector("p") ?? text).prepend(make("bdi", "actor", sender), " ");
}

/** @param {string} time */
function editedMark(time) {
  const element = make("span", "edited", "(edited)");
  element.title = `Edited ${FULL.format(new Date(time))}`;
  return element;
}

/**
 * @param {Message} message
 * @param {string} me
 * @param {boolean} canReact
 * @param {(message: Message, emoji: string) => void} onReaction
 */
function reactionsElement(message, me, canReact, onReaction) {
  const chips = Object.entries(message.reactions ?? {}).map(([emoji, { count, by }]) => {
    const chip = make("button", "reaction", emojiElement(emoji), ` ${count}`);
    chip.type = "button";
    chip.disabled = !canReact;
    chip.ariaPressed = String(by.includes(me));
    const more = count > by.length ? ` and ${count - by.length} more` : "";
    chip.title = by.join(", ") + more;
    chip.ariaLabel = `${emoji} ${count}: ${by.slice(0, 5).join(", ")}`;
    chip.onclick = () => onReaction(message, emoji);
    return chip;
  });
  return make("div", "reactions", ...chips);
}

/**
 * @param {PendingLine} line
 * @param {{onRetry: (key: string) => void, onForget: (key: string) => void}} on
 */
export function pendingElement({ entry, follows, note, canDiscard, sender, known }, on) {
  const element = frame(sender, entry.time, follows, true);
  element.classList.add("pending");
  element.dataset.key = entry.key;
  fill(find(".text", HTMLElement, element), entry.body, parsedOf(entry).blocks, known);
  const foot = clone("pending-foot");
  find(".note", HTMLElement, foot).append(entry.problem ? `Not sent: ${entry.problem}` : note);
  foot.classList.toggle("failed", entry.problem !== undefined);
  find(".retry", HTMLButtonElement, foot).hidden = entry.problem === undefined;
  find(".forget", HTMLButtonElement, foot).hidden = entry.problem === undefined && !canDiscard;
  find(".retry", HTMLButtonElement, foot).onclick = () => on.onRetry(entry.key);
  find(".forget", HTMLButtonElement, foot).onclick = () => on.onForget(entry.key);
  find(".content", HTMLElement, element).append(foot);
  return element;
}

/**
 * Build the element of a search result.
 * @param {Message} message
 * @param {string} text what is shown of it, up to a bound
 * @param {boolean} hasMarks
 * @param {() => void} onOpen
 */
export function foundElement(message, text, hasMarks, onOpen) {
  const element = clone("found");
  find(".sender", HTMLElement, element).append(message.sender);
  if (hasMarks) mark(find(".sender", HTMLElement, element), message);
  const date = new Date(message.time);
  setTime(find("time", HTMLTimeElement, element), message.time, SHORT.format(date), FULL.format(date));
  const shown = text.length > 400 ? `${text.slice(0, 400)}…` : text;
  find(".text", HTMLElement, element).append(...plainNodes(shown));
  find("button", HTMLButtonElement, element).onclick = onOpen;
  return element;
}

/**
 * Add the marks of a sender after the name.
 * @param {HTMLElement} sender
 * @param {Message} message
 */
function mark(sender, { verified, bot }) {
  if (bot) sender.after(clone("bot-mark"));
  if (verified) sender.after(clone("verified-mark"));
  else sender.title = "This name is not verified: it was chosen freely.";
}

/**
 * @param {string} sender
 * @param {string} time
 * @param {boolean} follows
 * @param {boolean} own
 */
function frame(sender, time, follows, own) {
  const element = clone("message");
  element.classList.toggle("follows", follows);
  element.classList.toggle("own", own);
  element.classList.add(hueOf(sender));
  find(".avatar", HTMLElement, element).append(initialOf(sender));
  find(".sender", HTMLElement, element).append(sender);
  const date = new Date(time);
  const [clock, full] = [CLOCK.format(date), FULL.format(date)]; // once for both places
  for (const place of element.querySelectorAll("time")) setTime(place, time, clock, full);
  return element;
}

/**
 * @param {HTMLTimeElement} element
 * @param {string} time
 * @param {string} text
 * @param {string} title
 */
function setTime(element, time, text, title) {
  element.dateTime = time;
  element.title = title;
  element.append(text);
}

/**
 * @param {HTMLElement} element
 * @param {string} body
 * @param {import("../body.js").Block[]} blocks
 * @param {Known} known
 */
function fill(element, body, blocks, known) {
  element.append(...bodyNodes(blocks, known));
  element.classList.toggle("large", isEmojiOnly(body));
  if (isLong(body)) fold(element);
}

/** @param {string} text */
function isLong(text) {
  return text.length > FOLD_CHARS || text.split("\n", FOLD_LINES + 1).length > FOLD_LINES;
}

/** @param {HTMLElement} element */
function fold(element) {
  const button = make("button", "unfold", "Show all");
  button.type = "button";
  button.ariaExpanded = "false";
  button.onclick = () => {
    const isFolded = element.classList.toggle("folded");
    button.ariaExpanded = String(!isFolded);
    button.textContent = isFolded ? "Show all" : "Show less";
  };
  element.classList.add("folded");
  element.after(button);
}

/** @param {unknown} data */
function dataElement(data) {
  const details = make("details", "data", make("summary", "", "data"));
  details.addEventListener(
    "toggle",
    () => {
      const json = JSON.stringify(data, null, 2);
      details.append(make("pre", "", make("code", "", ...plainNodes(json))));
    },
    { once: true },
  );
  return details;
}
