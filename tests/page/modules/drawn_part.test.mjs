import assert from "node:assert/strict";
import test from "node:test";

import { FIRST, STEP, gradually, partToDraw } from "../../../static/drawn_part.js";

/** @param {number} from @param {number} to */
const messages = (from, to) =>
  Array.from({ length: to - from }, (_, at) => ({ id: `0:${from + at}`, kind: "message" }));

/** Draws the parts of some lines until all are drawn; returns the numbers of lines that each step adds. */
function steps(lines, drawn, view) {
  const added = [];
  for (;;) {
    const { from, to } = partToDraw(lines, (id) => drawn.has(id), { ...view, step: STEP });
    const part = lines.slice(from, to).map(({ id }) => id);
    added.push(part.filter((id) => !drawn.has(id)).length);
    drawn = new Set(part);
    if (part.length === lines.length) return added;
    assert.ok(added.length < 200);
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
  const { from, to } = partToDraw(lines, (id) => drawn.has(id), { follows: false, reveal: null, step: STEP });
  assert.deepEqual([lines[from]?.id, to], [`0:${100 - STEP}`, 201]);
  assert.ok(steps(lines, drawn, { follows: false, reveal: null, step: STEP }).every((count) => count <= STEP + 1));
});

test("both ends grow if lines are missing at both", () => {
  const drawn = new Set(messages(50, 60).map(({ id }) => id));
  const part = partToDraw(messages(0, 100), (id) => drawn.has(id), { follows: false, reveal: null, step: STEP });
  assert.deepEqual(part, { from: 50 - Math.floor(STEP / 2), to: 60 + Math.ceil(STEP / 2) });
});

test("no line is added in the frame of another step, but what is new is drawn while it is followed", () => {
  const drawn = new Set(messages(50, 60).map(({ id }) => id));
  const isDrawn = (/** @type {string} */ id) => drawn.has(id);
  const view = { reveal: null, step: 0 };
  assert.deepEqual(partToDraw(messages(0, 100), isDrawn, { ...view, follows: false }), { from: 50, to: 60 });
  assert.deepEqual(partToDraw(messages(0, 70), isDrawn, { ...view, follows: true }), { from: 50, to: 70 });
});

test("what is new at the end is drawn at once while it is followed, and the older lines after it if it is much", () => {
  const drawn = new Set(messages(0, 60).map(({ id }) => id));
  const view = { follows: true, reveal: null, step: STEP };
  assert.deepEqual(partToDraw(messages(0, 80), (id) => drawn.has(id), view), { from: 0, to: 80 });
  assert.deepEqual(partToDraw(messages(0, 300), (id) => drawn.has(id), view), { from: 300 - FIRST, to: 300 });
});

test("a line to reveal is drawn with those around it", () => {
  const drawn = new Set(messages(200, 300).map(({ id }) => id));
  const view = { follows: false, reveal: "0:20", step: STEP };
  assert.deepEqual(partToDraw(messages(0, 300), (id) => drawn.has(id), view), { from: 5, to: 35 });
  assert.deepEqual(partToDraw(messages(0, 300), () => true, view), { from: 0, to: 300 });
});

/** @param {number} from @param {number} to @param {string} look */
const looking = (from, to, look) => messages(from, to).map((line) => ({ ...line, look }));
const nothingInView = { step: STEP, lookOf: () => "old", isInView: () => false };

test("lines that left the window are removed in steps, the farthest first", () => {
  const shown = looking(0, 50, "old");
  const below = gradually(looking(0, 30, "old"), shown, nothingInView);
  assert.deepEqual([below.lines.length, below.lines.at(-1)?.id, below.isAll], [50 - STEP, `0:${49 - STEP}`, false]);
  const above = gradually(looking(20, 50, "old"), shown, nothingInView);
  assert.deepEqual([above.lines.length, above.lines[0]?.id, above.isAll], [50 - STEP, `0:${STEP}`, false]);
  assert.equal(gradually(looking(0, 50 - STEP, "old"), shown, nothingInView).isAll, true);
});

test("another part of the log replaces all lines at once", () => {
  const part = looking(100, 130, "old");
  assert.deepEqual(gradually(part, looking(0, 50, "old"), nothingInView), { lines: part, isAll: true });
});

test("lines left above stay few while many messages arrive", () => {
  const { lines } = gradually(looking(400, 900, "old"), looking(0, 500, "old"), nothingInView);
  assert.ok(lines.length <= 600);
});

test("lines that change together change in steps, those in view at once", () => {
  const shown = looking(0, 50, "old");
  const inView = new Set(looking(30, 40, "").map(({ id }) => id));
  const view = { ...nothingInView, isInView: (/** @type {string} */ id) => inView.has(id) };
  const { lines, isAll } = gradually(looking(0, 50, "new"), shown, view);
  const changed = lines.filter(({ look }) => look === "new").map(({ id }) => id);
  assert.deepEqual(changed, [...looking(0, STEP, ""), ...looking(30, 40, "")].map(({ id }) => id));
  assert.equal(isAll, false);
});
