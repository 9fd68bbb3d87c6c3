// A client of static/client.js for tests/support/talkers/node.py: reads commands, one a line as JSON, and answers each
// with a line. It connects to the server in its first argument under the name in its second. Ends with its input.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";

import { connect, ConnectionLost, Refused } from "../../../static/client.js";

globalThis.WebSocket ??= class extends WebSocket {
  constructor(...options) {
    super(...options);
    this.onerror = () => undefined; // as in browsers: `close` follows
  }
};
const [server, name, roomName] = process.argv.slice(2);
const waits = new Set();
const client = connect({ server: `${server}/`, name, onChange });
const room = client.join(roomName);

function onChange() {
  if (room.isStale) void client.refresh(room); // as the page does
  waits.forEach((check) => check());
}

/** Wait for a state of the client. */
function until(isReached) {
  return new Promise((resolve) => {
    const check = () => isReached() && (waits.delete(check), resolve());
    waits.add(check);
    check();
  });
}

const shown = () => room.items.filter((item) => item.kind === "message").map(({ message }) => message);

/**
 * Compare the window with the server's messages; return the two if they stay different. A removal is shown before its
 * entry is stored, and so a page may have been read before it, up to the same entry.
 */
async function compare() {
  let found = await compareOnce();
  for (let attempt = 0; attempt < 5 && found.mine; attempt++) {
    await new Promise((done) => setTimeout(done, 1_000));
    found = await compareOnce();
  }
  return found;
}

/** Compare once, unless there were more entries in between. */
async function compareOnce() {
  const first = room.firstShown;
  if (first === undefined || !room.joined) return {};
  const page = await client.ask({ op: "history", room: roomName, after: first - 1, limit: 1_000 });
  if (page?.type !== "history" || page.last !== room.last || room.isStale) return {};
  const [begin, end] = [shown()[0].seq, shown().at(-1).seq]; // the window may have moved in between
  const [mine, theirs] = [shown(), page.messages.filter(({ seq }) => begin <= seq && seq <= end)].map(comparable);
  return mine === theirs ? { compared: 1 } : { compared: 1, mine, theirs };
}

/** Leave out what only the delivery of one's own message has. */
function comparable(messages) {
  return JSON.stringify(messages.map(({ type, ...message }) => sorted(message)));
}

function sorted(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  return Object.keys(value)
    .sort()
    .map((key) => [key, key === "reactions" ? value[key] : sorted(value[key])]);
}

const commands = {
  say: async ({ text, of }) => client.publish(room, text, of ? { of } : undefined),
  change: async ({ act, seq, text }) => client.change(room, seq, act, text),
  redact: async ({ seq }) => client.redact(room, seq),
  leave: async () => client.close(),
  come: async () => client.open(),
  older: async () => client.loadOlder(room),
  around: async ({ seq }) => client.showAround(room, seq),
  newest: async () => client.showNewest(room),
  compare,
  stored: async () => until(() => client.outbox.of(roomName).every(({ problem }) => problem)), // those were refused
  settle: async ({ last }) => {
    await until(() => room.joined && room.last >= last && !room.isStale);
    await client.showNewest(room);
    return { messages: shown(), gaps: room.items.filter(({ kind }) => kind === "gap") };
  },
};

/** Carry out one command. */
async function answer({ command, ...options }) {
  try {
    return { ok: true, ...(await commands[command](options)) };
  } catch (error) {
    if (error instanceof ConnectionLost) return { unavailable: error.message };
    if (error instanceof Refused) return { [error.code === "unavailable" ? "unavailable" : "refused"]: error.message };
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
process.exit();
