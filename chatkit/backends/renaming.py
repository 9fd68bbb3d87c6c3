"""What all stores check before a room is renamed. Knows no store."""

from chatkit.core.backend import new_epoch
from chatkit.errors import BadRequest


def check_rename(room: str, new: str, *, is_taken: bool) -> None:
    """Raise `BadRequest` unless a room can get the name `new`. `is_taken` is whether that is in `rooms()`."""
    if new == room:
        raise BadRequest(f"the room has the name {room!r} already")
    if is_taken:
        raise BadRequest(f"the room {new!r} exists: choose another name, or delete that room first")


def choose_suffix(suffix: str, home: str, new: str, former_suffix: str) -> str:
    """Return what follows the store's epoch in the epoch of a log that moves to the name `new`.

    `suffix` is the log's until now, `home` its first name, and `former_suffix` that of the empty room `new`.

    The first log of each name has no suffix: all of them share the store's epoch. `new` has a suffix if such a log was
    there. If that was another log, its old cursors must not be taken for cursors of this one, which gets a suffix.
    """
    is_ambiguous = not suffix and former_suffix and home != new
    return new_epoch() if is_ambiguous else suffix
