// A client on Node's `eventsource`, for tests/test_event_clients.py. `node eventsource.mjs URL` prints each event that
// comes, with its type, as a line of JSON, until its standard input ends.

import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
for (const type of ["message", "gap", "ping"]) {
  source.addEventListener(type, ({ data, lastEventId }) => console.log(JSON.stringify({ type, data, lastEventId })));
}
process.stdin.on("end", () => source.close()).resume();
