/**
 * Builds the nodes of a message's body. Inserts text as text and never parses markup.
 *
 * @typedef {import("../body.js").Block} Block
 * @typedef {import("../body.js").Item} Item
 * @typedef {import("../inline.js").Span} Span
 * @typedef {{names: ReadonlySet<string>, rooms: ReadonlySet<string>, me: string}} Known the names and rooms that exist
 */

import { markSpans } from "../characters.js";
import { clone, find, make } from "../dom.js";
import { tokensOf } from "../highlight.js";
import { copyOnClick } from "./copy.js";

/**
 * @param {Block[]} blocks
 * @param {Known} known
 */
export function bodyNodes(blocks, known) {
  return blocks.map((block) => blockNode(block, known));
}

/**
 * Build the nodes of text that is no markdown.
 * @param {string} text
 */
export function plainNodes(text) {
  return markSpans(text).map((span) => (span.kind === "text" ? textNode(span.text) : markNode(span.text, span.name)));
}

/**
 * @param {Block} block
 * @param {Known} known
 * @returns {HTMLElement}
 */
function blockNode(block, known) {
  switch (block.kind) {
    case "prose":
      return make("p", "", ...spanNodes(block.spans, known));
    case "quote":
      return make("blockquote", "", ...bodyNodes(block.blocks, known));
    case "list":
      return listNode(block.items, known);
    case "table":
      return scrolling(make("pre", "table", make("code", "", ...plainNodes(block.text))));
    case "fence":
      return fenceNode(block.text, block.language);
  }
}

/**
 * @param {string} text
 * @param {string} language
 */
function fenceNode(text, language) {
  const element = clone("fence");
  const code = find("code", HTMLElement, element);
  for (const token of tokensOf(text, language)) {
    const nodes = plainNodes(token.text);
    if (token.kind) code.append(make("span", `code-${token.kind}`, ...nodes));
    else code.append(...nodes);
  }
  find(".language", HTMLElement, element).append(language);
  element.classList.toggle("named", language !== "");
  copyOnClick(find("button", HTMLButtonElement, element), () => text);
  scrolling(find("pre", HTMLElement, element));
  return element;
}

/** @param {HTMLElement} element its long lines can be scrolled by keyboard */
function scrolling(element) {
  element.tabIndex = 0;
  return element;
}

/**
 * Nest the items by their levels.
 * @param {Item[]} items
 * @param {Known} known
 */
function listNode(items, known) {
  const root = listElement(items[0]);
  /** @type {HTMLElement[]} the lists that are open, from the outermost to the innermost */
  const open = [root];
  for (const item of items) {
    open.length = Math.min(open.length, item.level + 1);
    let list = /** @type {HTMLElement} */ (open.at(-1));
    if (item.level >= open.length) {
      const inner = listElement(item);
      (list.lastElementChild ?? list).append(inner);
      open.push(inner);
      list = inner;
    }
    const element = make("li", "", ...spanNodes(item.spans, known));
    if (item.number !== null) element.value = item.number;
    list.append(element);
  }
  return root;
}

/** @param {Item | undefined} first */
function listElement(first) {
  return make(first?.number == null ? "ul" : "ol", "");
}

/**
 * @param {Span[]} spans
 * @param {Known} known
 * @returns {Node[]}
 */
function spanNodes(spans, known) {
  return spans.map((span) => spanNode(span, known));
}

/**
 * @param {Span} span
 * @param {Known} known
 * @returns {Node}
 */
function spanNode(span, known) {
  switch (span.kind) {
    case "text":
      return textNode(span.text);
    case "mark":
      return markNode(span.text, span.name);
    case "code":
      return make("code", "", ...plainNodes(span.text));
    case "url":
      return linkNode(span.href, span.href);
    case "link":
      return linkNode(span.href, ...spanNodes(span.spans, known));
    case "name":
      return nameNode(span.name, known);
    case "room":
      return roomNode(span.room, span.seq, known);
    case "strike":
      return make("s", "", ...spanNodes(span.spans, known));
    default:
      return make(span.kind, "", ...spanNodes(span.spans, known));
  }
}

/** @param {string} text */
function textNode(text) {
  return document.createTextNode(text);
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
 * @param {string} href an address of HTTP
 * @param {...(Node | string)} children
 */
export function linkNode(href, ...children) {
  const link = make("a", "", ...children);
  link.href = href;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  if (link.textContent !== href) link.title = href;
  return link;
}

/**
 * @param {string} name
 * @param {Known} known
 */
function nameNode(name, { names, me }) {
  if (!names.has(name)) return textNode(`@${name}`);
  const button = make("button", name === me ? "mention to-me" : "mention", `@${name}`);
  button.type = "button";
  button.dataset.name = name;
  button.title = `Mention ${name}`;
  return button;
}

/**
 * @param {string} room
 * @param {string} seq
 * @param {Known} known
 */
function roomNode(room, seq, { rooms }) {
  const place = seq ? `/${seq}` : "";
  if (!rooms.has(room)) return textNode(`#${room}${place}`);
  const link = make("a", "room-link", `#${room}${place}`);
  link.href = `#${encodeURIComponent(room)}${place}`;
  return link;
}
