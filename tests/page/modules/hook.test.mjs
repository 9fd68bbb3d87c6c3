// The data of webhooks' messages: it may be anything, and only valid parts of it are shown.
import assert from "node:assert/strict";
import { test } from "node:test";

import { hookOf, shownText } from "../../../static/hook.js";
import { parsedOf, textOf } from "../../../static/parsed.js";

const CARD = { title: "T", url: "https://a.example", color: "#00ff00", fields: [{ name: "a", value: "b", short: true }] };
const EMPTY = { title: "", url: "", color: "", author: "", text: "", fields: [], footer: "" };
const message = (data, parts = {}) => ({ body: "one\ntwo\n\n> **T**", bot: true, data, ...parts });
const hook = (parts = {}) => ({ hook: "slack", lines: 2, cards: [CARD], ...parts });

test("the text of a message ends where its cards begin", () => {
  const given = message(hook({ username: "CI Bot", icon: ":ship:" }));
  assert.equal(shownText(given), "one\ntwo");
  assert.equal(textOf(parsedOf(given).blocks), "one\ntwo");
  assert.deepEqual(hookOf(given), { username: "CI Bot", icon: ":ship:", text: "one\ntwo", cards: [{ ...EMPTY, ...CARD }] });
  assert.equal(hookOf(given), hookOf(given), "it is read once");
});

test("without cards, and after an edit, the text is the body", () => {
  assert.equal(shownText(message(hook({ cards: [] }))), "one\ntwo\n\n> **T**");
  const edited = message(hook({ username: "x" }), { edited: { seq: 2, time: "" } });
  assert.equal(shownText(edited), edited.body);
  assert.deepEqual(hookOf(edited)?.cards, []);
});

test("only a bot's message with the data of a webhook has cards", () => {
  for (const given of [
    message(hook(), { bot: false }),
    message(hook(), { redacted: true }),
    message(undefined),
    message(null),
    message("hook"),
    message([hook()]),
    message({ cards: [CARD] }),
    message({ hook: 1, cards: [CARD] }),
  ]) {
    assert.equal(hookOf(given), null);
    assert.equal(shownText(given), given.body);
  }
});

test("values of another type, addresses that are not HTTP's and colours of another form are left out", () => {
  const cards = [1, null, { title: 1, url: "javascript:alert(1)", color: "red", fields: "x", text: ["a"] }, { fields: [null] }];
  const read = hookOf(message(hook({ cards, lines: "two", username: 7, icon: "<b>" })));
  assert.deepEqual([read?.username, read?.icon], ["", ""]);
  assert.equal(read?.text, "");
  assert.deepEqual(read?.cards.slice(0, 3), [EMPTY, EMPTY, EMPTY]);
  assert.deepEqual(read?.cards[3]?.fields, [{ name: "", value: "", short: false }]);
});

test("the number of cards and fields is limited", () => {
  const read = hookOf(message(hook({ cards: Array(100).fill({ fields: Array(100).fill({ name: "a", value: "b" }) }) })));
  assert.equal(read?.cards.length, 20);
  assert.equal(read?.cards[0]?.fields.length, 25);
});
