// A client on Node's `ws`, for tests/end_to_end/test_websocket_clients.py. `node websocket.mjs URL [SUBPROTOCOL COMMAND]`
// sends the command, and prints each text that comes as a line of JSON, until its standard input ends.

import WebSocket from "ws";

const [url, subprotocol, command] = process.argv.slice(2);
const socket = new WebSocket(url, subprotocol ? [subprotocol] : []);
socket.on("open", () => command && socket.send(command));
socket.on("message", (text) => console.log(JSON.stringify(text.toString())));
process.stdin.on("end", () => socket.terminate()).resume();
