"""What a command costs, in messages of the client's allowance: by the work that it makes for the server and for others.

A publish is one. What is cheap to send and dear to serve costs more, over WebSocket and over HTTP alike.
"""

from typing import Final

JOIN_COST: Final = 10.0  # opens the room, may read from the store, and notifies its readers
LEAVE_COST: Final = 5.0
PAGE_COST: Final = 5.0
SEARCH_COST: Final = 25.0  # may look at all of a room
LIST_COST: Final = 10.0  # of rooms
MEMBERS_COST: Final = 5.0
TYPING_COST: Final = 1.0
REFUSED_COST: Final = 1.0
