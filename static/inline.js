/**
 * Parses a paragraph into text, code, links, emphasis, names and rooms. Takes time in proportion to the length of the
 * text: each character is read a bounded number of times, and each delimiter is pushed and popped once. What is no
 * markup stays as it was typed. A pure function.
 *
 * @typedef {import("./characters.js").Plain} Plain
 * @typedef {import("./delimiters.js").Style} Style
 * @typedef {Plain | {kind: "code", text: string} | {kind: "url", href: string}
 *   | {kind: "name", name: string} | {kind: "room", room: string, seq: string}
 *   | {kind: Style, spans: Span[]} | {kind: "link", href: string, spans: Span[]}} Span
 *
 * A part of the flat list before it is nested: text, a finished span, or the beginning or end of a span.
 * @typedef {{open: Style | "link", href: string} | {close: true}} Edge
 * @typedef {string | Span | Edge} Part
 * @typedef {{mark: string, length: number, at: number}} Opener
 */

import { markSpans } from "./characters.js";
import { isCloser, isOpener, sizesOf, STYLES } from "./delimiters.js";
import { lengthAt } from "./text.js";

const MAX_LINK_CHARS = 2_048; // nobody follows a longer link
const PUNCTUATION = ".,;:!?'*_~]"; // of the sentence around a link
const MAX_NAMES = 100; // of the names that a message mentions, so many are looked for
const TOKEN = /\n|`+|https?:\/\/[^\s<>"`\p{C}]+|\*+|_+|~+|\[|\]|@|#/gu;
const TARGET = /\]\(((?:https?:\/\/|mailto:)(?:[^\s()<>"`\p{C}]|\([^\s()<>"`\p{C}]*\))+)\)/uy;
// A character of a name may be decomposed to four.
const NAME = /[\p{L}\p{N}][\p{L}\p{N}\p{M}_.-]{0,127}/uy;
const ROOM = /([\p{L}\p{N}_-][\p{L}\p{N}\p{M}_.-]{0,255})(?:\/(\d{1,15}))?/uy;
const WORD = /[\p{L}\p{N}\p{M}_@#&/.]/u; // before `@` and `#`, these belong to a mail address, an entity or a URL
const LETTER = /[\p{L}\p{N}_]/u;

/**
 * @param {string} text
 * @param {readonly string[]} names the names that the message mentions; these may contain spaces
 * @returns {Span[]}
 */
export function parseInline(text, names = []) {
  return new InlineParser(text, names).parse();
}

class InlineParser {
  /** @type {Part[]} */
  #parts = [];
  /** @type {Opener[]} what is open, from the outermost to the innermost */
  #open = [];
  /** @type {Map<string, number>} how many openers of a character are open */
  #counts = new Map();
  #from = 0; // where the text begins that is not in a part yet
  #at = 0;
  #lastUrl = -1; // the part of the last URL: a link whose text contains one could show a wrong address
  /** @type {Map<number, number[]> | null} length of a run of backticks to where such runs begin, the last one first */
  #runs = null;
  #lineEnd = -1;

  /**
   * @param {string} text
   * @param {readonly string[]} names
   */
  constructor(text, names) {
    this.text = text;
    this.names = names.slice(0, MAX_NAMES).toSorted((a, b) => b.length - a.length);
  }

  parse() {
    for (;;) {
      TOKEN.lastIndex = this.#at;
      const match = TOKEN.exec(this.text);
      if (!match) break;
      const [token] = match;
      this.#at = match.index + token.length;
      this.#onToken(token, match.index);
    }
    this.#flush(this.text.length);
    return nest(this.#parts);
  }

  /**
   * @param {string} token
   * @param {number} start
   */
  #onToken(token, start) {
    switch (token[0]) {
      case "\n":
        return this.#closeLine();
      case "`":
        return this.#onCode(token.length, start);
      case "h":
        return this.#onUrl(token, start);
      case "[":
        return this.#push({ mark: "[", length: 1, at: this.#addText(start, "[") });
      case "]":
        return this.#onTarget(start);
      case "@":
        return this.#onName(start);
      case "#":
        return this.#onRoom(start);
      default:
        return this.#onRun(token, start);
    }
  }

  /** Emphasis ends with its line, so that a lone asterisk does not change the lines below it. */
  #closeLine() {
    this.#open = [];
    this.#counts.clear();
  }

  /**
   * @param {number} length of the run of backticks
   * @param {number} start
   */
  #onCode(length, start) {
    const from = this.#at;
    const end = this.#nextRun(length, from);
    if (end === undefined || end > this.#endOfLine(from)) return;
    const isPadded = length > 1 && this.text[from] === " " && this.text[end - 1] === " " && end - from > 2;
    const code = isPadded ? this.text.slice(from + 1, end - 1) : this.text.slice(from, end);
    this.#addPart(start, { kind: "code", text: code }, end + length);
  }

  /** @param {number} from */
  #endOfLine(from) {
    if (this.#lineEnd < from) this.#lineEnd = this.text.indexOf("\n", from);
    if (this.#lineEnd < 0) this.#lineEnd = Infinity;
    return this.#lineEnd;
  }

  /**
   * Return where the next run of exactly so many backticks begins.
   * @param {number} length
   * @param {number} from
   */
  #nextRun(length, from) {
    this.#runs ??= runsOf(this.text);
    const starts = this.#runs.get(length) ?? [];
    while (starts.length && (starts.at(-1) ?? 0) < from) starts.pop();
    return starts.at(-1);
  }

  /**
   * @param {string} token
   * @param {number} start
   */
  #onUrl(token, start) {
    const href = trimLink(token);
    if (href === null) return;
    this.#lastUrl = this.#addPart(start, { kind: "url", href }, start + href.length);
  }

  /** @param {number} start of `]` */
  #onTarget(start) {
    if (!this.#counts.get("[")) return;
    TARGET.lastIndex = start;
    const match = TARGET.exec(this.text);
    const href = match?.[1];
    const opener = this.#popTo("[");
    if (!match || !href || !opener || href.length > MAX_LINK_CHARS || !URL.canParse(href)) return;
    if (this.#lastUrl > opener.at || this.text[start - 1] === "[") return;
    this.#parts[opener.at] = { open: "link", href };
    this.#addPart(start, { close: true }, start + match[0].length);
    this.#lastUrl = this.#parts.length; // links are not nested
  }

  /** @param {number} start */
  #onName(start) {
    if (WORD.test(this.#before(start))) return;
    for (const name of this.names) {
      const end = start + 1 + lengthAt(this.text, start + 1, name);
      if (end > start + 1 && !LETTER.test(this.#after(end))) return void this.#addPart(start, { kind: "name", name }, end);
    }
    const typed = this.#match(NAME, start + 1)?.[0].replace(/[.-]{1,128}$/, "");
    if (typed) this.#addPart(start, { kind: "name", name: typed.normalize("NFC") }, start + 1 + typed.length);
  }

  /** @param {number} start */
  #onRoom(start) {
    if (WORD.test(this.#before(start))) return;
    const match = this.#match(ROOM, start + 1);
    if (!match) return;
    const [, found = "", seq = ""] = match;
    const typed = seq ? found : found.replace(/\.{1,256}$/, "");
    const end = start + 1 + typed.length + (seq && `/${seq}`).length;
    this.#addPart(start, { kind: "room", room: typed.normalize("NFC"), seq }, end);
  }

  /**
   * @param {RegExp} pattern
   * @param {number} at
   */
  #match(pattern, at) {
    pattern.lastIndex = at;
    return pattern.exec(this.text);
  }

  /**
   * A run of `*`, `_` or `~`: the end of spans, the beginning of spans, or text.
   * @param {string} run
   * @param {number} start
   */
  #onRun(run, start) {
    const mark = run[0] ?? "";
    if (!sizesOf(mark, run.length)) return;
    const [before, after] = [this.#before(start), this.#after(this.#at)];
    let left = run.length;
    if (isCloser(before, after)) left = this.#close(mark, left, start);
    if (left && isOpener(before, after)) this.#openAll(mark, sizesOf(mark, left) ?? [], this.#at - left);
  }

  /**
   * Close what a run of delimiters closes; return how many of its characters are left.
   * @param {string} mark
   * @param {number} length
   * @param {number} start
   */
  #close(mark, length, start) {
    let left = length;
    while (left && this.#counts.get(mark)) {
      const opener = this.#popTo(mark);
      if (!opener) break;
      if (opener.length > left) {
        this.#push(opener);
        break;
      }
      const style = STYLES[mark.repeat(opener.length)] ?? "em";
      this.#parts[opener.at] = { open: style, href: "" };
      const at = start + length - left;
      left -= opener.length;
      this.#addPart(at, { close: true }, at + opener.length);
    }
    return left;
  }

  /**
   * @param {string} mark
   * @param {number[]} sizes
   * @param {number} start
   */
  #openAll(mark, sizes, start) {
    let at = start;
    for (const length of sizes) {
      this.#push({ mark, length, at: this.#addText(at, mark.repeat(length)) });
      at += length;
    }
  }

  /** @param {Opener} opener */
  #push(opener) {
    this.#open.push(opener);
    this.#counts.set(opener.mark, (this.#counts.get(opener.mark) ?? 0) + 1);
  }

  /**
   * Remove the innermost opener of a character, and those inside of it, which stay text.
   * @param {string} mark
   */
  #popTo(mark) {
    for (let opener = this.#open.pop(); opener; opener = this.#open.pop()) {
      this.#counts.set(opener.mark, (this.#counts.get(opener.mark) ?? 1) - 1);
      if (opener.mark === mark) return opener;
    }
    return null;
  }

  /** @param {number} at */
  #before(at) {
    return this.text[at - 1] ?? "";
  }

  /** @param {number} at */
  #after(at) {
    return this.text[at] ?? "";
  }

  /** @param {number} end */
  #flush(end) {
    if (end > this.#from) this.#parts.push(this.text.slice(this.#from, end));
    this.#from = end;
  }

  /**
   * Add text as a part of its own, which may become the beginning of a span; return its index.
   * @param {number} start
   * @param {string} text
   */
  #addText(start, text) {
    return this.#addPart(start, text, start + text.length);
  }

  /**
   * @param {number} start
   * @param {Part} part
   * @param {number} end
   */
  #addPart(start, part, end) {
    this.#flush(start);
    this.#parts.push(part);
    this.#from = end;
    this.#at = Math.max(end, start + 1);
    return this.#parts.length - 1;
  }
}

/**
 * Nest the spans of a flat list.
 * @param {Part[]} parts
 */
function nest(parts) {
  /** @type {Span[]} */
  const root = [];
  let top = root;
  /** @type {Span[][]} */
  const outer = [];
  /** @type {string[]} */
  let texts = [];
  for (const part of [...parts, null]) {
    if (typeof part === "string") {
      texts.push(part); // joined, because thousands of lone brackets should not become thousands of nodes
      continue;
    }
    for (const span of markSpans(texts.join(""))) top.push(span);
    texts = [];
    if (part === null) break;
    if ("open" in part) {
      /** @type {Span[]} */
      const spans = [];
      top.push(part.open === "link" ? { kind: "link", href: part.href, spans } : { kind: part.open, spans });
      outer.push(top);
      top = spans;
    } else if ("close" in part) {
      top = outer.pop() ?? root;
    } else {
      top.push(part);
    }
  }
  return root;
}

/** @param {string} text */
function runsOf(text) {
  /** @type {Map<number, number[]>} */
  const runs = new Map();
  for (const { 0: run, index } of [...text.matchAll(/`+/g)].reverse()) {
    const starts = runs.get(run.length);
    if (starts) starts.push(index);
    else runs.set(run.length, [index]);
  }
  return runs;
}

/**
 * Return the link without the punctuation of the sentence around it, or null if it is not a URL.
 * @param {string} text
 */
function trimLink(text) {
  if (text.length > MAX_LINK_CHARS) return null;
  let unopened = text.split(")").length - text.split("(").length;
  let end = text.length;
  for (; end > 0; end--) {
    const last = text[end - 1] ?? "";
    if (last === ")" && unopened > 0) unopened--;
    else if (!PUNCTUATION.includes(last)) break;
  }
  const link = text.slice(0, end);
  return URL.canParse(link) ? link : null;
}
