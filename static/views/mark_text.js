/** Marks the matches of a search in an element, as text. */

import { findAll } from "../text.js";

/**
 * @param {HTMLElement} element
 * @param {string} query matched regardless of case and of composed letters, as the server does
 */
export function markText(element, query) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const nodes = [];
  while (walker.nextNode()) nodes.push(/** @type {Text} */ (walker.currentNode));
  for (const node of nodes) node.replaceWith(...parts(node.data, query));
}

/**
 * @param {string} text
 * @param {string} query
 */
function parts(text, query) {
  /** @type {(string | HTMLElement)[]} */
  const found = [];
  let from = 0;
  for (const [start, end] of findAll(text, query)) {
    const mark = document.createElement("mark");
    mark.append(text.slice(start, end));
    found.push(text.slice(from, start), mark);
    from = end;
  }
  return [...found, text.slice(from)];
}
