/**
 * The rows of the list of rooms: the rooms that the page has joined, and the others. A pure function.
 *
 * @typedef {import("./views/rooms.js").RoomState} RoomState
 */

/**
 * @param {import("./client.js").Client} client
 * @param {import("./room.js").Room | null} open the room that is shown
 * @returns {{joined: RoomState[], others: RoomState[]}}
 */
export function roomList(client, open) {
  const { rooms, outbox, readState } = client;
  const waiting = outbox.rooms;
  const listed = new Map(rooms.listed.map(({ room, members }) => [room, members]));
  const joined = [...rooms.joined.values()].map((room) => {
    const isRead = room === open && room.following;
    return {
      name: room.name,
      unread: isRead ? 0 : room.unread,
      mentions: isRead ? 0 : room.position.mentions,
      members: room.joined ? room.count : (listed.get(room.name) ?? 0),
      isOpen: room === open,
      hasPending: waiting.has(room.name),
    };
  });
  const others = rooms.others.map(({ room, members }) => {
    const { unread = 0, mentions = 0 } = readState.counts.get(room) ?? {};
    return { name: room, unread, mentions, members, isOpen: false, hasPending: false };
  });
  return { joined, others };
}
