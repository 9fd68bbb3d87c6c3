/**
 * Carries out the searches of the search pane: in a room, in all rooms, for mentions and pinned messages. Knows no DOM.
 *
 * @typedef {import("./views/search.js").Results} Results
 */

import { explain } from "./explanations.js";
import { Refused } from "./protocol.js";

const OFFLINE = "Search requires a connection. Try again when you are online.";

/**
 * Return the results, or the problem as a sentence.
 * @param {import("./client.js").Client} client
 * @param {import("./room.js").Room | null} room the room that is open
 * @param {import("./views/search.js").Scope} scope
 * @param {string} text
 * @param {number | string} [more] where the results so far end
 * @returns {Promise<Results | string>}
 */
export async function findMessages(client, room, scope, text, more) {
  try {
    if (scope === "room" || scope === "pinned") return room ? await inRoom(client, room, scope, text, more) : "";
    const before = more === undefined ? undefined : String(more);
    const page = scope === "mentions" ? await client.mentions(before) : await client.searchAll(text, before);
    return { messages: page.messages, more: page.complete ? undefined : page.cursor };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.code === "unavailable" ? OFFLINE : explain(error);
  }
}

/**
 * @param {import("./client.js").Client} client
 * @param {import("./room.js").Room} room
 * @param {"room" | "pinned"} scope
 * @param {string} text
 * @param {number | string} [more]
 */
async function inRoom(client, room, scope, text, more) {
  const before = Number(more) || undefined;
  const page = await (scope === "pinned" ? client.pinned(room, before) : client.search(room, text, before));
  if (!page) return OFFLINE;
  const { complete, reached, messages } = page;
  return { messages: messages.toReversed(), more: complete ? undefined : (reached ?? messages[0]?.seq), reached };
}
