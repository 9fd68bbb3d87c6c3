// A client on Node's `ws`, for tests/protocols/test_peers.py. `node echo.mjs URL URL-THAT-CLOSES` talks to an echo with
// and without compression, waits for a server that closes, and prints what it saw as JSON.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import WebSocket from "ws";

const [echoUrl, closingUrl] = process.argv.slice(2);

/** Open a connection, and gather what comes before anybody waits for it. */
async function connect(url, perMessageDeflate) {
  const socket = new WebSocket(url, { perMessageDeflate });
  const peer = { socket, messages: [], pings: 0, closed: once(socket, "close"), wake: () => {} };
  socket.on("message", (data, isBinary) => {
    peer.messages.push({ data, isBinary });
    peer.wake();
  });
  socket.on("ping", () => {
    peer.pings += 1;
    peer.wake();
  });
  socket.on("close", () => peer.wake());
  await once(socket, "open");
  return peer;
}

/** Wait for what has to come before the connection ends. */
async function until(peer, condition) {
  while (!condition()) {
    if (peer.socket.readyState === WebSocket.CLOSED) throw new Error(`closed too early: ${await peer.closed}`);
    await new Promise((resolve) => (peer.wake = resolve));
  }
}

/** Send the pieces of one message; say whether it came back as it was. */
async function echoes(peer, pieces, binary) {
  const count = peer.messages.length;
  pieces.forEach((piece, i) => peer.socket.send(piece, { binary, fin: i === pieces.length - 1 }));
  await until(peer, () => peer.messages.length > count);
  const { data, isBinary } = peer.messages[count];
  return isBinary === binary && data.equals(Buffer.concat(pieces));
}

function cut(data, size) {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, i) => data.subarray(i * size, (i + 1) * size));
}

async function talk(perMessageDeflate) {
  const peer = await connect(echoUrl, perMessageDeflate);
  const text = Buffer.from("ä€😀".repeat(200)); // pieces of seven bytes cut characters
  const bytes = randomBytes(1_000);
  const echoed = {};
  for (const size of [0, 125, 126, 65_535, 65_536, 1 << 20]) {
    echoed[`text of ${size}`] = await echoes(peer, [Buffer.alloc(size, "words and ")], false);
    echoed[`binary of ${size}`] = await echoes(peer, [randomBytes(size)], true);
  }
  echoed["text in fragments"] = await echoes(peer, cut(text, 7), false);
  echoed["binary in fragments"] = await echoes(peer, cut(bytes, 7), true);
  echoed["text after fragments"] = await echoes(peer, [text], false);

  peer.socket.send("half", { fin: false });
  const pong = once(peer.socket, "pong");
  peer.socket.ping("are you there?");
  const [payload] = await pong;
  const count = peer.messages.length;
  peer.socket.send(" and half", { fin: true });
  await until(peer, () => peer.messages.length > count);
  echoed["text around a ping"] = peer.messages[count].data.toString() === "half and half";

  await until(peer, () => peer.pings >= 2); // ws answers by itself: else the server would not go on
  const { extensions } = peer.socket;
  peer.socket.close(4001, "genug ✓");
  const [code, reason] = await peer.closed;
  return { extensions, echoed, pong: payload.toString(), close: [code, reason.toString()] };
}

async function hearClose(perMessageDeflate) {
  const peer = await connect(closingUrl, perMessageDeflate);
  const [code, reason] = await peer.closed;
  return [code, reason.toString()];
}

console.log(
  JSON.stringify({
    plain: await talk(false),
    compressed: await talk({ threshold: 0 }),
    closed: [await hearClose(false), await hearClose(true)],
  }),
);
