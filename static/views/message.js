/** Builds the elements of a message. Knows no room and no socket. */

import { markSpans, parseBody } from "../body.js";
import { clone, find, hueOf, initialOf, make } from "../dom.js";

/**
 * @typedef {import("../transcript.js").MessageLine} MessageLine
 * @typedef {import("../transcript.js").PendingLine} PendingLine
 */

const FOLD_LINES = 30; // a longer message is folded, so that the messages around it stay visible
const FOLD_CHARS = 3_000;

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/**
 * @param {MessageLine} line
 * @param {(message: import("../protocol.js").Message, button: HTMLElement) => void} onMenu
 */
export function messageElement({ message, follows, own, hasMarks, hasMenu }, onMenu) {
  const element = frame(message.sender, message.time, follows, own);
  element.dataset.seq = String(message.seq);
  if (hasMarks) mark(find(".sender", HTMLElement, element), message);
  if (hasMenu) element.append(menuButton(message, onMenu));
  const text = find(".text", HTMLElement, element);
  if (message.redacted) {
    element.classList.add("redacted");
    text.append("This message was removed.");
    return element;
  }
  fill(text, message.body);
  if (message.data !== undefined) text.after(dataElement(message.data));
  return element;
}

/**
 * @param {PendingLine} line
 * @param {{onRetry: (key: string) => void, onForget: (key: string) => void}} on
 */
export function pendingElement({ entry, follows, note, sender }, on) {
  const element = frame(sender, entry.time, follows, true);
  element.classList.add("pending");
  element.dataset.key = entry.key;
  fill(find(".text", HTMLElement, element), entry.body);
  const foot = clone("pending-foot");
  find(".note", HTMLElement, foot).append(entry.problem ? `Not sent: ${entry.problem}` : note);
  foot.classList.toggle("failed", entry.problem !== undefined);
  find(".retry", HTMLButtonElement, foot).onclick = () => on.onRetry(entry.key);
  find(".forget", HTMLButtonElement, foot).onclick = () => on.onForget(entry.key);
  find(".content", HTMLElement, element).append(foot);
  return element;
}

/**
 * Build the element of a search result.
 * @param {import("../protocol.js").Message} message
 * @param {boolean} hasMarks
 * @param {() => void} onOpen
 */
export function foundElement(message, hasMarks, onOpen) {
  const element = clone("found");
  find(".sender", HTMLElement, element).append(message.sender);
  if (hasMarks) mark(find(".sender", HTMLElement, element), message);
  setTime(find("time", HTMLTimeElement, element), message.time, SHORT);
  const body = message.body.length > 400 ? `${message.body.slice(0, 400)}…` : message.body;
  find(".text", HTMLElement, element).append(...markSpans(body).map(spanNode));
  find("button", HTMLButtonElement, element).onclick = onOpen;
  return element;
}

/**
 * Add the marks of a sender after the name.
 * @param {HTMLElement} sender
 * @param {import("../protocol.js").Message} message
 */
function mark(sender, { verified, bot }) {
  if (bot) sender.after(clone("bot-mark"));
  if (verified) sender.after(clone("verified-mark"));
  else sender.title = "This name is not verified: it was chosen freely.";
}

/**
 * @param {import("../protocol.js").Message} message
 * @param {(message: import("../protocol.js").Message, button: HTMLElement) => void} onMenu
 */
function menuButton(message, onMenu) {
  const button = clone("more");
  button.ariaLabel = `Actions for message ${message.seq} of ${message.sender}`;
  button.onclick = () => onMenu(message, button);
  return button;
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
  for (const place of element.querySelectorAll("time")) setTime(place, time, CLOCK);
  return element;
}

/**
 * @param {HTMLTimeElement} element
 * @param {string} time
 * @param {Intl.DateTimeFormat} format
 */
function setTime(element, time, format) {
  const date = new Date(time);
  element.dateTime = time;
  element.title = FULL.format(date);
  element.append(format.format(date));
}

/**
 * @param {HTMLElement} element
 * @param {string} body
 */
function fill(element, body) {
  element.append(...parseBody(body).map(blockNode));
  const lines = body.split("\n", FOLD_LINES + 1).length;
  if (lines > FOLD_LINES || body.length > FOLD_CHARS) fold(element);
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

/** @param {import("../body.js").Block} block */
function blockNode(block) {
  if (block.kind === "prose") return make("p", "", ...block.spans.map(spanNode));
  const code = make("pre", "fence", make("code", "", ...markSpans(block.text).map(spanNode)));
  code.tabIndex = 0; // long lines can be scrolled by keyboard
  if (block.language) code.dataset.language = block.language;
  return code;
}

/**
 * @param {import("../body.js").Span} span
 * @returns {Node}
 */
function spanNode(span) {
  switch (span.kind) {
    case "text":
      return document.createTextNode(span.text);
    case "mark":
      return markNode(span.text, span.name);
    case "code":
      return make("code", "", ...markSpans(span.text).map(spanNode));
    case "link":
      return linkNode(span.text, span.href);
  }
}

/**
 * @param {string} text
 * @param {string} name
 */
function markNode(text, name) {
  const element = make("span", "mark", text);
  element.title = `Control character ${name}`;
  return element;
}

/**
 * @param {string} text
 * @param {string} href
 */
function linkNode(text, href) {
  const link = make("a", "", text);
  link.href = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  return link;
}

/** @param {unknown} data */
function dataElement(data) {
  const details = make("details", "data", make("summary", "", "data"));
  details.addEventListener(
    "toggle",
    () => {
      const json = JSON.stringify(data, null, 2);
      details.append(make("pre", "", make("code", "", ...markSpans(json).map(spanNode))));
    },
    { once: true },
  );
  return details;
}
