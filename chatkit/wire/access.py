"""The bodies of the HTTP API about access: tokens, invites, bans and sessions. Times are RFC 3339."""

from typing import Final, Self

import msgspec

from chatkit.core.access import ALL_ROOMS, Ban, BanSubject, Grant
from chatkit.core.model import format_time, parse_time
from chatkit.core.token import Token, TokenKind
from chatkit.errors import BadRequest

MAX_TIME_MS: Final = 253_370_764_800_000  # 9999-01-01: later times do not fit in every time zone


class TokenView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token without its secret."""

    id: str
    name: str
    kind: TokenKind
    grants: tuple[Grant, ...]
    created: str
    made_by: str
    expires: str | None = None
    uses_left: int | None = None
    last_used: str | None = None
    revoked: str | None = None

    @classmethod
    def of(cls, token: Token) -> Self:
        """Make the view of a token."""
        return cls(
            token.id,
            token.name,
            token.kind,
            token.grants,
            format_time(token.created_ms),
            token.made_by,
            _written(token.expires_ms),
            token.uses_left,
            _written(token.last_used_ms),
            _written(token.revoked_ms),
        )


class NewTokenView(TokenView, frozen=True, omit_defaults=True, kw_only=True):
    """A token with its secret, in the only answer that holds it. `url` is the link of an invite."""

    secret: str
    url: str | None = None

    @classmethod
    def made(cls, token: Token, secret: str, url: str | None = None) -> Self:
        """Make the view of a token that was made or rotated just now."""
        return cls(**msgspec.structs.asdict(TokenView.of(token)), secret=secret, url=url)

    def __repr__(self) -> str:
        return f"NewTokenView({self.id})"  # a log or a traceback must not show the secret


class TokenViews(msgspec.Struct, frozen=True):
    """All tokens of a store, also those that were revoked or have expired."""

    tokens: list[TokenView]


class TokenRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token to make. `expires` is an RFC 3339 time."""

    name: str
    grants: tuple[Grant, ...]
    kind: TokenKind = TokenKind.PERSON
    expires: str | None = None


class RotateRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long the old secret of a token stays valid beside the new one, in seconds."""

    overlap_s: int = 0


class InviteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invite to make, which can be redeemed `uses` times."""

    grants: tuple[Grant, ...]
    uses: int = 1
    expires: str | None = None


class RedeemRequest(msgspec.Struct, frozen=True):
    """An invite's secret, and the name for the token to make."""

    secret: str
    name: str

    def __repr__(self) -> str:
        return f"RedeemRequest({self.name})"


class BanView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ban. See `Ban`."""

    id: str
    kind: BanSubject
    subject: str
    room: str
    created: str
    made_by: str
    until: str | None = None
    reason: str = ""
    mute: bool = False

    @classmethod
    def of(cls, ban: Ban) -> Self:
        """Make the view of a ban."""
        return cls(
            ban.id,
            ban.kind,
            ban.subject,
            ban.room,
            format_time(ban.created_ms),
            ban.made_by,
            _written(ban.until_ms),
            ban.reason,
            ban.is_mute,
        )


class BanViews(msgspec.Struct, frozen=True):
    """All bans of a store, also those that have ended."""

    bans: list[BanView]


class BanRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ban to make. `subject` is the id of a token, a name, an IP address or a network."""

    subject: str
    room: str = ALL_ROOMS
    until: str | None = None
    reason: str = ""
    mute: bool = False


class KickRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who leaves a room for a short time."""

    name: str
    reason: str = ""


class SessionRequest(msgspec.Struct, frozen=True):
    """The token to sign in with."""

    token: str

    def __repr__(self) -> str:
        return "SessionRequest()"


class MeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who the server takes the client for.

    `token` is the id of the client's token. If `open`, everybody may read, write and moderate.
    """

    name: str
    grants: tuple[Grant, ...]
    verified: bool = False
    bot: bool = False
    token: str | None = None
    open: bool = False


def read_wire_time(text: str | None) -> int | None:
    """Return a time of a request as Unix milliseconds. Raise `BadRequest` for a text that is not RFC 3339."""
    if text is None:
        return None
    try:
        time_ms = parse_time(text)
    except (ValueError, OverflowError) as error:
        raise _not_a_time(text) from error
    if not 0 <= time_ms < MAX_TIME_MS:
        raise _not_a_time(text)
    return time_ms


def _not_a_time(text: str) -> BadRequest:
    return BadRequest(f"not a time: {text[:80]!r} (such as 2026-11-20T11:47:00Z)")


def _written(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)
