"""The bodies of the HTTP API, which the server writes and the client reads. Their messages are those of `events`.

Those of tokens, invites, bans and changes of rooms are in `access`.
"""

from http import HTTPStatus
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec

from chatkit.core.access import RoomSettings
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Head, format_time
from chatkit.errors import ChatkitError
from chatkit.wire.codes import Details, details_of, error_of, status_of, text_of
from chatkit.wire.protocol import WireGap, WireMember, WireMessage, WireUnread

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

HealthStatus: TypeAlias = Literal["ok", "unavailable"]


class RoomView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A room whose log has the messages `first` to `last`. `members` is a number, `time` that of the last message.

    The others are the room's settings: see `RoomSettings`.
    """

    room: str
    first: int
    last: int
    cursor: str
    members: int
    time: str | None = None
    topic: str = ""
    keep: int | None = None
    keep_for_s: int | None = None
    archived: bool = False

    @classmethod
    def of(cls, room: str, head: Head, members: int, time_ms: int | None) -> Self:
        """Make the view of a room, without settings. `time_ms` is that of the last message, if there is one."""
        time = None if time_ms is None else format_time(time_ms)
        return cls(room, head.first, head.last, str(Cursor(head.epoch, head.last)), members, time)

    def with_settings(self, settings: RoomSettings) -> Self:
        """Return the room with these settings."""
        return msgspec.structs.replace(
            self,
            topic=settings.topic,
            keep=settings.keep,
            keep_for_s=settings.keep_for_s,
            archived=settings.archived,
        )


class RoomList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rooms, in the order of their names. Unless `complete`, others follow after the last one."""

    rooms: list[RoomView]
    complete: bool = True


class MessagePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages in `seq` order. The next page, with `after=cursor`, misses and repeats none.

    Unless the page was asked for as `raw`, they are in the state after the message `last`. `reached` is set if a search
    has ended early: it continues with `before=reached`, or, if it was read with `after`, with `after=cursor`.
    """

    messages: list[WireMessage]
    cursor: str
    first: int
    last: int
    complete: bool
    gap: WireGap | None = None
    reached: int | None = None


class MessageList(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages of several rooms, the newest first. With `before=cursor`, the older ones follow."""

    messages: list[WireMessage]
    complete: bool
    cursor: str | None = None


class MarkerView(msgspec.Struct, frozen=True):
    """The number up to which the client's name has read a room."""

    room: str
    seq: int


class MarkerRequest(msgspec.Struct, frozen=True):
    """The number up to which the client's name has read a room now."""

    seq: int


class UnreadList(msgspec.Struct, frozen=True):
    """What the client's name has not read: each room that it has marked, or that mentions it."""

    rooms: list[WireUnread]


class MemberList(msgspec.Struct, frozen=True):
    """The members of a room: at most 200 names, and the number of all."""

    members: list[WireMember]
    count: int


class PublishRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to publish. With a `key`, it is stored once even if it is published again.

    With `of`, it is a reply to that message, or, with an `act` too, a change of it.
    """

    body: str | None = None
    data: Any = None
    key: str | None = None
    of: int | None = None
    act: Act | None = None


class EditRequest(msgspec.Struct, frozen=True):
    """The new text of a message."""

    body: str


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The health of a server. Everything but `status` is only sent to operators.

    `webhooks_parked` are the ids of webhooks that have failed for days, and wait for somebody to resume them.
    If several workers serve, `workers` is their number, and the other values are those of the worker that answers. Its
    process is `pid`.
    """

    status: HealthStatus
    version: str | None = None
    connections: int | None = None
    rooms: int | None = None
    subscriptions: int | None = None
    detail: str | None = None
    workers: int = 1
    pid: int | None = None
    webhooks_parked: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). `detail` is a sentence, and the values after it are those of `codes.Details`.

    A chatkit server sends the first four values; a proxy between it and the client may not.
    """

    code: str = ""
    title: str = ""
    status: int = 0
    detail: str = ""
    retry_after_s: float | None = None
    limit: int | None = None
    value: str | None = None

    @classmethod
    def of(cls, error: ChatkitError) -> Self:
        """Make the body that describes an error."""
        status = status_of(error)
        return cls(error.code, HTTPStatus(status).phrase, status, text_of(error), *details_of(error))

    def to_error(self) -> ChatkitError:
        """Return the error that the body describes."""
        return error_of(self.code, self.detail, Details(self.retry_after_s, self.limit, self.value))
