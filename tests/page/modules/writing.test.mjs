// What helps to write: completion, emoji, commands, addresses; and what may be done with a message.
import assert from "node:assert/strict";
import { test } from "node:test";

import { placeIn } from "../../../static/address.js";
import { actionOf, readInput } from "../../../static/commands.js";
import { matching, wordAt } from "../../../static/completion.js";
import { emojiNamed, GROUPS, searchEmoji } from "../../../static/emoji.js";
import { actionsOn, isOwn, QUICK_REACTIONS } from "../../../static/message_actions.js";
import { countUse, mostUsed } from "../../../static/reaction_choice.js";
import { Store } from "../../../static/storage.js";

const word = (text) => {
  const found = wordAt(text, text.length);
  return found && [found.kind, found.from, found.query, found.isClosed];
};

test("the word at the caret is found", () => {
  assert.deepEqual(word("hi @an"), ["name", 3, "an", false]);
  assert.deepEqual(word("@"), ["name", 0, "", false]);
  assert.deepEqual(word("see (#op"), ["room", 5, "op", false]);
  assert.deepEqual(word("nice :ta"), ["emoji", 5, "ta", false]);
  assert.deepEqual(word("nice :tada:"), ["emoji", 5, "tada", true]);
  assert.deepEqual(word("/to"), ["command", 0, "to", false]);
  for (const text of ["", "a", "a@b", "10:30", "a :", ":D", "see /to", "a#b", "@a b", "/etc/x", "x".repeat(99)]) {
    assert.equal(word(text), null, text);
  }
});

test("names are completed from their beginning", () => {
  assert.deepEqual(matching("An", ["bob", "ann", "Anna", "joan", "ann"], 8), ["ann", "Anna"]);
  assert.equal(matching("", Array.from({ length: 20 }, (_, n) => `n${n}`), 8).length, 8);
});

test("every emoji has one valid name, and no two share one", () => {
  const all = GROUPS.flatMap(({ emoji }) => emoji);
  assert.ok(all.length >= 300, String(all.length));
  assert.equal(new Set(all.map(({ name }) => name)).size, all.length);
  assert.equal(new Set(all.map(({ char }) => char)).size, all.length);
  for (const { char, name } of all) {
    assert.match(name, /^[a-z0-9_+-]{1,30}$/);
    assert.match(char, /\p{Extended_Pictographic}/u);
    assert.equal([...new Intl.Segmenter().segment(char)].length, 1, char);
  }
});

test("emoji are found by name first, then by other words", () => {
  assert.equal(searchEmoji("heart")[0].char, "❤️");
  assert.equal(searchEmoji("thumbsup")[0].char, "👍");
  assert.ok(searchEmoji("part").some(({ char }) => char === "🎉"));
  assert.deepEqual(searchEmoji("nothing at all"), []);
  assert.equal(emojiNamed("tada"), "🎉");
  assert.equal(emojiNamed("party"), "🥳");
  assert.equal(emojiNamed("unknown"), undefined);
});

test("commands are distinguished from messages", () => {
  assert.deepEqual(readInput("/topic  all about it "), { kind: "command", name: "topic", argument: "all about it" });
  assert.deepEqual(readInput("/help"), { kind: "command", name: "help", argument: "" });
  assert.deepEqual(readInput("/tpoic x"), { kind: "unknown", name: "tpoic" });
  assert.deepEqual(readInput("//topic x"), { kind: "message", body: "/topic x" });
  for (const body of ["/me waves", "/etc/hosts", "/", "/ x", "a /help", "/1"]) {
    assert.deepEqual(readInput(body), { kind: "message", body });
  }
  assert.equal(actionOf("/me waves"), "waves");
  assert.equal(actionOf("/me"), null);
});

test("the address names a room, or a message in it", () => {
  assert.deepEqual(placeIn("#ops"), { room: "ops", seq: null });
  assert.deepEqual(placeIn("#ops/42"), { room: "ops", seq: 42 });
  assert.deepEqual(placeIn("#%E6%97%A5/7"), { room: "日", seq: 7 });
  for (const text of ["", "#", "#/42", "#ops/", "#ops/x", "#ops/1/2", "#%zz"]) assert.equal(placeIn(text), null, text);
});

test("the reactions that were used most are offered first", () => {
  const store = new Store(null, "/");
  assert.deepEqual(mostUsed(store), QUICK_REACTIONS);
  for (const emoji of ["🚀", "🚀", "👀", "✅", "✅", "✅"]) countUse(store, emoji);
  assert.deepEqual(mostUsed(store), ["✅", "🚀", "👀", "👍", "❤️", "😂"]);
  store.set("reactions", "[1");
  assert.deepEqual(mostUsed(store), QUICK_REACTIONS);
});

const MESSAGE = { room: "ops", seq: 1, time: "2026-11-20T11:47:21Z", sender: "ann", body: "hi" };
const OPEN = { canWrite: true, rights: undefined };

test("on an open server, messages under one's name can be edited and removed", () => {
  const ann = { name: "ann", verified: false };
  assert.deepEqual(actionsOn(MESSAGE, OPEN, ann), ["reply", "react", "edit", "pin", "copy-text", "copy-link", "redact"]);
  assert.deepEqual(actionsOn(MESSAGE, OPEN, { ...ann, name: "bob" }), ["reply", "react", "pin", "copy-text", "copy-link"]);
});

test("elsewhere, a name alone gives no right", () => {
  const room = { canWrite: true, rights: ["read", "write"] };
  assert.equal(isOwn(MESSAGE, room, { name: "ann", verified: true }), false);
  assert.equal(isOwn({ ...MESSAGE, verified: true }, room, { name: "ann", verified: false }), false);
  assert.equal(isOwn({ ...MESSAGE, verified: true }, room, { name: "ann", verified: true }), true);
});

test("readers copy, moderators remove and ban", () => {
  const reader = { canWrite: false, rights: ["read"] };
  assert.deepEqual(actionsOn(MESSAGE, reader, { name: "gus", verified: false }), ["copy-text", "copy-link"]);
  const moderated = { canWrite: true, rights: ["read", "write", "moderate"] };
  const actions = actionsOn({ ...MESSAGE, pinned: true }, moderated, { name: "mara", verified: true });
  for (const action of ["unpin", "redact", "mute", "kick", "ban"]) assert.ok(actions.includes(action), action);
  assert.ok(!actions.includes("edit"));
});

test("a removed message can be linked, and nothing else", () => {
  const message = { ...MESSAGE, body: "", redacted: true };
  assert.deepEqual(actionsOn(message, OPEN, { name: "ann", verified: false }), ["copy-link"]);
});
