"""How messages come out of SQLite: many rows as one JSON value, made within one step.

Row by row, Python's sqlite3 would let go of the interpreter's lock for each, and wait for it again behind a busy loop.
"""

import msgspec

from chatkit.core.model import Message

# A message of the table, or of a subquery of this name, as the `MessageRow` below has it.
ROW = "json_array(message.seq, message.time_ms, message.sender, message.body, message.data, message.key)"


class MessageRow(msgspec.Struct, array_like=True, frozen=True):
    """One message as SQLite's JSON has it; `data` is JSON text within it. A redacted message has no body."""

    seq: int
    time_ms: int
    sender: str
    body: str | None
    data: str | None
    key: str | None

    def to_message(self, room: str, epoch: str) -> Message:
        """Return it as a value of the core."""
        data = None if self.data is None else msgspec.json.decode(self.data)
        redacted = self.body is None
        return Message(room, epoch, self.seq, self.time_ms, self.sender, self.body or "", data, self.key, redacted)


decode_row = msgspec.json.Decoder(MessageRow).decode
decode_rows = msgspec.json.Decoder(list[MessageRow]).decode
decode_room_rows = msgspec.json.Decoder(list[tuple[str, MessageRow]]).decode
