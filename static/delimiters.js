/**
 * The rules for `*`, `_` and `~~`: which runs of them can begin or end bold, italic and struck text. They are stricter
 * than those of CommonMark, so that file names, formulas and patterns stay as they were typed. Pure functions.
 *
 * @typedef {"strong" | "em" | "strike"} Style
 */

// Scripts without spaces, or whose particles follow a word directly, and their punctuation.
const UNSPACED = /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}]/u;
const BEFORE_OPENER = /[\s([{"'“‘«—–|*_~]/u;
const AFTER_OPENER = /[^\s.,;:!?)\]}]/u;
const BEFORE_CLOSER = /[^\s/\\([{]/u;
const AFTER_CLOSER = /[\s.,;:!?)\]}"'”’»—–|…*_~]/u;

/** @type {Record<string, Style>} */
export const STYLES = { "*": "em", _: "em", "**": "strong", "~~": "strike" };

/**
 * Return the delimiters in a run: `***` is the beginning of bold and italic text. Null if the run is text.
 * @param {string} mark
 * @param {number} length
 */
export function sizesOf(mark, length) {
  if (mark === "*") return [[], [1], [2], [2, 1]][length] ?? null;
  return (mark === "_" && length === 1) || (mark === "~" && length === 2) ? [length] : null;
}

/**
 * @param {string} before
 * @param {string} after
 */
export function isOpener(before, after) {
  return (before === "" || BEFORE_OPENER.test(before) || UNSPACED.test(before)) && AFTER_OPENER.test(after);
}

/**
 * @param {string} before
 * @param {string} after
 */
export function isCloser(before, after) {
  return (after === "" || AFTER_CLOSER.test(after) || UNSPACED.test(after)) && BEFORE_CLOSER.test(before);
}
