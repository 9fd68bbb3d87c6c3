"""Which room a channel is. A channel may have any name; a room's name follows a rule."""

import re
from functools import lru_cache
from hashlib import sha256
from typing import Final

from chatkit.core.model import check_room
from chatkit.errors import BadName

_MADE: Final = "ch."  # how a name begins that was made here; a channel of such a name is renamed, too
_MAX_READABLE_CHARS: Final = 20


@lru_cache(maxsize=4_096)  # the same few channels come with every event
def room_of(channel: str) -> str:
    """Return the channel's room: of the same name where a room may have it, else of one that no other channel gets."""
    try:
        if check_room(channel) == channel and not channel.startswith(_MADE):
            return channel
    except BadName:
        pass
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", channel)[:_MAX_READABLE_CHARS]
    return f"{_MADE}{readable}.{sha256(channel.encode(errors='surrogatepass')).hexdigest()[:32]}"
