"""The costs of commands, in messages of the client's allowance, by the work that each causes.

A publish costs one message. A command that is cheap to send and expensive to serve costs more. WebSocket and HTTP have
the same costs.
"""

from typing import Final

JOIN_COST: Final = 10.0  # opens the room, may read from the store, and notifies its readers
LEAVE_COST: Final = 5.0
PAGE_COST: Final = 5.0
SEARCH_COST: Final = 25.0  # takes the store a quarter of a second at most
SEARCH_ALL_COST: Final = 35.0  # takes as long, and lists the rooms
LIST_COST: Final = 10.0  # of rooms
UNREAD_COST: Final = 10.0  # counts in all rooms
MARK_COST: Final = 2.0  # writes to the store
MEMBERS_COST: Final = 5.0
TYPING_COST: Final = 1.0
ME_COST: Final = 1.0
PING_COST: Final = 1.0
REFUSED_COST: Final = 1.0
_REFUSED_BYTES: Final = 65_536  # of a refused command cost one message more: they were decompressed and parsed


def refused_cost(n_bytes: int) -> float:
    """Return the cost of a refused command of so many bytes."""
    return REFUSED_COST + n_bytes // _REFUSED_BYTES
