/**
 * Explains the errors of access in sentences that say what to do next. Pure functions.
 *
 * @typedef {"sign-in" | "retry" | "rooms"} Action what a button beside the sentence does
 * @typedef {{title: string, text: string, action?: Action}} Explanation
 */

/**
 * Explain what the user may do in a room.
 * @param {import("./room.js").Room} room
 * @param {{account: {isWriterOf: (room: string) => boolean}, isSignedIn: boolean}} user
 */
export function explainAccess(room, { account, isSignedIn }) {
  const { refusal, topic, archived } = room;
  const isWriter = account.isWriterOf(room.name);
  return {
    topic,
    canEditTopic: room.rights?.includes("moderate") ?? false,
    readOnly: room.canWrite ? "" : explainReadOnly({ isArchived: archived, isWriter, isSignedIn }),
    canSignIn: !archived && !isSignedIn,
    closed: refusal && explainRoom(room.name, refusal, { isSignedIn, wasInside: refusal.wasInside }),
  };
}

/**
 * Explain why a room is not shown.
 * @param {string} room
 * @param {{code: string, message: string}} error
 * @param {{isSignedIn: boolean, wasInside: boolean}} state `wasInside`: the server took the user out of the room
 * @returns {Explanation}
 */
function explainRoom(room, error, { isSignedIn, wasInside }) {
  const way = isSignedIn ? "Ask a moderator or the operator of the server." : "If you have a token, sign in with it.";
  const action = isSignedIn ? "rooms" : "sign-in";
  switch (error.code) {
    case "banned": {
      const why = detailOf(error.message);
      const title = wasInside ? `You were removed from #${room}` : `You are banned from #${room}`;
      const text = `${why || "A moderator decided this."} You can try again later, or ask a moderator.`;
      return { title, text, action: "retry" };
    }
    case "not-found":
      if (!wasInside) return { title: `There is no room #${room} for you`, text: `It may be private. ${way}`, action };
      return { title: `#${room} is gone for you`, text: `It was deleted, or you lost access. ${way}`, action };
    case "forbidden":
      return { title: `You may not open #${room}`, text: way, action };
    default:
      return { title: `#${room} cannot be opened`, text: sentenceOf(error.message || error.code), action: "retry" };
  }
}

/**
 * Explain why a room can be read, but not written.
 * @param {{isArchived: boolean, isWriter: boolean, isSignedIn: boolean}} state `isWriter`: the user has the right to
 *   write, but a ban takes it away
 */
function explainReadOnly({ isArchived, isWriter, isSignedIn }) {
  if (isArchived) return "This room is archived. It can be read, but nobody can write to it.";
  if (isWriter) return "You are muted in this room: you can read it, but not write to it.";
  if (isSignedIn) return "You can read this room. To write, ask a moderator for the right to do so.";
  return "You can read this room. To write, sign in with a token.";
}

/**
 * Explain an error in one or two sentences.
 * @param {{code: string, message: string}} error
 * @param {string} [name] the name that was refused
 */
export function explain({ code, message }, name = "") {
  switch (code) {
    case "name-taken":
      return `${explainTaken(name)} Choose another name, or sign in with its token.`;
    case "banned":
      return ["You are banned from this server.", detailOf(message), "Ask its operator if this is a mistake."]
        .filter(Boolean)
        .join(" ");
    case "invite-used":
      return "This invite was used already, or it has expired. Ask the person who sent it for a new one.";
    case "forbidden":
      return `${sentenceOf(message)} Ask a moderator or the operator of the server.`;
    case "not-found":
      return `${sentenceOf(message)} It may have been removed; reload the page to see what is there now.`;
    default:
      return sentenceOf(message);
  }
}

/** @param {string} name */
export function explainTaken(name) {
  return `The name “${name}” belongs to somebody, or looks like a name that does.`;
}

/**
 * Write a fragment as a sentence.
 * @param {string} text
 */
export function sentenceOf(text) {
  return text && `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
}

/**
 * Return what a `banned` error says beside that word: the reason and the end, as a sentence in local time.
 * @param {string} message
 */
function detailOf(message) {
  const detail = message.replace(/^banned(: )?/, "");
  return sentenceOf(detail.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/, (time) => TIME.format(new Date(time))));
}

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/**
 * Return the sentence above the first message of the window.
 * @param {import("./room.js").Room} room
 */
export function explainTop(room) {
  if (!room.oldest) return "";
  if (room.loading === "older") return "Loading older messages…";
  if (room.hasOlder) return "";
  if (room.oldest.generation !== room.generation) return "";
  const kept = room.oldest.message.seq;
  return kept > 1 ? `Messages 1–${kept - 1} are no longer kept.` : `This is the beginning of #${room.name}.`;
}
