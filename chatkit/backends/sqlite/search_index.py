"""The index for searches: blocks of the logs of rooms, with filters that say which blocks a search can skip.

Knows nothing of when blocks are made: see `indexer.py`. Triggers remove a block when one of its texts is changed, so
that a filter always covers all texts of its block, as they were written and as they are now.
"""

# ruff: noqa: S608 - the statements are composed of constants

import sqlite3

import msgspec

from chatkit.backends.sqlite.gram_filter import HAVING, N_TESTED, bits_of

_ROOM = "(SELECT id FROM room WHERE name = :room)"
_MAY_CONTAIN = " AND ".join(f"instr(:having{n}, substr(filter, :byte{n}, 1))" for n in range(N_TESTED))
_SKIPPED = f"""
    SELECT json_group_array(json_array(first, last)) FROM (
        SELECT first, last FROM search_block WHERE room = {_ROOM} AND last > :after AND first < :before
        AND first >= coalesce((SELECT max(first) FROM search_block WHERE room = {_ROOM} AND first <= :after + 1), 0)
        AND filter IS NOT NULL AND NOT ({_MAY_CONTAIN}) ORDER BY first
    )
"""

_decode_blocks = msgspec.json.Decoder(list[tuple[int, int]]).decode


def find_parts(
    connection: sqlite3.Connection, room: str, search: str, after: int, before: int
) -> list[tuple[int, int]]:
    """Return the parts of a range of a log outside of which no text contains a folded search, in their order.

    A part is the number before its first message, and the one behind its last. There is at least one part, maybe empty.
    """
    bits = bits_of(search.encode())
    if not bits:
        return [(after, before)]
    values: dict[str, object] = {"room": room, "after": after, "before": before}
    for n, (byte, place) in enumerate(bits):
        values |= {f"byte{n}": byte, f"having{n}": HAVING[place]}
    (found,) = connection.execute(_SKIPPED, values).fetchone()
    parts: list[tuple[int, int]] = []
    for first, last in _decode_blocks(found):
        if first > after + 1:
            parts.append((after, first))
        after = last
    if after + 1 < before or not parts:
        parts.append((after, max(before, after + 1)))
    return parts
