/**
 * Compares text from people, regardless of composed and decomposed letters and of case, as the server does
 * (chatkit/core/text.py; `tests/vectors/text.json` has examples for both). Takes time in proportion to the text.
 */

// A letter with its marks, or a syllable of Hangul with its parts: what may be composed to one character. A run of marks
// is cut, because the time to normalize it grows with the square of its length.
const PIECE = /(?:[\u1100-\u115f\uac00-\ud7a3][\u1160-\u11ff]{1,2}|\P{M})\p{M}{0,32}|\p{M}{1,32}/uy;
const MARK = /\p{M}/u;
const ASCII = /^[\x00-\x7f]*$/;
const DOTLESS = "ı"; // its capital is that of another letter

/**
 * Return the form in which texts are compared.
 * @param {string} text
 */
export function fold(text) {
  if (ASCII.test(text)) return text.toLowerCase();
  return [...pieces(text, 0)].map(foldPiece).join("");
}

/**
 * Return where a text contains another one, as the beginnings and ends of the parts.
 * @param {string} text
 * @param {string} query
 * @returns {[number, number][]}
 */
export function findAll(text, query) {
  const needle = fold(query);
  if (!needle) return [];
  const { folded, starts, ends } = foldWithPositions(text);
  /** @type {[number, number][]} */
  const found = [];
  for (let at = folded.indexOf(needle); at >= 0; at = folded.indexOf(needle, at + needle.length)) {
    const start = starts[at] ?? at;
    const end = ends[at + needle.length - 1] ?? at + needle.length;
    if (start >= (found.at(-1)?.[1] ?? 0)) found.push([start, end]);
  }
  return found;
}

/**
 * Return the length of a name that a text has at a position, in whatever form it is written there, or 0.
 * @param {string} text
 * @param {number} at
 * @param {string} name in NFC
 */
export function lengthAt(text, at, name) {
  if (text.startsWith(name, at)) {
    const after = text.codePointAt(at + name.length);
    if (after === undefined || !MARK.test(String.fromCodePoint(after))) return name.length;
  }
  if (ASCII.test(name)) return 0;
  let [composed, end] = ["", at];
  for (const piece of pieces(text, at)) {
    composed += piece.normalize("NFC");
    end += piece.length;
    if (composed === name) return end - at;
    if (!name.startsWith(composed)) return 0;
  }
  return 0;
}

/**
 * Fold a text; `starts` and `ends` are the positions in it of each folded unit, empty if they are the same.
 * @param {string} text
 */
function foldWithPositions(text) {
  /** @type {number[]} */
  const starts = [];
  /** @type {number[]} */
  const ends = [];
  if (ASCII.test(text)) return { folded: text.toLowerCase(), starts, ends };
  const parts = [];
  let at = 0;
  for (const piece of pieces(text, 0)) {
    const part = foldPiece(piece);
    for (let unit = 0; unit < part.length; unit++) {
      starts.push(at);
      ends.push(at + piece.length);
    }
    parts.push(part);
    at += piece.length;
  }
  return { folded: parts.join(""), starts, ends };
}

/**
 * @param {string} text
 * @param {number} at
 */
function* pieces(text, at) {
  while (at < text.length) {
    PIECE.lastIndex = at;
    const piece = PIECE.exec(text)?.[0] ?? text.charAt(at);
    yield piece;
    at += piece.length;
  }
}

/** @param {string} piece */
function foldPiece(piece) {
  const lower = piece.normalize("NFC").toLowerCase();
  return lower === DOTLESS ? lower : lower.toUpperCase().toLowerCase(); // `ß` becomes `ss`
}
