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

/** @type {WeakMap<object, Parsed>} a message that changes is another object */
const cache = new WeakMap();

/** @param {{body: string, mentions?: string[]}} message */
export function parsedOf(message) {
  const known = cache.get(message);
  if (known) return known;
  const text = actionOf(message.body) ?? message.body;
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
