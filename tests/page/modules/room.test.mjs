// The window of a room: what is delivered changes the messages that it refers to.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Room } from "../../../static/room.js";

const TIME = "2026-11-20T11:47:21.123Z";
const entry = (seq, body = `message ${seq}`, parts = {}) => ({ room: "ops", seq, time: TIME, sender: "ann", body, ...parts });
const react = (seq, of, sender = "bob") => entry(seq, "👍", { sender, of, act: "react" });
const edit = (seq, of, body) => entry(seq, body, { of, act: "edit" });

function joined({ last, seq = 0 }) {
  const room = new Room("ops", null);
  room.onJoined({ type: "joined", room: "ops", cursor: `e:${seq}`, first: 1, last, members: [], count: 1 });
  return room;
}

const shown = (room) => room.items.map(({ message }) => [message.seq, message.body, message.reactions?.["👍"]?.count ?? 0]);

test("a delivered change is applied to its message and is no message itself", () => {
  const room = joined({ last: 0 });
  for (const each of [entry(1), entry(2), react(3, 1), edit(4, 1, "changed")]) assert.equal(room.onMessage(each, "zoe"), true);
  assert.deepEqual(shown(room), [[1, "changed", 1], [2, "message 2", 0]]);
  assert.equal(room.last, 4);
  assert.equal(room.onMessage(react(3, 1, "cat")), false);
  assert.deepEqual(shown(room)[0], [1, "changed", 1]);
});

test("a change that a page already contains is not applied again", () => {
  const room = joined({ last: 5, seq: 5 });
  const reply = { replies: 1 };
  room.prepend({ messages: [entry(1, "a", reply), entry(2)], complete: true, last: 6 });
  room.onMessage(entry(6, "again", { of: 1 }));
  assert.equal(room.find(1).message.replies, 1);
  room.onMessage(entry(7, "and again", { of: 1 }));
  assert.equal(room.find(1).message.replies, 2);
});

test("a change that was delivered before an older page arrives is applied to it", () => {
  const room = joined({ last: 5, seq: 5 });
  room.onMessage(react(6, 1));
  room.onMessage(react(7, 1, "cat"));
  room.prepend({ messages: [entry(1, "a", { reactions: { "👍": { count: 1, by: ["bob"] } } })], complete: true, last: 6 });
  assert.deepEqual(room.find(1).message.reactions["👍"], { count: 2, by: ["bob", "cat"] });
});

test("a page that is ahead of the delivery does not hide changes of the messages beside it", () => {
  const room = joined({ last: 0 });
  for (const seq of [1, 2]) room.onMessage(entry(seq));
  room.append({ messages: [entry(4)], complete: true, last: 4 }); // entry 3 is still to be delivered
  assert.equal(room.onMessage(react(3, 1)), false);
  assert.deepEqual(shown(room)[0], [1, "message 1", 1]);
});

test("the newest page attaches the window although the log ends with changes", () => {
  const room = joined({ last: 9, seq: 9 });
  room.replace([{ messages: [entry(1)], complete: false, last: 5 }], { isAtEnd: false });
  assert.equal(room.hasNewer, true);
  room.append({ messages: [entry(7)], complete: true, last: 9 });
  assert.equal(room.hasNewer, false);
  room.replace([{ messages: [entry(7)], complete: true, last: 9 }], { isAtEnd: true });
  assert.equal(room.hasNewer, false);
});

test("two pages of one window keep their own state", () => {
  const room = joined({ last: 9, seq: 9 });
  const pages = [
    { messages: [entry(1)], complete: true, last: 9 },
    { messages: [entry(5, "b", { replies: 1 })], complete: true, last: 10 },
  ];
  room.replace(pages, { isAtEnd: true });
  room.onMessage(entry(10, "reply", { of: 5 }));
  assert.equal(room.find(5).message.replies, 1);
  room.onMessage(entry(10, "reply", { of: 1 })); // as if it referred to the other page
  assert.equal(room.find(1).message.replies, 1);
});

test("if only changes were delivered, there is older history to read", () => {
  const room = joined({ last: 3 });
  for (const seq of [2, 3]) room.onMessage(react(seq, 1, `p${seq}`));
  assert.equal(room.items.length, 0);
  assert.equal(room.hasOlder, true);
  room.prepend({ messages: [entry(1)], complete: true, last: 3 });
  assert.equal(room.hasOlder, false);
});

test("a redaction removes the state of the message", () => {
  const room = joined({ last: 0 });
  for (const each of [entry(1), react(2, 1), entry(3, "", { of: 1, act: "redact" })]) room.onMessage(each);
  room.onRedacted(1);
  assert.deepEqual(room.find(1).message, entry(1, "", { redacted: true }));
});

test("a window that was read again has the state of its page", () => {
  const room = joined({ last: 0 });
  for (const seq of [1, 2]) room.onMessage(entry(seq));
  room.refresh({ messages: [entry(1, "changed", { edited: { seq: 3, time: TIME } })], complete: true, last: 3 });
  assert.deepEqual(shown(room).map(([, body]) => body), ["changed", "message 2"]);
});
