/** Finds the line of the log at a height, by binary search: each question for a position costs, with 500 lines. */

/**
 * Return the first line that ends below a height, or null.
 * @param {HTMLElement} log
 * @param {number} top
 */
export function lineAt(log, top) {
  const lines = /** @type {HTMLCollectionOf<HTMLElement>} */ (log.children);
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const line = lines[middle];
    if (line && line.offsetTop + line.offsetHeight <= top) low = middle + 1;
    else high = middle;
  }
  return lines[low] ?? null;
}

/**
 * Return the ids of the lines between two heights.
 * @param {HTMLElement} log
 * @param {number} top
 * @param {number} bottom
 */
export function idsBetween(log, top, bottom) {
  /** @type {Set<string>} */
  const ids = new Set();
  /** @type {Element | null} */
  let line = lineAt(log, top);
  for (; line instanceof HTMLElement && line.offsetTop < bottom; line = line.nextElementSibling) {
    ids.add(line.dataset.line ?? "");
  }
  return ids;
}
