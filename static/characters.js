/**
 * Makes characters with an effect (escape sequences, bidi overrides) visible, so that no message changes the text around
 * it. Returns values, never markup.
 *
 * @typedef {{kind: "text", text: string} | {kind: "mark", text: string, name: string}} Plain
 */

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g;

/** @type {Record<string, string>} */
const BIDI = {
  "\u202a": "LRE",
  "\u202b": "RLE",
  "\u202c": "PDF",
  "\u202d": "LRO",
  "\u202e": "RLO",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
};

/**
 * Split text into plain text and visible marks for control characters.
 * @param {string} text
 * @returns {Plain[]}
 */
export function markSpans(text) {
  /** @type {Plain[]} */
  const spans = [];
  let from = 0;
  for (const { 0: char, index } of text.matchAll(CONTROL)) {
    if (index > from) spans.push({ kind: "text", text: text.slice(from, index) });
    spans.push({ kind: "mark", ...markOf(char) });
    from = index + 1;
  }
  if (from < text.length) spans.push({ kind: "text", text: text.slice(from) });
  return spans;
}

/** @param {string} char */
function markOf(char) {
  const code = char.charCodeAt(0);
  const name = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  if (code < 0x20 || code === 0x7f) return { text: `^${String.fromCharCode(code ^ 0x40)}`, name }; // as terminals do
  return { text: BIDI[char] ?? name, name };
}
