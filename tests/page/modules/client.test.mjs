// client.js against a real server, whose address is in CHATKIT_TEST_SERVER, without a browser.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { WebSocket } from "ws";

import { connect, Refused } from "../../../static/client.js";

globalThis.WebSocket ??= WebSocket;
const server = `${process.env.CHATKIT_TEST_SERVER}/`;
const clients = [];
after(() => clients.forEach((client) => client.close()));

/** Open a client in a room; `until` waits for a state. */
async function open(name, roomName) {
  const waits = new Set();
  const client = connect({ server, name, onChange: () => waits.forEach((check) => check()) });
  clients.push(client);
  const room = client.join(roomName);
  const until = (isReached) =>
    new Promise((resolve) => {
      const check = () => isReached() && (waits.delete(check), resolve());
      waits.add(check);
      check();
    });
  await until(() => room.joined);
  return { client, room, until };
}

const bodies = (room) => room.items.map(({ message }) => message.body);

test("a message that one client publishes arrives at another", async () => {
  const [ann, bob] = [await open("ann", "hall"), await open("bob", "hall")];
  ann.client.publish(ann.room, "hello");
  await bob.until(() => bodies(bob.room).includes("hello"));
  await ann.until(() => ann.client.outbox.of("hall").length === 0);
  assert.equal(bob.room.unread, 1);
  bob.client.markRead(bob.room);
  assert.equal(bob.room.unread, 0);
  assert.equal(ann.room.unread, 0);
});

test("a client continues at its cursor after a lost connection", async () => {
  const [ann, bob] = [await open("ann", "den"), await open("bob", "den")];
  bob.client.close();
  ann.client.publish(ann.room, "one");
  ann.client.publish(ann.room, "two");
  await ann.until(() => bodies(ann.room).length === 2);
  bob.client.publish(bob.room, "written without a connection");
  bob.client.open();
  await bob.until(() => bodies(bob.room).length === 3);
  assert.deepEqual(bodies(bob.room), ["one", "two", "written without a connection"]);
});

test("the window moves to an old message and back", async () => {
  const ann = await open("ann", "attic");
  for (let number = 1; number <= 120; number++) ann.client.publish(ann.room, `message ${number}`);
  await ann.until(() => ann.room.newest?.message.seq === 120);
  const bob = await open("bob", "attic");
  await bob.until(() => bob.room.newest?.message.seq === 120);
  assert.equal(bob.room.find(5), undefined);
  await bob.client.showAround(bob.room, 5);
  assert.equal(bob.room.find(5).message.body, "message 5");
  assert.equal(bob.room.hasNewer, true);
  const moved = bob.client.showNewest(bob.room);
  assert.equal(bob.room.following, false); // the view would go to the end of the old part, and stop to follow there
  await moved;
  assert.equal(bob.room.find(120).message.body, "message 120");
  assert.equal(bob.room.hasNewer, false);
  assert.equal(bob.room.following, true);
});

test("a refusal is an error with its code", async () => {
  const ann = await open("ann", "yard");
  await assert.rejects(
    ann.client.redact(ann.room, 99),
    (error) => error instanceof Refused && typeof error.code === "string",
  );
});

test("replies, edits and reactions are shown by both clients, live and in history", async () => {
  const [ann, bob] = [await open("ann", "tower"), await open("bob", "tower")];
  ann.client.publish(ann.room, "hi");
  await bob.until(() => bob.room.find(1));
  bob.client.publish(bob.room, "hello", { of: 1 });
  await bob.client.react(bob.room, 1, "👍");
  await ann.client.react(ann.room, 1, "👍");
  await bob.client.unreact(bob.room, 1, "👍");
  await ann.client.edit(ann.room, 1, "hi all");
  await assert.rejects(bob.client.edit(bob.room, 1, "bye"), { code: "forbidden" });
  await bob.until(() => bob.room.find(1).message.edited && bob.room.find(1).message.replies);
  const cat = await open("cat", "tower");
  await cat.until(() => cat.room.last === cat.room.head);
  cat.room.replace([], { isAtEnd: false }); // so that the page of history is read
  await cat.client.showNewest(cat.room);
  for (const { room } of [ann, bob, cat]) {
    const { body, replies, reactions } = room.find(1).message;
    assert.deepEqual([body, replies, reactions], ["hi all", 1, { "👍": { count: 1, by: ["ann"] } }]);
  }
  await ann.client.redact(ann.room, 1);
  await bob.until(() => bob.room.find(1).message.redacted);
});
