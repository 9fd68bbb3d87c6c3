"""The sentences about a room that a chat shows beside its messages. No I/O."""

from collections.abc import Sequence
from typing import Final

from chatkit.cli.marks import Marks, member_of
from chatkit.cli.sanitize import one_line
from chatkit.client import Joined
from chatkit.core.model import Member

ARCHIVED: Final = "this room is archived: it can be read, but not written"
MAX_NAMED: Final = 12  # names in a note; the other members are only counted


def present_sentence(members: Sequence[Member], count: int, marks: Marks) -> str:
    """Return who is in the room. `members` may be only some of all, which `count` counts."""
    names = [member_of(member, marks) for member in members[:MAX_NAMED]]
    more = f" and {count - len(names)} more" if count > len(names) else ""
    return f"{', '.join(names)}{more} {'is' if count == 1 else 'are'} here" if names else f"{count} are here"


def names_sentence(names: Sequence[str], what: str) -> str:
    """Return that some members did something."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(map(one_line, names[:MAX_NAMED]))}{more} {what}"


def topic_sentence(topic: str) -> str:
    """Return the topic of the room."""
    return f"topic: {one_line(topic)}" if topic else "the room has no topic"


def archive_sentence(*, is_archived: bool) -> str:
    """Return whether the room can be written, after that has changed."""
    return ARCHIVED if is_archived else "this room is not archived any more: it can be written again"


def room_notes(item: Joined) -> list[str]:
    """Return what a person has to know about the room, apart from who is there."""
    notes = [topic_sentence(item.topic)] if item.topic else []
    if item.archived:
        notes.append(ARCHIVED)
    elif item.rights is not None and "write" not in item.rights:
        notes.append("you can read this room, but not write to it: ask a moderator for the right")
    return notes


def typing_hint(names: Sequence[str]) -> str:
    """Return who is typing, in a few words."""
    shown = [one_line(name) for name in names[:2]]
    if len(names) > 2:
        return "several people are typing"
    return f"{' and '.join(shown)} {'is' if len(shown) == 1 else 'are'} typing" if shown else ""
