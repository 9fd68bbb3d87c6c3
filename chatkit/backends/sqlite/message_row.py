"""MessageRow: one row of the table `message` as SQL returns it, with or without the message's state."""

# ruff: noqa: S608 - the statements are composed of constants

from typing import Final

import msgspec
from msgspec.structs import replace

from chatkit.backends.flags import BOT, REFERRED, VERIFIED
from chatkit.core.json_decoder import decode_json
from chatkit.core.message_state import MAX_LISTED_NAMES, NO_STATE, Act, Edit, MessageState, Reaction
from chatkit.core.model import Message

# A row of the table `message`, or of a subquery with this alias, as `MessageRow` decodes it.
ROW: Final = """json_array(message.seq, message.time_ms, message.sender, message.body, message.data, message.key,
    message.flags, message.of, message.act, json(message.mentions))"""
IS_REFERRED: Final = f"message.flags & {REFERRED}"
# To join to `message`: its state and its newest edit, which are looked up only for a message that has a state.
STATE: Final = f"""
    LEFT JOIN message_state AS state
    ON {IS_REFERRED} AND state.room = message.room AND state.seq = message.seq
    LEFT JOIN message AS edit ON edit.room = state.room AND edit.seq = state.edit AND edit.body IS NOT NULL
"""
BODY: Final = "CASE WHEN edit.id IS NULL THEN message.body ELSE edit.body END"
FOLDED: Final = "CASE WHEN edit.id IS NULL THEN message.folded ELSE edit.folded END"  # the column `folded` of the text
MENTIONS: Final = "CASE WHEN edit.id IS NULL THEN message.mentions ELSE edit.mentions END"
_SENDERS = f"""
    SELECT json_group_array(sender) FROM (
        SELECT sender FROM reaction_sender WHERE room = used.room AND seq = used.seq AND emoji = used.emoji
        ORDER BY sender LIMIT {MAX_LISTED_NAMES}
    )
"""
_REACTIONS = f"""
    SELECT json_group_array(json_object('emoji', emoji, 'count', n_senders, 'by', json(({_SENDERS})))) FROM (
        SELECT * FROM reaction WHERE room = state.room AND seq = state.seq ORDER BY since
    ) AS used
"""
# The same with the state, for a statement that joins STATE.
FOLDED_ROW: Final = f"""json_array(message.seq, message.time_ms, message.sender, {BODY}, message.data, message.key,
    message.flags, message.of, message.act, json({MENTIONS}), CASE WHEN state.seq IS NOT NULL
    THEN json_array(edit.seq, edit.time_ms, json(({_REACTIONS})), state.n_replies, state.is_pinned) END)"""


class StateRow(msgspec.Struct, array_like=True, frozen=True):
    """The state of a message as encoded by SQLite's JSON."""

    edit: int | None
    edit_time_ms: int | None
    reactions: list[Reaction]
    n_replies: int
    is_pinned: int

    def to_state(self) -> MessageState | None:
        """Return the row as a state, or None if it says nothing."""
        edited = None if self.edit is None or self.edit_time_ms is None else Edit(self.edit, self.edit_time_ms)
        state = MessageState(edited, tuple(self.reactions), self.n_replies, bool(self.is_pinned))
        return None if state == NO_STATE else state


class MessageRow(msgspec.Struct, array_like=True, frozen=True):
    """One message as encoded by SQLite's JSON; `data` is JSON text within it. A redacted message has no body."""

    seq: int
    time_ms: int
    sender: str
    body: str | None
    data: str | None
    key: str | None
    flags: int
    of: int | None
    act: Act | None
    mentions: tuple[str, ...] | None
    state: StateRow | None = None

    def to_message(self, room: str, epoch: str) -> Message:
        """Return the row as a `Message`."""
        return Message(
            room,
            epoch,
            self.seq,
            self.time_ms,
            self.sender,
            self.body or "",
            None if self.data is None else decode_json(self.data),
            self.key,
            self.body is None,
            verified=bool(self.flags & VERIFIED),
            bot=bool(self.flags & BOT),
            of=self.of,
            act=self.act,
            mentions=self.mentions or (),
            state=None if self.state is None else self.state.to_state(),
        )

    def to_tombstone(self) -> "MessageRow":
        """Return what is left after a redaction."""
        return replace(self, body=None, data=None, mentions=None)


decode_row = msgspec.json.Decoder(MessageRow).decode
decode_rows = msgspec.json.Decoder(list[MessageRow]).decode
decode_room_rows = msgspec.json.Decoder(list[tuple[str, str, MessageRow]]).decode
