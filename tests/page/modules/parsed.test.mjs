// What a list of results shows of a message: its text without markdown, from shortly before the match.
import assert from "node:assert/strict";
import { test } from "node:test";

import { textWithMatch } from "../../../static/parsed.js";
import { findAll } from "../../../static/text.js";

/**
 * @param {string} body
 * @param {string} query
 */
const shown = (body, query) => textWithMatch({ body }, query);

test("a match in the text is shown without the markdown", () => {
  assert.equal(shown("**deploy** of `api` to [staging](https://example.org)", "DEPLOY"), "deploy of api to staging");
  assert.equal(shown("- one\n- two", "two"), "one\ntwo");
});

test("a match in the markdown is shown as it was written", () => {
  const body = "see [the docs](https://example.org/guide)";
  assert.equal(shown(body, "guide"), body);
});

test("a match that is far from the beginning is shown from shortly before it", () => {
  const text = shown(`${"many words ".repeat(50)}here`, "here");
  assert.match(text, /^…(many )?words .*here$/);
  assert.ok(text.length < 80, text);
  assert.equal(shown("a\nb\nc\nd\nthe fifth line", "fifth"), "…the fifth line");
  assert.equal(shown(`${"x".repeat(500)}here it is`, "here"), "…here it is");
});

test("the match stays in a text that is cut", () => {
  for (const before of ["", "é ".repeat(200), "🎉".repeat(200), "line\n".repeat(200)]) {
    assert.equal(findAll(shown(`${before}walrus`, "WALRUS"), "walrus").length, 1);
  }
});
