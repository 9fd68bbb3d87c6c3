"""What refers to messages, folded at commit: the state of each message is stored, so that a page only looks it up.

The rules are those of `core.relations`. The writer passes new entries to a view whose triggers apply them one by one:
that is one statement for a batch. The view exists only in the writer's connection, and so can change with the program.
"""

# ruff: noqa: S608 - the statements are composed of constants

import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Final

from chatkit.backends.flags import REFERRED
from chatkit.backends.sqlite.message_row import MENTIONS, STATE
from chatkit.core.message_state import Act
from chatkit.core.model import Draft

ROOMS_STEP: Final = 200  # rooms whose senders of reactions are looked for in one transaction
SENDERS_STEP: Final = 2_000  # senders of reactions that are removed in one transaction: a few milliseconds

_ON = "INSTEAD OF INSERT ON temp.relation WHEN new.act"
_KNOW_STATE = f"""
    UPDATE message SET flags = flags | {REFERRED} WHERE room = new.room AND seq = new.of AND NOT flags & {REFERRED};
    INSERT OR IGNORE INTO message_state (room, seq) VALUES (new.room, new.of);
"""
_MENTION = """
    INSERT OR IGNORE INTO mention (name, room, seq, time_ms)
    SELECT value, new.room, {seq}, new.time_ms FROM json_each(new.mentions);
"""
_HAS_SENDER = """
    EXISTS (SELECT * FROM reaction_sender WHERE room = new.room AND seq = new.of AND emoji = new.body
            AND sender = new.sender)
"""
_TRIGGERS: Final = {
    "run": """
        IS NOT NULL BEGIN
            INSERT OR IGNORE INTO change_run (room, first, last) VALUES (new.room, 0, 0);
            UPDATE change_run SET last = new.seq WHERE room = new.room AND last = new.seq - 1
            AND first = (SELECT max(first) FROM change_run WHERE room = new.room);
            INSERT INTO change_run (room, first, last) SELECT new.room, new.seq, new.seq
            WHERE new.seq > (SELECT last FROM change_run WHERE room = new.room ORDER BY first DESC LIMIT 1);
        END
    """,
    "mention": f"IS NULL AND new.mentions IS NOT NULL BEGIN {_MENTION.format(seq='new.seq')} END",
    "reply": f"""
        IS NULL AND new.of IS NOT NULL BEGIN
            {_KNOW_STATE}
            UPDATE message_state SET n_replies = n_replies + 1 WHERE room = new.room AND seq = new.of;
        END
    """,
    "edit": f"""
        = '{Act.EDIT}' AND new.of IS NOT NULL BEGIN
            {_KNOW_STATE}
            UPDATE message_state SET edit = new.seq WHERE room = new.room AND seq = new.of;
            DELETE FROM mention WHERE room = new.room AND seq = new.of;
            {_MENTION.format(seq="new.of")}
        END
    """,
    "react": f"""
        = '{Act.REACT}' AND new.of IS NOT NULL AND NOT {_HAS_SENDER} BEGIN
            {_KNOW_STATE}
            INSERT INTO reaction (room, seq, emoji, since, n_senders)
            VALUES (new.room, new.of, new.body, new.seq, 1) ON CONFLICT DO UPDATE SET n_senders = n_senders + 1;
            INSERT INTO reaction_sender (room, seq, emoji, sender) VALUES (new.room, new.of, new.body, new.sender);
        END
    """,
    "unreact": f"""
        = '{Act.UNREACT}' AND {_HAS_SENDER} BEGIN
            UPDATE reaction SET n_senders = n_senders - 1
            WHERE room = new.room AND seq = new.of AND emoji = new.body;
            DELETE FROM reaction WHERE room = new.room AND seq = new.of AND emoji = new.body AND n_senders = 0;
            DELETE FROM reaction_sender
            WHERE room = new.room AND seq = new.of AND emoji = new.body AND sender = new.sender;
        END
    """,
    "pin": f"""
        IN ('{Act.PIN}', '{Act.UNPIN}') AND new.of IS NOT NULL BEGIN
            {_KNOW_STATE}
            UPDATE message_state SET is_pinned = new.act = '{Act.PIN}' WHERE room = new.room AND seq = new.of;
        END
    """,
}
_VIEW = """
    CREATE TEMP VIEW relation (room, seq, time_ms, sender, body, mentions, of, act) AS
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
"""
# `of` is NULL for a change of what is not there, is a change itself or is redacted, and for an edit by somebody else.
# `time_ms` is that of the message whose mentions change.
_RELATE = f"""
    INSERT INTO temp.relation (room, seq, time_ms, sender, body, mentions, of, act)
    SELECT entry.room, entry.seq, CASE WHEN entry.act IS NULL THEN entry.time_ms ELSE target.time_ms END, entry.sender,
        entry.body, entry.mentions, target.seq, entry.act
    FROM message AS entry LEFT JOIN message AS target
    ON target.room = entry.room AND target.seq = entry.of AND target.seq <= entry.seq AND target.act IS NULL AND (
        entry.act IS NULL OR entry.body IS NOT NULL AND target.body IS NOT NULL
        AND (entry.act <> '{Act.EDIT}' OR entry.sender = target.sender)
    )
    WHERE entry.id >= ? AND (entry.of IS NOT NULL OR entry.mentions IS NOT NULL)
    ORDER BY entry.id
"""
_EDITS = f"""
    SELECT seq FROM message INDEXED BY message_of
    WHERE room = ?1 AND of = ?2 AND act = '{Act.EDIT}' AND seq > ?2 AND body IS NOT NULL
"""
_CLEAR = "UPDATE message SET body = NULL, data = NULL, folded = NULL, mentions = NULL WHERE room = ? AND seq = ?"
_SHOW_EDIT_BEFORE = f"""
    UPDATE message_state SET edit = (
        SELECT max(entry.seq) FROM message AS target JOIN message AS entry INDEXED BY message_of
        ON entry.room = target.room AND entry.of = target.seq AND entry.act = '{Act.EDIT}' AND entry.seq > target.seq
        AND entry.sender = target.sender AND entry.body IS NOT NULL
        WHERE target.room = message_state.room AND target.seq = message_state.seq
    ) WHERE room = ?1 AND edit = ?2 AND seq = (SELECT of FROM message WHERE room = ?1 AND seq = ?2)
    RETURNING room, seq
"""
_MENTION_AGAIN = f"""
    INSERT INTO mention (name, room, seq, time_ms)
    SELECT value, message.room, message.seq, message.time_ms FROM message {STATE} CROSS JOIN json_each({MENTIONS})
    WHERE message.room = ? AND message.seq = ?
"""
_FORGET_MENTIONS = "DELETE FROM mention WHERE room = ? AND seq = ?"
_FORGET_STATE = "UPDATE message_state SET edit = NULL, is_pinned = FALSE WHERE room = ? AND seq = ?"
_DROP_RUNS = "DELETE FROM change_run WHERE room = ? AND first BETWEEN 1 AND ? AND last <= ?"
_DROP_SENDERS = f"""
    DELETE FROM reaction_sender WHERE (room, seq, emoji, sender) IN (
        SELECT room, seq, emoji, sender FROM reaction_sender WHERE room = ? AND seq <= ? LIMIT {SENDERS_STEP}
    )
"""
# The rows of `reaction_sender` of a message that was trimmed may still exist, but not that of `reaction`.
_HAS_REACTION = """
    SELECT EXISTS (
        SELECT * FROM room JOIN reaction ON reaction.room = room.id
        JOIN reaction_sender USING (room, seq, emoji) WHERE name = ? AND seq = ? AND emoji = ? AND sender = ?
    )
"""


def create_view(connection: sqlite3.Connection) -> None:
    """Create what `relate` needs, in a writer's connection."""
    connection.execute(_VIEW)
    for name, trigger in _TRIGGERS.items():
        connection.execute(f"CREATE TEMP TRIGGER relate_{name} {_ON} {trigger}")


def relate(cursor: sqlite3.Cursor, first_id: int) -> None:
    """Fold the entries that were inserted from an id on. In the transaction that inserted them."""
    cursor.execute(_RELATE, [first_id])


def redact_entry(cursor: sqlite3.Cursor, room: int, seq: int) -> None:
    """Remove the body of a message that has one, those of its edits, and its state. In a transaction.

    If the message is an edit itself, the text before it is shown again.
    """
    edits = [number for (number,) in cursor.execute(_EDITS, [room, seq]).fetchall()]
    entries = [(room, number) for number in [seq, *edits]]
    cursor.executemany(_CLEAR, entries)
    cursor.executemany("INSERT OR IGNORE INTO redaction (room, seq) VALUES (?, ?)", entries)
    cursor.execute(_FORGET_STATE, [room, seq])
    for table in ("reaction", "reaction_sender", "mention"):
        cursor.execute(f"DELETE FROM {table} WHERE room = ? AND seq = ?", [room, seq])
    if (edited := cursor.execute(_SHOW_EDIT_BEFORE, [room, seq]).fetchone()) is not None:
        cursor.execute(_FORGET_MENTIONS, edited)
        cursor.execute(_MENTION_AGAIN, edited)


def drop_state(cursor: sqlite3.Cursor, room: int, last: int) -> None:
    """Remove the state of the messages up to a number, but not all senders of reactions. In a transaction."""
    for table in ("message_state", "reaction", "mention"):
        cursor.execute(f"DELETE FROM {table} WHERE room = ? AND seq <= ?", [room, last])
    cursor.execute(_DROP_RUNS, [room, last, last])


def drop_senders(cursor: sqlite3.Cursor, rooms: deque[tuple[int, int]]) -> int:
    """Remove some senders of reactions to messages up to a number, of some rooms; return how many.

    Rooms in which no more are left are removed from `rooms`.
    """
    n_dropped = 0
    for _ in range(min(len(rooms), ROOMS_STEP)):
        n_dropped += cursor.execute(_DROP_SENDERS, rooms[0]).rowcount
        if n_dropped >= SENDERS_STEP:
            break
        rooms.popleft()
    return n_dropped


def has_reaction(connection: sqlite3.Connection, room: str, seq: int, emoji: str, sender: str) -> bool:
    """Return whether a sender has put an emoji to a message; see `Backend.has_reaction`."""
    (found,) = connection.execute(_HAS_REACTION, [room, seq, emoji, sender]).fetchone()
    return bool(found)


def have_relations(drafts: Sequence[Draft]) -> bool:
    """Return whether some drafts refer to a message, or mention somebody."""
    for draft in drafts:  # noqa: SIM110 - `any` would call a generator for each draft
        if draft.of is not None or draft.mentions:
            return True
    return False
