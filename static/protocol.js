/**
 * The frames of chatkit.v1 as types, and their parser. Knows no socket and no room.
 *
 * With `of`, an entry refers to an earlier message: it is a reply or, with `act`, a change of that message. The fields
 * from `edited` on are the state of a message that was read in a page of history.
 *
 * @typedef {"edit" | "react" | "unreact" | "pin" | "unpin" | "redact"} Act
 * @typedef {{count: number, by: string[]}} Reaction `by` lists at most 20 names
 * @typedef {{room: string, seq: number, time: string, sender: string, body: string, data?: unknown, key?: string,
 *   redacted?: boolean, verified?: boolean, bot?: boolean, of?: number, act?: Act, mentions?: string[],
 *   edited?: {seq: number, time: string}, reactions?: Record<string, Reaction>, replies?: number,
 *   pinned?: boolean}} Message
 * @typedef {{name: string, since: string, verified?: boolean, bot?: boolean}} Member
 * @typedef {{after: number, before: number, reason: "trimmed" | "epoch" | "no-history"}} Gap
 * @typedef {{body: number, history: number}} Limits
 *
 * @typedef {{op: "join", room: string, after?: string, history?: number}} Join
 * @typedef {{op: "leave", room: string}} Leave
 * @typedef {{op: "publish", room: string, body: string, key?: string, data?: unknown, of?: number, act?: Act}} Publish
 * @typedef {{op: "history", room: string, before?: number, after?: number, limit?: number, search?: string,
 *   of?: number, raw?: boolean}} History
 * @typedef {{op: "members", room: string}} Members
 * @typedef {{op: "typing", room: string}} Typing
 * @typedef {{op: "ping"}} Ping
 * @typedef {{op: "mark", room: string, seq: number}} Mark
 * @typedef {{op: "unread"}} Unread
 * @typedef {Join | Leave | Publish | History | Members | Typing | Ping | Mark | Unread} Command
 *
 * @typedef {number | string} Ref
 * @typedef {{type: "welcome", name: string, server: string, limits: Limits, verified?: boolean, bot?: boolean,
 *   ref?: Ref}} WelcomeEvent
 * @typedef {{type: "joined", room: string, cursor: string, first: number, last: number, members: Member[],
 *   count: number, rights?: string[], topic?: string, archived?: boolean, ref?: Ref}} JoinedEvent
 * @typedef {{type: "left", room: string, reason?: string, message?: string, renamed_to?: string,
 *   ref?: Ref}} LeftEvent
 * @typedef {{type: "room", room: string, topic: string, archived: boolean, rights?: string[], ref?: Ref}} RoomEvent
 * @typedef {Message & {type: "message", ref?: Ref}} MessageEvent
 * @typedef {Gap & {type: "gap", room: string, ref?: Ref}} GapEvent
 * @typedef {{type: "ack", room: string, seq: number, cursor: string, repeat: boolean, ref?: Ref}} AckEvent
 * @typedef {{type: "history", room: string, messages: Message[], complete: boolean, last?: number,
 *   reached?: number, ref?: Ref}} HistoryEvent `reached` is where a search continues that has ended early
 * @typedef {{type: "marked", room: string, seq: number, ref?: Ref}} MarkedEvent
 * @typedef {{room: string, marker: number, unread: number, mentions: number, last: number}} UnreadRoom
 * @typedef {{type: "unread", rooms: UnreadRoom[], ref?: Ref}} UnreadEvent
 * @typedef {{type: "members", room: string, members: Member[], count: number, ref?: Ref}} MembersEvent
 * @typedef {{type: "presence", room: string, joined?: string[], left?: string[], count: number,
 *   verified?: string[], bots?: string[], ref?: Ref}} PresenceEvent
 * @typedef {{type: "typing", room: string, sender: string, ref?: Ref}} TypingEvent
 * @typedef {{type: "redacted", room: string, seq: number, ref?: Ref}} RedactedEvent
 * @typedef {{type: "error", code: string, message: string, retry_after_s?: number,
 *   limit?: number, value?: string, ref?: Ref}} ErrorEvent
 * @typedef {{type: "restored", ref?: Ref}} RestoredEvent
 * @typedef {{type: "pong", ref?: Ref}} PongEvent
 * @typedef {WelcomeEvent | JoinedEvent | LeftEvent | RoomEvent | MessageEvent | GapEvent | AckEvent | HistoryEvent
 *   | MembersEvent | PresenceEvent | TypingEvent | RedactedEvent | ErrorEvent | RestoredEvent | PongEvent
 *   | MarkedEvent | UnreadEvent} Event
 */

export const SUBPROTOCOL = "chatkit.v1";

/** The server refused a command; the message is its sentence. */
export class Refused extends Error {
  /** @param {ErrorEvent} event */
  constructor(event) {
    super(event.message);
    this.code = event.code;
    /** The new name of a room that was renamed. */
    this.renamedTo = event.code === "room-renamed" ? event.value : undefined;
    /** Seconds after which a retry may succeed; undefined if it cannot. */
    this.retryAfterS = event.retry_after_s ?? (event.code === "unavailable" ? 2 : undefined);
  }
}

/** The connection was lost before the answer arrived. The server may or may not have carried out the command. */
export class ConnectionLost extends Error {}

/**
 * Parse a frame; return null if it is not an event.
 * @param {unknown} text
 * @returns {Event | null}
 */
export function readEvent(text) {
  if (typeof text !== "string") return null;
  try {
    const value = JSON.parse(text);
    return value && typeof value.type === "string" ? value : null;
  } catch {
    return null;
  }
}

/**
 * Split a cursor. Only resuming needs this: the new cursor has the epoch of a `joined` event and the seq of a message.
 * @param {string} cursor
 */
export function splitCursor(cursor) {
  const colon = cursor.lastIndexOf(":");
  return { epoch: cursor.slice(0, colon), seq: Number(cursor.slice(colon + 1)) };
}
