"""Who may do what in which room: rights, grants, identities, bans and settings of rooms, and the one decision on them.

Pure and synchronous: the time is an argument, and nothing here knows how it is stored or sent. Every way into a room
asks `refusal`, directly or as `allows`, `check` or `AccessTable.check`.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from chatkit.core.model import MAX_ROOM_CHARS, check_room, format_time
from chatkit.core.name_range import NameRange, merge, range_of
from chatkit.errors import BadName, BadRequest, Banned, ChatkitError, Forbidden, NotFound, RoomRenamed, Unavailable

MAX_GRANTS: Final = 32  # of a token: a check compares the room with each of them
ALL_ROOMS: Final = "*"


class Right(StrEnum):
    """What a grant allows. `moderate` includes `read` and `write`, and `admin` includes everything."""

    READ = "read"
    WRITE = "write"
    MODERATE = "moderate"
    ADMIN = "admin"


_INCLUDED: Final = {
    Right.READ: frozenset({Right.READ}),
    Right.WRITE: frozenset({Right.WRITE}),
    Right.MODERATE: frozenset({Right.READ, Right.WRITE, Right.MODERATE}),
    Right.ADMIN: frozenset(Right),
}


class Grant(msgspec.Struct, frozen=True, gc=False):
    """Rights on the rooms that a pattern matches.

    `rooms` is the name of one room, a beginning of names followed by `*`, or `*` for all rooms. Every other character
    stands for itself, also `_`, `%`, `?` and `[`. No pattern matches a system room, whose name begins with `.`.
    """

    rooms: str
    rights: tuple[Right, ...]

    def matches(self, room: str) -> bool:
        """Return whether the grant is about the room."""
        if is_system_room(room):
            return False
        return room.startswith(self.rooms[:-1]) if self.rooms[-1:] == "*" else room == self.rooms

    def includes(self, right: Right) -> bool:
        """Return whether the grant gives the right, directly or by a right that includes it."""
        return any(right in _INCLUDED[given] for given in self.rights)


EVERYTHING: Final = (Grant(ALL_ROOMS, (Right.ADMIN,)),)


class Credential(StrEnum):
    """How an identity was established.

    `token`: by a token. `secret`: by the shared secret of the server. `proxy`: a trusted proxy named the person.
    `store`: by access to the store itself, as a command has. `none`: not at all; the name was chosen freely.
    """

    TOKEN = "token"  # noqa: S105 - not a secret
    SECRET = "secret"  # noqa: S105 - not a secret
    PROXY = "proxy"
    STORE = "store"
    NONE = "none"


class Identity(msgspec.Struct, frozen=True, eq=False):
    """Who speaks on a connection or in a request. Two identities are equal only if they are the same object.

    If `is_verified`, a token or a trusted proxy vouches for the name. `address` is the client's IP address, or empty if
    it has none. `digest` is that of the secret with which the token was used, and `expires_ms` is when that secret
    ends.
    """

    name: str
    is_verified: bool = False
    is_bot: bool = False
    token_id: str | None = None
    grants: tuple[Grant, ...] = ()
    address: str = ""
    credential: Credential = Credential.NONE
    digest: str = ""
    expires_ms: int | None = None

    def has(self, right: Right, room: str | None) -> bool:
        """Return whether the union of the grants includes a right on a room.

        A system room, and the server itself (None), need `admin` on all rooms.
        """
        if room is None or is_system_room(room):
            return any(grant.rooms == ALL_ROOMS and Right.ADMIN in grant.rights for grant in self.grants)
        return any(grant.matches(room) and grant.includes(right) for grant in self.grants)

    def readable_names(self) -> Sequence[NameRange]:
        """Return the names of the rooms that the grants allow to read, except system rooms."""
        return merge(range_of(grant.rooms) for grant in self.grants if grant.includes(Right.READ))


class BanSubject(StrEnum):
    """What a ban names: a token by its id, a name with all that look like it, or a network of IP addresses."""

    TOKEN = "token"  # noqa: S105 - not a secret
    NAME = "name"
    NETWORK = "network"


class Ban(msgspec.Struct, frozen=True, gc=False):
    """A ban of a token, a name or a network from a room, or from all rooms if `room` is `*`.

    A mute forbids everything except reading. `until_ms` is the first millisecond after the ban, or None for no end.
    """

    id: str
    kind: BanSubject
    subject: str
    room: str
    reason: str
    made_by: str
    created_ms: int
    until_ms: int | None = None
    is_mute: bool = False

    def forbids(self, right: Right, room: str | None, now_ms: int) -> bool:
        """Return whether the ban is in force and forbids the right, to the identities that it concerns."""
        return (
            self.room in {ALL_ROOMS, room} and not self.has_ended(now_ms) and not (self.is_mute and right is Right.READ)
        )

    def has_ended(self, now_ms: int) -> bool:
        """Return whether the ban is over."""
        return self.until_ms is not None and now_ms >= self.until_ms

    def error(self) -> Banned:
        """Make the error that names the reason and the end."""
        end = None if self.until_ms is None else f"until {format_time(self.until_ms)}"
        return Banned(", ".join(filter(None, (self.reason, end))), self.until_ms)


class RoomSettings(msgspec.Struct, frozen=True):
    """The settings of a room.

    `keep` is the number of messages to keep and `keep_for_s` their age in seconds; None stands for the server's
    setting. An archived room can be read, and written by nobody. `renamed_to` is the new name of a renamed room; while
    `is_moving`, its log is not there yet.
    """

    topic: str = ""
    keep: int | None = None
    keep_for_s: int | None = None
    archived: bool = False
    renamed_to: str | None = None
    is_moving: bool = False


DEFAULT_ROOM_SETTINGS: Final = RoomSettings()


def refusal(
    identity: Identity,
    right: Right,
    room: str | None,
    bans: Sequence[Ban],
    now_ms: int,
    *,
    settings: RoomSettings = DEFAULT_ROOM_SETTINGS,
) -> ChatkitError | None:
    """Return why an identity may not use a right on a room, or None if it may.

    `room` None stands for the server itself, for which only `admin` on all rooms counts. `bans` are those that concern
    the identity (`BanList.on`). `settings` are the room's.

    - `Banned`: a ban from all rooms, or from this room if the identity has a right on it.
    - `NotFound`: the identity may not read the room, so the room does not exist for it.
    - `Forbidden`: another right is missing, or the room is archived.
    - `RoomRenamed`: the room has another name, and the identity may read it there. `Unavailable`: it is being renamed.
    """
    has_right = identity.has(right, room)
    is_hidden = not has_right and room is not None and not identity.has(Right.READ, room)
    for ban in bans:
        if ban.forbids(right, room, now_ms) and (ban.room == ALL_ROOMS or not is_hidden):
            return ban.error()
    if is_hidden:
        return no_such_room(room)
    if not has_right:
        return Forbidden(_missing(right, room))
    if settings.renamed_to is not None and room is not None and right in {Right.READ, Right.WRITE}:
        return _renamed(identity, room, settings.renamed_to, is_moving=settings.is_moving)
    if settings.archived and right is Right.WRITE:
        return Forbidden(f"the room {room!r} is archived: it can be read, but not written")
    return None


def _renamed(identity: Identity, room: str, renamed_to: str, *, is_moving: bool) -> ChatkitError:
    if not identity.has(Right.READ, renamed_to):
        return no_such_room(room)
    return Unavailable("the room is being renamed: try again") if is_moving else RoomRenamed(room, renamed_to)


def allows(
    identity: Identity,
    right: Right,
    room: str | None,
    bans: Sequence[Ban],
    now_ms: int,
    *,
    settings: RoomSettings = DEFAULT_ROOM_SETTINGS,
) -> bool:
    """Return whether an identity may use a right on a room. See `refusal`."""
    return refusal(identity, right, room, bans, now_ms, settings=settings) is None


def require(identity: Identity, right: Right, room: str | None) -> None:
    """Raise what `refusal` returns for an identity on which there is no ban."""
    if error := refusal(identity, right, room, (), 0):
        raise error


def refusal_of_all(bans: Sequence[Ban], now_ms: int) -> Banned | None:
    """Return the error of the first ban from all rooms, which refuses a connection; None without such a ban."""
    return next((ban.error() for ban in bans if ban.room == ALL_ROOMS and ban.forbids(Right.READ, None, now_ms)), None)


def no_such_room(room: str | None) -> NotFound:
    """Make the error for a room that does not exist, or that the client may not read: the two errors are the same."""
    return NotFound(f"there is no room {room!r}")


def _missing(right: Right, room: str | None) -> str:
    if room is None or is_system_room(room):
        return "this needs the right 'admin' on all rooms"
    return f"this needs the right '{right}' in the room {room!r}"


def is_system_room(room: str) -> bool:
    """Return whether the room is one of the server's own, such as `.audit`."""
    return room.startswith(".")


def check_grants(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Return the grants with normalised patterns. Raise `BadRequest` if one is invalid or there are too many."""
    checked = tuple(Grant(check_pattern(grant.rooms), _check_rights(grant.rights)) for grant in grants)
    if len(checked) > MAX_GRANTS:
        raise BadRequest(f"a token has at most {MAX_GRANTS} grants")
    return checked


def check_pattern(pattern: str) -> str:
    """Return the pattern of a grant in NFC. Raise `BadRequest` if it matches no room that can exist."""
    if pattern == ALL_ROOMS:
        return pattern
    is_prefix = pattern.endswith("*")
    try:
        return check_room(pattern[:-1]) + "*" if is_prefix else check_room(pattern)
    except BadName as error:
        shown = pattern[:MAX_ROOM_CHARS]
        raise BadRequest(f"a pattern is a room, the beginning of rooms with '*', or '*': {shown!r}") from error


def _check_rights(rights: Sequence[Right]) -> tuple[Right, ...]:
    if not rights:
        raise BadRequest("a grant has at least one right")
    return tuple(right for right in Right if right in rights)


def parse_open(text: str) -> Grant:
    """Parse a grant as `PATTERN:read,write`. Raise `BadRequest` for anything else."""
    pattern, _, rights = text.partition(":")
    try:
        given = tuple(Right(right) for right in rights.split(","))
    except ValueError as error:
        raise BadRequest(f"a grant is PATTERN:RIGHTS, with rights of {', '.join(Right)}: {text[:80]!r}") from error
    return check_grants([Grant(pattern, given)])[0]
