/** Marks the matches of a search in an element, as text. */

/**
 * @param {HTMLElement} element
 * @param {string} query matched without regard to case, as the server does
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
  const [haystack, needle] = [text.toLowerCase(), query.toLowerCase()];
  // Lower case may have another length, for example that of `İ`; then positions in it are not positions in the text.
  if (haystack.length !== text.length || !needle) return [text];
  /** @type {(string | HTMLElement)[]} */
  const found = [];
  let from = 0;
  for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, from)) {
    const mark = document.createElement("mark");
    mark.append(text.slice(at, at + needle.length));
    found.push(text.slice(from, at), mark);
    from = at + needle.length;
  }
  return [...found, text.slice(from)];
}
