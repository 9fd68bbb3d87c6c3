/**
 * Parses a message's text into blocks: paragraphs, quotes, lists, tables and fenced code. Returns values, never markup;
 * the view inserts them as text. A text that is no markdown stays as it was typed. Takes time in proportion to the
 * length of the text. A pure function.
 *
 * @typedef {import("./inline.js").Span} Span
 * @typedef {{level: number, number: number | null, spans: Span[]}} Item `number`: null in a list with bullets
 * @typedef {{kind: "prose", spans: Span[]} | {kind: "fence", language: string, text: string}
 *   | {kind: "table", text: string} | {kind: "quote", blocks: Block[]} | {kind: "list", items: Item[]}} Block
 */

import { parseInline } from "./inline.js";

const FENCE = /^(`{3,40})([\w+#.-]{0,20})[ \t]*$/;
const FENCE_END = /^`{3,40}[ \t]*$/;
const QUOTE = /^> ?$|^> /; // `>_<` and `>>>` are no quotes
const ITEM = /^([ \t]{0,12})(?:[-*]|(\d{1,9})[.)]) (?=[^\s])/;
const CONTINUED = /^[ \t]{2,}(?=[^\s])/; // of a list's item
const DELIMITERS = /^[|:\- \t]+$/; // the second line of a table
const MAX_QUOTES = 4; // quotes inside of more quotes stay as they were typed
const MAX_LEVELS = 4;
const EMOJI = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f\s]{1,24}$/u;
const PICTURE = /\p{Extended_Pictographic}/u;

/**
 * @param {string} body
 * @param {readonly string[]} [names] the names that the message mentions
 * @returns {Block[]}
 */
export function parseBody(body, names = []) {
  return new BlockParser(body.replaceAll("\r\n", "\n").split("\n"), names, 0).parse();
}

/**
 * Whether the text consists of a few emoji, which are shown large.
 * @param {string} body
 */
export function isEmojiOnly(body) {
  return EMOJI.test(body) && PICTURE.test(body);
}

class BlockParser {
  /** @type {Block[]} */
  #blocks = [];
  /** @type {string[]} */
  #prose = [];
  #at = 0;
  /** @type {Map<string, number[]>} run of backticks to the lines that consist of it, the last one first */
  #fenceEnds = new Map();

  /**
   * @param {string[]} lines
   * @param {readonly string[]} names
   * @param {number} depth the number of quotes around the lines
   */
  constructor(lines, names, depth) {
    this.lines = lines;
    this.names = names;
    this.depth = depth;
    for (let at = lines.length - 1; at >= 0; at--) {
      const line = this.#line(at);
      if (FENCE_END.test(line)) this.#addFenceEnd(line.trimEnd(), at);
    }
  }

  parse() {
    while (this.#at < this.lines.length) {
      if (this.#readFence() || this.#readQuote() || this.#readList() || this.#readTable()) continue;
      this.#prose.push(this.#line(this.#at++));
    }
    this.#endProse();
    return this.#blocks;
  }

  /** @param {number} at */
  #line(at) {
    return this.lines[at] ?? "";
  }

  /**
   * @param {string} run
   * @param {number} at
   */
  #addFenceEnd(run, at) {
    const ends = this.#fenceEnds.get(run);
    if (ends) ends.push(at);
    else this.#fenceEnds.set(run, [at]);
  }

  /** @param {Block} block */
  #add(block) {
    this.#endProse();
    this.#blocks.push(block);
  }

  #endProse() {
    const lines = this.#prose;
    this.#prose = [];
    let from = 0;
    while (from < lines.length && lines[from] === "") from++;
    const text = lines.slice(from).join("\n").trimEnd();
    if (text) this.#blocks.push({ kind: "prose", spans: parseInline(text, this.names) });
  }

  #readFence() {
    const [, run = "", language = ""] = FENCE.exec(this.#line(this.#at)) ?? [];
    if (!run) return false;
    const ends = this.#fenceEnds.get(run) ?? [];
    while (ends.length && (ends.at(-1) ?? 0) <= this.#at) ends.pop();
    const end = ends.at(-1);
    if (end === undefined) return false; // not closed: it stays as it was typed
    this.#add({ kind: "fence", language, text: this.lines.slice(this.#at + 1, end).join("\n") });
    this.#at = end + 1;
    return true;
  }

  #readQuote() {
    if (this.depth >= MAX_QUOTES || !this.#line(this.#at).startsWith("> ")) return false;
    const lines = this.#readWhile((line) => QUOTE.test(line)).map((line) => line.slice(2));
    this.#add({ kind: "quote", blocks: new BlockParser(lines, this.names, this.depth + 1).parse() });
    return true;
  }

  #readList() {
    if (!ITEM.test(this.#line(this.#at))) return false;
    /** @type {{level: number, number: number | null, text: string}[]} */
    const items = [];
    /** @type {number[]} the indents of the levels */
    const indents = [];
    for (; this.#at < this.lines.length; this.#at++) {
      const line = this.#line(this.#at);
      const match = ITEM.exec(line);
      const last = items.at(-1);
      if (match) {
        const [marker, indent = "", digits] = match;
        const level = levelOf(indent.length, indents);
        const number = digits === undefined ? null : Number(digits);
        // Another kind of marker begins another list, as in CommonMark.
        if (level === 0 && items[0] && (items[0].number === null) !== (number === null)) break;
        items.push({ level, number, text: line.slice(marker.length) });
      } else if (last && CONTINUED.test(line)) {
        last.text += `\n${line.trimStart()}`;
      } else {
        break;
      }
    }
    const parsed = items.map(({ level, number, text }) => ({ level, number, spans: parseInline(text, this.names) }));
    this.#add({ kind: "list", items: parsed });
    return true;
  }

  #readTable() {
    const isTable =
      this.#line(this.#at).includes("|") && isDelimiters(this.#line(this.#at + 1)) && this.#line(this.#at + 1) !== "";
    if (!isTable) return false;
    this.#add({ kind: "table", text: this.#readWhile((line) => line.includes("|")).join("\n") });
    return true;
  }

  /** @param {(line: string) => boolean} belongs */
  #readWhile(belongs) {
    const from = this.#at;
    while (this.#at < this.lines.length && belongs(this.#line(this.#at))) this.#at++;
    return this.lines.slice(from, this.#at);
  }
}

/** @param {string} line */
function isDelimiters(line) {
  return line.includes("|") && line.includes("-") && DELIMITERS.test(line);
}

/**
 * Return the level of an item by its indent; `indents` are those of the items around it.
 * @param {number} indent
 * @param {number[]} indents
 */
function levelOf(indent, indents) {
  while (indents.length && indent < (indents.at(-1) ?? 0)) indents.pop();
  if (indents.length === 0 || (indent > (indents.at(-1) ?? 0) + 1 && indents.length < MAX_LEVELS)) indents.push(indent);
  return indents.length - 1;
}
