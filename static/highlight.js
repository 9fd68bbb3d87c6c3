/**
 * Divides code into comments, strings, numbers, keywords and the rest, for a light colouring. Knows no grammar: it is
 * right for most lines of most languages. Takes time in proportion to the length of the code. A pure function.
 *
 * @typedef {{kind: "comment" | "string" | "number" | "keyword" | "", text: string}} Token
 */

const MAX_CHARS = 20_000; // longer code is not coloured: each token becomes an element
const HASH = new Set(
  "bash conf dockerfile elixir ini make nginx perl php py python r rb ruby sh shell toml yaml yml zsh".split(" "),
);
const DASHES = new Set("haskell hs lua sql".split(" "));
const WITHOUT = new Set(["", "text", "txt", "log", "md", "markdown", "diff", "csv"]);
const STRING = /"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|`(?:[^`\\]|\\[^])*`?/.source;
const REST = /\/\*[^]*?(?:\*\/|$)|\b\d[\w.]*|[\p{L}_$][\p{L}\p{N}_$]*/u.source;
const KEYWORDS = new Set(
  (
    "and as assert async await break case catch class const continue def default defer del delete do done echo elif " +
    "else end enum esac except export extends false fi final finally fn for from func function go if impl implements " +
    "import in insert int interface into is join lambda let limit local long match mod module mut new nil none not " +
    "null or order package pass private protected pub public raise return select self set static struct super switch " +
    "table then this throw trait true try type typeof undefined union unless until update use using values var void " +
    "where while with yield"
  ).split(" "),
);

/**
 * @param {string} code
 * @param {string} language
 * @returns {Token[]}
 */
export function tokensOf(code, language) {
  const name = language.toLowerCase();
  if (WITHOUT.has(name) || code.length > MAX_CHARS) return [{ kind: "", text: code }];
  /** @type {Token[]} */
  const tokens = [];
  let from = 0;
  for (const { 0: text, index } of code.matchAll(patternFor(name))) {
    const kind = kindOf(text);
    if (!kind) continue;
    if (index > from) tokens.push({ kind: "", text: code.slice(from, index) });
    tokens.push({ kind, text });
    from = index + text.length;
  }
  if (from < code.length) tokens.push({ kind: "", text: code.slice(from) });
  return tokens;
}

/** @param {string} language */
function patternFor(language) {
  const comment = HASH.has(language) ? "#.*" : DASHES.has(language) ? "--.*" : "\\/\\/.*";
  return new RegExp(`${comment}|${STRING}|${REST}`, "gu");
}

/**
 * @param {string} text
 * @returns {Token["kind"]}
 */
function kindOf(text) {
  const first = text.charAt(0);
  if (first === "#" || first === "/" || first === "-") return "comment";
  if (first === '"' || first === "'" || first === "`") return "string";
  if (first >= "0" && first <= "9") return "number";
  return KEYWORDS.has(text.toLowerCase()) ? "keyword" : "";
}
