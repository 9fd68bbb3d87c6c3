"""The costs of commands, in messages of the client's allowance, by the work that each causes.

A publish costs one message. A command that is cheap to send and expensive to serve costs more. WebSocket and HTTP have
the same costs.
"""

from typing import Final

JOIN_COST: Final = 10.0  # opens the room, may read from the store, and notifies its readers
LEAVE_COST: Final = 5.0
PAGE_COST: Final = 5.0
SEARCH_COST: Final = 25.0  # may scan a whole room
LIST_COST: Final = 10.0  # of rooms
MEMBERS_COST: Final = 5.0
TYPING_COST: Final = 1.0
ME_COST: Final = 1.0
REFUSED_COST: Final = 1.0
