/**
 * Parses a message's text into prose with links and code, and fenced code. Returns values, never markup; the view
 * inserts them as text. Characters with an effect (escape sequences, bidi overrides) become visible marks.
 *
 * @typedef {{kind: "text", text: string} | {kind: "mark", text: string, name: string}
 *   | {kind: "link", text: string, href: string} | {kind: "code", text: string}} Span
 * @typedef {{kind: "prose", spans: Span[]} | {kind: "fence", language: string, text: string}} Block
 */

const FENCE = /^```([\w+#.-]{0,20})\s*$/;
const MAX_LINK_CHARS = 2_048; // nobody follows a longer link
const PUNCTUATION = ".,;:!?'*_"; // of the sentence around a link
const INLINE = /`([^`\n]+)`|(https?:\/\/[^\s<>"`\p{C}]+)/gu;
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
 * @param {string} body
 * @returns {Block[]}
 */
export function parseBody(body) {
  /** @type {Block[]} */
  const blocks = [];
  const lines = body.replaceAll("\r\n", "\n").split("\n");
  let prose = 0;
  for (let at = 0; at < lines.length; at++) {
    const language = FENCE.exec(lines[at] ?? "")?.[1];
    if (language === undefined) continue;
    let end = at + 1;
    while (end < lines.length && lines[end]?.trimEnd() !== "```") end++;
    if (end === lines.length) break; // not closed: this and the rest stay prose
    addProse(blocks, lines.slice(prose, at));
    blocks.push({ kind: "fence", language, text: lines.slice(at + 1, end).join("\n") });
    prose = end + 1;
    at = end;
  }
  addProse(blocks, lines.slice(prose));
  return blocks;
}

/**
 * @param {Block[]} blocks
 * @param {string[]} lines
 */
function addProse(blocks, lines) {
  const text = lines.join("\n").replace(/^\n+/, "").trimEnd();
  if (text) blocks.push({ kind: "prose", spans: spansOf(text) });
}

/**
 * @param {string} text
 * @returns {Span[]}
 */
function spansOf(text) {
  /** @type {Span[]} */
  const spans = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, url] = match;
    const link = url === undefined ? null : trimLink(url);
    if (url !== undefined && !link) continue;
    spans.push(...markSpans(text.slice(from, match.index)));
    spans.push(link ? { kind: "link", text: link, href: link } : { kind: "code", text: code ?? "" });
    from = match.index + (link ?? whole).length;
  }
  return [...spans, ...markSpans(text.slice(from))];
}

/**
 * Split text into plain text and visible marks for control characters.
 * @param {string} text
 * @returns {(Extract<Span, {kind: "text" | "mark"}>)[]}
 */
export function markSpans(text) {
  /** @type {(Extract<Span, {kind: "text" | "mark"}>)[]} */
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

/**
 * Return the link without the punctuation of the sentence around it, or null if it is not a URL.
 * @param {string} text
 */
function trimLink(text) {
  if (text.length > MAX_LINK_CHARS) return null;
  let end = text.length;
  let unopened = count(text, ")") - count(text, "(");
  for (; end > 0; end--) {
    const last = text[end - 1] ?? "";
    if (last === ")" && unopened > 0) unopened--;
    else if (!PUNCTUATION.includes(last)) break;
  }
  const link = text.slice(0, end);
  return URL.canParse(link) ? link : null;
}

/**
 * @param {string} text
 * @param {string} char
 */
function count(text, char) {
  return text.split(char).length - 1;
}
