/**
 * Parses the body of each message once, and lists the names and rooms that it may refer to. Which of these exist is
 * known only when the message is drawn.
 *
 * @typedef {import("./body.js").Block} Block
 * @typedef {import("./inline.js").Span} Span
 * @typedef {{blocks: Block[], names: Set<string>, rooms: Set<string>}} Parsed
 */

import { parseBody } from "./body.js";
import { actionOf } from "./commands.js";
import { shownText } from "./hook.js";
import { findAll } from "./text.js";

const LEAD_CHARS = 60; // before a match, which then is among the lines that a list of results shows
const LEAD_LINES = 2;

/** @type {WeakMap<object, Parsed>} a message that changes is another object */
const cache = new WeakMap();

/** @param {import("./hook.js").Message & {mentions?: string[]}} message */
export function parsedOf(message) {
  const known = cache.get(message);
  if (known) return known;
  const shown = shownText(message);
  const text = actionOf(shown) ?? shown;
  /** @type {Parsed} */
  const parsed = { blocks: parseBody(text, message.mentions), names: new Set(), rooms: new Set() };
  for (const block of parsed.blocks) collectFromBlock(block, parsed);
  cache.set(message, parsed);
  return parsed;
}

/**
 * @param {Block} block
 * @param {Parsed} found
 */
function collectFromBlock(block, found) {
  if (block.kind === "prose") collect(block.spans, found);
  else if (block.kind === "quote") for (const inner of block.blocks) collectFromBlock(inner, found);
  else if (block.kind === "list") for (const { spans } of block.items) collect(spans, found);
}

/**
 * @param {Span[]} spans
 * @param {Parsed} found
 */
function collect(spans, found) {
  for (const span of spans) {
    if (span.kind === "name") found.names.add(span.name);
    else if (span.kind === "room") found.rooms.add(span.room);
    else if ("spans" in span) collect(span.spans, found);
  }
}

/**
 * Return the text of blocks without their markdown.
 * @param {Block[]} blocks
 * @returns {string}
 */
export function textOf(blocks) {
  return blocks.map(textOfBlock).join("\n");
}

/**
 * Return the text of a message without its markdown, from shortly before the first match of a search. A match in the
 * markdown, such as the address of a link, is shown as it was written.
 * @param {import("./hook.js").Message & {body: string, mentions?: string[]}} message
 * @param {string} query
 */
export function textWithMatch(message, query) {
  const plain = textOf(parsedOf(message).blocks);
  const isPlain = findAll(plain, query).length > 0;
  const text = isPlain ? plain : message.body;
  const at = findAll(text, query)[0]?.[0] ?? 0;
  const before = text.slice(0, at);
  if (at <= LEAD_CHARS && before.split("\n").length <= LEAD_LINES + 1) return text;
  const lineStart = before.lastIndexOf("\n") + 1;
  if (at - lineStart <= LEAD_CHARS) return `…${text.slice(lineStart)}`;
  const space = before.slice(-LEAD_CHARS).indexOf(" ");
  return `…${text.slice(space < 0 ? at : at - LEAD_CHARS + space + 1)}`;
}

/**
 * @param {Block} block
 * @returns {string}
 */
function textOfBlock(block) {
  switch (block.kind) {
    case "prose":
      return block.spans.map(textOfSpan).join("");
    case "list":
      return block.items.map(({ spans }) => spans.map(textOfSpan).join("")).join("\n");
    case "quote":
      return textOf(block.blocks);
    default:
      return block.text;
  }
}

/**
 * @param {Span} span
 * @returns {string}
 */
function textOfSpan(span) {
  if ("spans" in span) return span.spans.map(textOfSpan).join("");
  if (span.kind === "url") return span.href;
  if (span.kind === "name") return `@${span.name}`;
  if (span.kind === "room") return `#${span.room}${span.seq && `/${span.seq}`}`;
  return span.text;
}
