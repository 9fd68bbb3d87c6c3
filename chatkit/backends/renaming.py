"""What all stores check before a room is renamed. Knows no store."""

from chatkit.errors import BadRequest


def check_rename(room: str, new: str, *, is_taken: bool) -> None:
    """Raise `BadRequest` unless a room can get the name `new`. `is_taken` is whether that is in `rooms()`."""
    if new == room:
        raise BadRequest(f"the room has the name {room!r} already")
    if is_taken:
        raise BadRequest(f"the room {new!r} exists: choose another name, or delete that room first")
