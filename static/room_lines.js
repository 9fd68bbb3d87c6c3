/** The lines of the open room's log, from the state of the client. Knows no DOM. */

import { linesOf } from "./transcript.js";

/** @typedef {import("./client.js").Client} Client */
/** @typedef {import("./room.js").Room} Room */

/**
 * @param {Client} client
 * @param {Room} room
 * @param {{me: import("./message_actions.js").User, parents: import("./parents.js").Parents}} page
 */
export function roomLines(client, room, { me, parents }) {
  const { joined, listed } = client.rooms;
  const shown = room.bySeq();
  return linesOf(room, {
    pending: client.outbox.of(room.name),
    me,
    status: (entry) => statusOf(client, entry),
    known: {
      names: new Set([me.name, ...room.members.keys()]),
      rooms: new Set([...joined.keys(), ...listed.map(({ room }) => room)]),
      me: me.name,
    },
    parentOf: (seq) => shown.get(seq) ?? parents.get(room, seq),
    now: new Date(),
  });
}

/**
 * Say what a message in the outbox waits for. One that may be on its way cannot be discarded.
 * @param {Client} client
 * @param {import("./outbox.js").Entry} entry
 */
function statusOf({ outbox, connection, storeProblem, delivery }, entry) {
  if (entry.problem) return { note: entry.problem, canDiscard: true };
  if (outbox.isStored(entry.key)) return { note: "", canDiscard: false };
  if (!connection.isOnline) return { note: "Waiting for the connection", canDiscard: true };
  if (storeProblem) return { note: "Waiting for the store", canDiscard: true };
  if (delivery.isPaused) return { note: "Waiting to try again", canDiscard: true };
  return { note: "Sending…", canDiscard: false };
}
