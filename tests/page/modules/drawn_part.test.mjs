import assert from "node:assert/strict";
import test from "node:test";

import { FIRST, STEP, partToDraw } from "../../../static/drawn_part.js";

/** @param {number} from @param {number} to */
const messages = (from, to) =>
  Array.from({ length: to - from }, (_, at) => ({ id: `0:${from + at}`, kind: "message" }));

/** Draws the parts of some lines until all are drawn; returns the numbers of lines that each step adds. */
function steps(lines, drawn, view) {
  const added = [];
  for (;;) {
    const { from, to } = partToDraw(lines, (id) => drawn.has(id), view);
    const part = lines.slice(from, to).map(({ id }) => id);
    added.push(part.filter((id) => !drawn.has(id)).length);
    drawn = new Set(part);
    if (part.length === lines.length) return added;
    assert.ok(added.length < 100);
  }
}

test("a room begins with its end and grows upwards", () => {
  const added = steps(messages(0, 100), new Set(), { follows: true, reveal: null });
  assert.deepEqual(added.slice(0, 3), [FIRST, STEP, STEP]);
  assert.equal(added.reduce((sum, count) => sum + count), 100);
});

test("a page of history is added in steps, nearest first, wherever the day begins", () => {
  const day = { id: "day", kind: "day" };
  const drawn = new Set(["day", ...messages(100, 200).map(({ id }) => id)]);
  const lines = [day, ...messages(0, 200)];
  const { from, to } = partToDraw(lines, (id) => drawn.has(id), { follows: false, reveal: null });
  assert.deepEqual([lines[from]?.id, to], [`0:${100 - STEP}`, 201]);
  assert.ok(steps(lines, drawn, { follows: false, reveal: null }).every((count) => count <= STEP + 1));
});

test("both ends grow if lines are missing at both", () => {
  const drawn = new Set(messages(50, 60).map(({ id }) => id));
  const part = partToDraw(messages(0, 100), (id) => drawn.has(id), { follows: false, reveal: null });
  assert.deepEqual(part, { from: 50 - STEP / 2, to: 60 + STEP / 2 });
});

test("what is new at the end is drawn at once while it is followed, and the older lines after it if it is much", () => {
  const drawn = new Set(messages(0, 60).map(({ id }) => id));
  const view = { follows: true, reveal: null };
  assert.deepEqual(partToDraw(messages(0, 80), (id) => drawn.has(id), view), { from: 0, to: 80 });
  assert.deepEqual(partToDraw(messages(0, 300), (id) => drawn.has(id), view), { from: 300 - FIRST, to: 300 });
});

test("a line to reveal is drawn with those around it", () => {
  const drawn = new Set(messages(200, 300).map(({ id }) => id));
  const view = { follows: false, reveal: "0:20" };
  assert.deepEqual(partToDraw(messages(0, 300), (id) => drawn.has(id), view), { from: 5, to: 35 });
  assert.deepEqual(partToDraw(messages(0, 300), () => true, view), { from: 0, to: 300 });
});
