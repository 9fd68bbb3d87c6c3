"""The bodies of the HTTP API, which the server writes and the client reads. Their messages are those of `frames`."""

from http import HTTPStatus
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec

from chatkit.errors import ChatkitError
from chatkit.wire.codes import Details, details_of, error_of, status_of
from chatkit.wire.protocol import WireGap, WireMember, WireMessage

PROBLEM_MEDIA_TYPE: Final = "application/problem+json"

HealthStatus: TypeAlias = Literal["ok", "unavailable"]


class RoomView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A room whose log holds `first` to `last`. `members` counts who is there; `time` is the last message's."""

    room: str
    first: int
    last: int
    cursor: str
    members: int
    time: str | None = None


class RoomList(msgspec.Struct, frozen=True):
    """All rooms, by name."""

    rooms: list[RoomView]


class MessagePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages in order of `seq`; reading on with `after=cursor` misses and repeats none."""

    messages: list[WireMessage]
    cursor: str
    first: int
    last: int
    complete: bool
    gap: WireGap | None = None


class MemberList(msgspec.Struct, frozen=True):
    """Who is in a room: at most 200 by name, all by count."""

    members: list[WireMember]
    count: int


class PublishRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message to publish. With a `key`, publishing again stores nothing twice."""

    body: str | None = None
    data: Any = None
    key: str | None = None


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the server can do its work; everything else is only for those who run it.

    Where several workers serve, `workers` is their number, and everything else is about the one that answers, whose
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


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457). `detail` is a sentence; the other values beside it are those of `codes.Details`.

    A server of ours fills the first four in; something between it and the client may not.
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
        """Describe an error to the other end."""
        status = status_of(error)
        return cls(error.code, HTTPStatus(status).phrase, status, str(error), *details_of(error))

    def to_error(self) -> ChatkitError:
        """Make the error again that was described."""
        return error_of(self.code, self.detail, Details(self.retry_after_s, self.limit, self.value))
