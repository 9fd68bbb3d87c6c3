"""Rows of the table `message` as SQL returns them, with or without the message's state."""

# ruff: noqa: S608 - the statements are composed of constants

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chatkit.backends.flags import BOT, VERIFIED
from chatkit.backends.postgres.escaping import unescape
from chatkit.core.json_decoder import decode_json
from chatkit.core.message_state import MAX_LISTED_NAMES, NO_STATE, Act, Edit, MessageState, Reaction
from chatkit.core.model import Message

COLUMNS: Final = """message.seq, message.time_ms, message.sender, message.body, message.data, message.key,
    message.redaction IS NOT NULL AS redacted, message.flags, message.of, message.act, message.mentions"""
# To join to `message`. One look-up for each row, so that the planner never scans a table, whatever its statistics say.
STATE: Final = """
    LEFT JOIN LATERAL (
        SELECT * FROM {schema}.message_state WHERE room = message.room AND seq = message.seq LIMIT 1
    ) AS state ON true LEFT JOIN LATERAL (
        SELECT seq, time_ms, body, mentions FROM {schema}.message AS entry
        WHERE room = message.room AND seq = state.edit AND redaction IS NULL LIMIT 1
    ) AS edit ON true
"""
BODY: Final = "coalesce(edit.body, message.body)"
# The same columns with the state, for a statement that joins STATE.
FOLDED_COLUMNS: Final = f"""message.room, message.seq, message.time_ms, message.sender, {BODY} AS body, message.data,
    message.key, message.redaction IS NOT NULL AS redacted, message.flags, message.of, message.act,
    CASE WHEN edit.seq IS NULL THEN message.mentions ELSE edit.mentions END AS mentions,
    state.seq IS NOT NULL AS has_state, edit.seq AS edit, edit.time_ms AS edit_time_ms, state.n_replies,
    state.is_pinned"""
# Of a row with these columns, as `found`: the emojis as JSON, read only for the rows that are returned.
REACTIONS: Final = f"""
    CASE WHEN found.has_state THEN (
        SELECT json_agg(json_build_array(emoji, n_senders, (
            SELECT json_agg(sender) FROM (
                SELECT sender FROM {{schema}}.reaction_sender AS used
                WHERE used.room = reaction.room AND used.seq = reaction.seq AND used.emoji = reaction.emoji
                ORDER BY sender LIMIT {MAX_LISTED_NAMES}
            ) AS listed
        )) ORDER BY since) FROM {{schema}}.reaction WHERE reaction.room = found.room AND reaction.seq = found.seq
    ) END AS reactions
"""

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_reactions = msgspec.json.Decoder(list[tuple[str, int, tuple[str, ...]]]).decode


def to_message(room: str, row: Mapping[str, Any], *, folded: bool = False) -> Message:
    """Return a row of COLUMNS, or, if `folded`, of FOLDED_COLUMNS and REACTIONS, and the column `epoch`."""
    flags, act, mentions = row["flags"], row["act"], row["mentions"]
    return Message(
        room,
        row["epoch"],
        row["seq"],
        row["time_ms"],
        row["sender"],
        unescape(row["body"]),
        None if row["data"] is None else decode_json(row["data"]),
        row["key"],
        row["redacted"],
        verified=flags & VERIFIED > 0,
        bot=flags & BOT > 0,
        of=row["of"],
        act=None if act is None else Act(act),
        mentions=() if mentions is None else _decode_names(mentions),
        state=_to_state(row) if folded and row["has_state"] else None,
    )


def _to_state(row: Mapping[str, Any]) -> MessageState | None:
    edited = None if row["edit"] is None else Edit(row["edit"], row["edit_time_ms"])
    reactions = () if row["reactions"] is None else _decode_reactions(row["reactions"])
    state = MessageState(
        edited,
        tuple(Reaction(unescape(emoji), count, by) for emoji, count, by in reactions),
        row["n_replies"],
        row["is_pinned"],
    )
    return None if state == NO_STATE else state
