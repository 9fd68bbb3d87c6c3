// The markers of a name at the server: when they are read, and when they are moved.
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Refused } from "../../../static/protocol.js";
import { ReadState } from "../../../static/read_state.js";
import { Room } from "../../../static/room.js";

function joined(name, last) {
  const room = new Room(name, null);
  room.onJoined({ type: "joined", room: name, cursor: `e:${last}`, first: 1, last, members: [], count: 1 });
  return room;
}

/** A read state with a room, the commands that it sent, and the counts that the server answers. */
function opened(rooms, counts) {
  const sent = [];
  const readState = new ReadState({
    ask: async (command) => {
      sent.push(command);
      if (counts === null) throw new Refused({ type: "error", code: "forbidden", message: "no" });
      return command.op === "unread" ? { type: "unread", rooms: counts } : { type: "marked", ...command };
    },
    rooms: { get: (name) => rooms.find((room) => room.name === name) },
    onChange: () => undefined,
  });
  return { readState, sent };
}

const marks = (sent) => sent.filter(({ op }) => op === "mark").map(({ room, seq }) => `${room}:${seq}`);

test("what is read before the markers are known is sent after them", async () => {
  const room = joined("ops", 10);
  const { readState, sent } = opened([room], [{ room: "ops", marker: 6, unread: 3, mentions: 1, last: 10 }]);
  room.markRead();
  readState.mark(room);
  assert.deepEqual(sent, []);
  await readState.load();
  assert.deepEqual(marks(sent), ["ops:10"]);
  assert.equal(room.newAfter, 6); // where the user stopped reading in another browser
  assert.equal(room.unread, 0);
  readState.onConnectionLost();
});

test("in a busy room, a marker is moved at once, then every three seconds, and when the page is hidden", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const room = joined("ops", 1);
  const { readState, sent } = opened([room], []);
  await readState.load();
  for (let seq = 2; seq <= 5; seq++) {
    room.onMessage({ room: "ops", seq, time: "t", sender: "bob", body: "hi" }, "ann");
    room.markRead();
    readState.mark(room);
  }
  assert.deepEqual(marks(sent), ["ops:2"]);
  mock.timers.tick(3_000);
  assert.deepEqual(marks(sent), ["ops:2", "ops:5"]);
  readState.mark(room);
  assert.deepEqual(marks(sent), ["ops:2", "ops:5"]); // the server has it
  room.onMessage({ room: "ops", seq: 6, time: "t", sender: "bob", body: "hi" }, "ann");
  room.markRead();
  readState.mark(room);
  readState.flush();
  assert.deepEqual(marks(sent), ["ops:2", "ops:5", "ops:6"]);
  mock.timers.reset();
});

test("without markers at the server, nothing is sent", async () => {
  const room = joined("ops", 1);
  const { readState, sent } = opened([room], null);
  await readState.load();
  room.markRead();
  readState.mark(room);
  readState.flush();
  assert.deepEqual(marks(sent), []);
});

test("a marker of another session within what was counted is counted again", async () => {
  const room = joined("ops", 10);
  const counts = [{ room: "ops", marker: 2, unread: 8, mentions: 0, last: 10 }];
  const { readState, sent } = opened([room], counts);
  await readState.load();
  assert.equal(room.unread, 8);
  counts[0] = { room: "ops", marker: 7, unread: 3, mentions: 0, last: 10 };
  readState.onMarked(room, 7);
  await new Promise(setImmediate);
  assert.equal(room.unread, 3);
  assert.equal(sent.filter(({ op }) => op === "unread").length, 2);
});
