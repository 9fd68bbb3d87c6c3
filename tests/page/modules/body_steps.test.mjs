// The work of parsing a body grows with its length, whatever it contains.
import assert from "node:assert/strict";
import { test } from "node:test";

import { parseBody } from "../../../static/body.js";
import { tokensOf } from "../../../static/highlight.js";
import { stepsOf } from "./steps.mjs";

const MAX_BYTES = 65_536; // of a body
const PIECES = [
  "*", "_", "~", "`", "[", "]", "(", ">", "|", "-", "#", "@", "h", "a", "\n", "\t",
  "**", "~~", "* ", "*a ", "**a* ", "*a*", "_a* ", "*_", "[*", "[a", "](", "[a](", "](http://a", "[a](http://x) ",
  "[a](http://x(", "http://a ", "http://", "http://a.).).).)!! ", ".", "!)", "`a``", "`\n``\n", "``` \n", "```\n", "```js\n````\n", "> ", "> \n", "> > ",
  "- ", "- a\n", "  - a\n", "1. a\n", " ", "|\n|-|\n", "|-|\n", "@a ", "@ann ", "@cafe\u0301 ", "@caf", "#a/1 ", "\u202e", "\ud83d",
];
const CODE = ["/*", "*/", '"', "\\", "'\n", "`", "#", "//", "--", "1", "a", "a ", "0.", '"\\', "/", "*"];

/** Names of a message's `mentions`: each `@` is compared with them. */
const NAMES = ["ann", "Ann Smith", "a", "caf\u00e9"];

function check(run, piece) {
  const half = piece.repeat(MAX_BYTES / 2 / piece.length);
  run(half.slice(0, 100)); // what is made once is made
  const [fewer, more] = [stepsOf(() => run(half)), stepsOf(() => run(half + half))];
  assert.ok(more <= 2 * fewer + 200, `${JSON.stringify(piece)}: ${fewer} steps, then ${more}`);
  // Built-in functions are not counted: the text that they read is bounded by this.
  assert.ok(more <= 40 * MAX_BYTES, `${JSON.stringify(piece)}: ${more} steps`);
}

for (const piece of PIECES) {
  test(`a body of ${JSON.stringify(piece)}`, () => check((text) => parseBody(text, NAMES), piece));
}

for (const piece of CODE) {
  test(`code of ${JSON.stringify(piece)}`, () => check((text) => tokensOf(text.slice(0, text.length / 4), "js"), piece));
}
