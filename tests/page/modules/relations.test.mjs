// Replies and changes in the page: the same examples as for the server.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { applyChange, fold, isChange } from "../../../static/relations.js";

const { cases } = JSON.parse(readFileSync(new URL("../../vectors/relations.json", import.meta.url), "utf-8"));

for (const { name, entries, folded } of cases) {
  test(`fold: ${name}`, () => {
    const found = fold(entries);
    assert.deepEqual(found, folded);
    const orders = (messages) => messages.map(({ reactions }) => Object.keys(reactions ?? {}));
    assert.deepEqual(orders(found), orders(folded));
  });
}

test("a change leaves the message itself unchanged", () => {
  const message = Object.freeze({ room: "ops", seq: 1, time: "t", sender: "ann", body: "hi" });
  const changed = applyChange(message, { room: "ops", seq: 2, time: "t", sender: "bob", body: "👍", of: 1, act: "react" });
  assert.deepEqual(changed.reactions, { "👍": { count: 1, by: ["bob"] } });
  assert.equal(message.reactions, undefined);
});

test("a reaction with more than 20 names counts names that are not listed", () => {
  const by = Array.from({ length: 20 }, (_, n) => `p${n + 10}`);
  const message = { room: "ops", seq: 1, time: "t", sender: "ann", body: "hi", reactions: { "👍": { count: 30, by } } };
  const react = (sender, act) => ({ room: "ops", seq: 99, time: "t", sender, body: "👍", of: 1, act });
  assert.deepEqual(applyChange(message, react("zed", "react")).reactions["👍"], { count: 31, by });
  assert.equal(applyChange(message, react("p10", "react")), message);
  assert.equal(applyChange(message, react("zed", "unreact")).reactions["👍"].count, 29);
  assert.deepEqual(applyChange(message, react("p10", "unreact")).reactions["👍"], { count: 29, by: by.slice(1) });
});

test("an unknown act changes nothing", () => {
  const message = { room: "ops", seq: 1, time: "t", sender: "ann", body: "hi" };
  assert.equal(applyChange(message, { ...message, seq: 2, of: 1, act: "frame" }), message);
  assert.equal(isChange({ ...message, of: 1, act: "frame" }), true);
});

test("a reaction may have the name of a method of all objects", () => {
  const message = { room: "ops", seq: 1, time: "t", sender: "ann", body: "hi", reactions: { "👍": { count: 1, by: ["ann"] } } };
  for (const body of ["constructor", "__proto__"]) {
    const change = { room: "ops", seq: 2, time: "t", sender: "bob", body, of: 1 };
    assert.equal(applyChange(message, { ...change, act: "unreact" }), message);
    const { reactions } = applyChange(message, { ...change, act: "react" });
    assert.deepEqual(Object.entries(reactions).at(-1), [body, { count: 1, by: ["bob"] }]);
  }
});
