// How far the user has read: what the server counted, and what was delivered since then.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ReadPosition } from "../../../static/read_position.js";

const entry = (seq, parts = {}) => ({ room: "ops", seq, time: "t", sender: "bob", body: "hi", ...parts });
const counts = ({ unread, mentions }) => [unread, mentions];

test("messages of others are counted, not changes and one's own messages", () => {
  const position = new ReadPosition();
  position.start(0);
  position.onEntry(entry(1), "ann");
  position.onEntry(entry(2, { sender: "ann" }), "ann");
  position.onEntry(entry(3, { of: 1, act: "react" }), "ann");
  position.onEntry(entry(4, { of: 1, mentions: ["ann", "cat"] }), "ann");
  assert.deepEqual(counts(position), [2, 1]);
  assert.equal(position.advance(4), true);
  assert.deepEqual(counts(position), [0, 0]);
});

test("without the server's count, entries before the start count until they prove to be changes", () => {
  const position = new ReadPosition();
  position.advance(10);
  position.start(14);
  assert.deepEqual(counts(position), [4, 0]);
  position.onEntry(entry(12, { of: 1, act: "pin" }), "ann");
  position.onEntry(entry(13, { mentions: ["ann"] }), "ann");
  assert.deepEqual(counts(position), [3, 1]);
});

test("the server's count replaces the page's, and later messages are added to it", () => {
  const position = new ReadPosition();
  position.start(20);
  for (const seq of [21, 22]) position.onEntry(entry(seq), "ann");
  position.onCount({ marker: 15, unread: 4, mentions: 1, last: 21 });
  assert.equal(position.seq, 15);
  assert.deepEqual(counts(position), [5, 1]);
  position.onEntry(entry(18), "ann"); // delivered late: the server has counted it
  position.onEntry(entry(23, { mentions: ["ann"] }), "ann");
  assert.deepEqual(counts(position), [6, 2]);
});

test("a count from before the user read on is ignored", () => {
  const position = new ReadPosition();
  position.start(20);
  position.advance(20);
  position.onCount({ marker: 15, unread: 5, mentions: 0, last: 20 });
  assert.deepEqual([position.seq, ...counts(position)], [20, 0, 0]);
});

test("another session's marker within what the server counted leaves the number unknown", () => {
  const position = new ReadPosition();
  position.onCount({ marker: 5, unread: 9, mentions: 0, last: 20 });
  assert.equal(position.advance(10), false);
  assert.equal(position.advance(20), true);
  assert.deepEqual(counts(position), [0, 0]);
});

test("the number of counted messages is bounded", () => {
  const position = new ReadPosition();
  position.start(0);
  for (let seq = 1; seq <= 1_500; seq++) position.onEntry(entry(seq), "ann");
  assert.equal(position.unread, 1_000);
});
