// Text is compared as the server does: by the vectors that both share, and in a time that grows with its length.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { matching } from "../../../static/completion.js";
import { moduleOf } from "../../../static/loading.js";
import { findAll, fold, lengthAt } from "../../../static/text.js";
import { stepsOf } from "./steps.mjs";

const vectors = JSON.parse(readFileSync(new URL("../../vectors/text.json", import.meta.url), "utf-8"));
const CAFE = "cafe\u0301"; // decomposed

test("the shared vectors are folded as they say", () => {
  for (const { text, folded } of vectors.folds) assert.equal(fold(text), folded, text);
});

test("hits of a search are found in the text as it was written", () => {
  for (const { text, query, found } of vectors.finds) {
    assert.deepEqual(findAll(text, query).map(([start, end]) => text.slice(start, end)), found, `${query} in ${text}`);
  }
});

test("a name is found in either form, and only as a whole", () => {
  assert.equal(lengthAt(`@${CAFE}!`, 1, "caf\u00e9"), 5);
  assert.equal(lengthAt("@caf\u00e9!", 1, "caf\u00e9"), 4);
  assert.equal(lengthAt(`@${CAFE}`, 1, "cafe"), 0);
  assert.equal(lengthAt("@\u1112\u1161\u11ab", 1, "\ud55c"), 3);
  assert.equal(lengthAt("@bob", 1, "caf\u00e9"), 0);
});

test("a decomposed name is completed to the name", () => {
  assert.deepEqual(matching(CAFE.slice(0, 5), ["caf\u00e9-crew", "bob"], 9), ["caf\u00e9-crew"]);
});

for (const piece of ["e\u0301", "\u0301", "\u1112\u1161\u11ab", "\u1161", "\u00df", "\ud83d", "a"]) {
  test(`the work for ${JSON.stringify(piece)} grows with the length`, () => {
    const half = piece.repeat(32_768 / piece.length);
    const run = (text) => findAll(text, piece + piece);
    run(half.slice(0, 100)); // what is made once is made
    const [fewer, more] = [stepsOf(() => run(half)), stepsOf(() => run(half + half))];
    assert.ok(more <= 2 * fewer + 200, `${fewer} steps, then ${more}`);
  });
}

test("a module that cannot be loaded is reported with a sentence", async () => {
  const problems = [];
  const missing = await moduleOf(import("../../../static/missing.js"), (sentence) => problems.push(sentence));
  assert.equal(missing, null);
  assert.match(problems.join(), /could not be loaded/);
  assert.equal((await moduleOf(import("../../../static/text.js"), assert.fail))?.fold, fold);
});
