// Markdown in messages: what is recognized, and what stays as it was typed.
import assert from "node:assert/strict";
import { test } from "node:test";

import { isEmojiOnly, parseBody } from "../../../static/body.js";
import { tokensOf } from "../../../static/highlight.js";

const TAGS = { strong: "b", em: "i", strike: "s" };

function written(spans) {
  return spans.map((span) => {
    if (span.kind === "text") return span.text;
    if (span.kind === "mark") return `{${span.text}}`;
    if (span.kind === "code") return `<code>${span.text}</code>`;
    if (span.kind === "url") return `<${span.href}>`;
    if (span.kind === "name") return `<@${span.name}>`;
    if (span.kind === "room") return `<#${span.room}${span.seq && `/${span.seq}`}>`;
    if (span.kind === "link") return `<a ${span.href}>${written(span.spans)}</a>`;
    const tag = TAGS[span.kind];
    return `<${tag}>${written(span.spans)}</${tag}>`;
  }).join("");
}

function shown(body, names = []) {
  return blocksShown(parseBody(body, names));
}

function blocksShown(blocks) {
  return blocks.map((block) => {
    if (block.kind === "prose") return written(block.spans);
    if (block.kind === "quote") return { quote: blocksShown(block.blocks) };
    if (block.kind === "list") return { list: block.items.map((item) => [item.level, item.number ?? "-", written(item.spans)]) };
    if (block.kind === "table") return { table: block.text };
    return { code: block.text, language: block.language };
  });
}

const INLINE = [
  ["a **bold** *it* _it_ ~~no~~ ***both***", "a <b>bold</b> <i>it</i> <i>it</i> <s>no</s> <b><i>both</i></b>"],
  ["**bold *it*** *a **b***", "<b>bold <i>it</i></b> <i>a <b>b</b></i>"],
  ["(**x**), **y**.", "(<b>x</b>), <b>y</b>."],
  ["这是**重点**内容 **강조**는", "这是<b>重点</b>内容 <b>강조</b>는"],
  ["`a*b*` ``x ` y`` `` ` ``", "<code>a*b*</code> <code>x ` y</code> <code>`</code>"],
  ["*see https://a.b/x_y_z*.", "<i>see <https://a.b/x_y_z></i>."],
  ["(http://a.b/c_(d)).", "(<http://a.b/c_(d)>)."],
  ["[x](https://a.b/c_(d)) [m](mailto:a@b.c)", "<a https://a.b/c_(d)>x</a> <a mailto:a@b.c>m</a>"],
  ["[**x** `y`](https://a.b)", "<a https://a.b><b>x</b> <code>y</code></a>"],
  ["@ann and @ann-bot, #ops, #ops/42.", "<@ann> and <@ann-bot>, <#ops>, <#ops/42>."],
  ["a\u202eb\u0007", "a{RLO}b{^G}"],
];

for (const [body, expected] of INLINE) {
  test(`inline: ${body}`, () => assert.deepEqual(shown(body), [expected]));
}

const AS_TYPED = [
  "snake_case_name 2*3*4 __init__.py a_b_ c", "**/*.py *.js *.ts", "ls /foo/*.js /bar/*.js", "*/5 * * * * root",
  "f(*args, **kwargs)", "s3:* and ec2:*", "char *p, *q;", "`open", "```\nnot closed", "*a\nb*", "~5 ~6 ~~a ~~b", "** **",
  "¯\\_(ツ)_/¯ C:\\*x*", ">_< >>> print(1)", ">>> print(1)", "-1\n-2", "-- \n+ 1", "# title", "---", "a | b", "[x] [y]", "[](https://a.b)",
  "[x](javascript:alert(1)) [x](data:text/html,x)", "[x](ftp://a.b)", "[https://a.b](https://evil.example",
  "mail@example.org &#39; a#b", "  indented\n    more", "http://" + ")".repeat(100),
];

for (const body of AS_TYPED) {
  test(`as it was typed: ${body.slice(0, 60)}`, () => {
    const plain = shown(body).join("").replaceAll(/<(https?:[^>]*)>/g, "$1");
    assert.equal(plain, body);
  });
}

test("a link whose text is another address is not made", () => {
  assert.doesNotMatch(shown("[https://bank.example](https://evil.example)").join(""), /<a /);
  assert.doesNotMatch(shown("[see https://bank.example now](https://evil.example)").join(""), /<a /);
});

test("a link ends before the punctuation of its sentence", () => {
  const expected = {
    "see http://x.org/a.": "see <http://x.org/a>.",
    "(see http://x.org/a).": "(see <http://x.org/a>).",
    "(http://x.org/a_(b)!)": "(<http://x.org/a_(b)>!)",
    "http://x.org/?a=(b))).,)": "<http://x.org/?a=(b)>)).,)",
    "http://x.org/a.b": "<http://x.org/a.b>",
  };
  for (const [body, text] of Object.entries(expected)) assert.deepEqual(shown(body), [text]);
});

test("decomposed names and rooms are those that the server knows", () => {
  assert.deepEqual(shown("@Zoe\u0308 S and @cafe\u0301, #cafe\u0301/42", ["Zo\u00eb S"]), ["<@Zo\u00eb S> and <@caf\u00e9>, <#caf\u00e9/42>"]);
  assert.deepEqual(shown("@ann\u0301", ["ann"]), ["<@an\u0144>"]);
  const long = "\u1112\u1161\u11ab".repeat(32);
  assert.deepEqual(shown(`@${long} #${long}`), [`<@${"\ud55c".repeat(32)}> <#${"\ud55c".repeat(32)}>`]);
});

test("names that a message mentions may contain spaces, and the longest wins", () => {
  assert.deepEqual(shown("hi @Ann Smith, @Ann, @Anna", ["Ann", "Ann Smith"]), ["hi <@Ann Smith>, <@Ann>, <@Anna>"]);
});

const BLOCKS = [
  ["> q *a*\n> > deep\n> \nafter", [{ quote: ["q <i>a</i>", { quote: ["deep"] }] }, "after"]],
  ["- a\n- b\n  - c\n    more", [{ list: [[0, "-", "a"], [0, "-", "b"], [1, "-", "c\nmore"]] }]],
  ["- a\n1. b", [{ list: [[0, "-", "a"]] }, { list: [[0, 1, "b"]] }]],
  ["3. x\n4) y", [{ list: [[0, 3, "x"], [0, 4, "y"]] }]],
  ["| a | b |\n|---|:-:|\n| 1 | 2 |\nend", [{ table: "| a | b |\n|---|:-:|\n| 1 | 2 |" }, "end"]],
  ["see\n```js\nlet a = *b*\n\n```\nend", ["see", { code: "let a = *b*\n", language: "js" }, "end"]],
  ["````\n```\n````", [{ code: "```", language: "" }]],
  ["a\r\n\r\nb", ["a\n\nb"]],
];

for (const [body, expected] of BLOCKS) {
  test(`blocks: ${JSON.stringify(body)}`, () => assert.deepEqual(shown(body), expected));
}

test("quotes and lists that are nested too deeply stay readable", () => {
  const quotes = parseBody("> ".repeat(1_000) + "x");
  let depth = 0;
  for (let block = quotes[0]; block?.kind === "quote"; block = block.blocks[0]) depth++;
  assert.equal(depth, 4);
  const list = parseBody(Array.from({ length: 12 }, (_, n) => `${" ".repeat(n)}- x`).join("\n"))[0];
  assert.equal(Math.max(...list.items.map(({ level }) => level)), 3);
});

test("thousands of lone brackets are one piece of text", () => {
  assert.deepEqual(parseBody("[".repeat(5_000)), [{ kind: "prose", spans: [{ kind: "text", text: "[".repeat(5_000) }] }]);
});

test("a few emoji alone are recognized", () => {
  for (const body of ["🎉", "👍🏽 ❤️", "👩‍💻"]) assert.equal(isEmojiOnly(body), true, body);
  for (const body of ["", " ", "1", "ok 🎉", "🎉".repeat(30)]) assert.equal(isEmojiOnly(body), false, body);
});

test("code is divided into tokens without losing a character", () => {
  const code = 'def f(x=1.5): # note\n  return "a\\"b"';
  const tokens = tokensOf(code, "python");
  assert.equal(tokens.map(({ text }) => text).join(""), code);
  assert.deepEqual(
    tokens.filter(({ kind }) => kind).map(({ kind, text }) => [kind, text]),
    [["keyword", "def"], ["number", "1.5"], ["comment", "# note"], ["keyword", "return"], ["string", '"a\\"b"']],
  );
  assert.deepEqual(tokensOf(code, ""), [{ kind: "", text: code }]);
});
