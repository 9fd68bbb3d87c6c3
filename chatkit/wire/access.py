"""The bodies of the HTTP API about access: tokens, invites, bans and settings of rooms, and what changes them.

Times are RFC 3339. No text of a body, such as its `repr`, holds a secret: only its JSON does. Requests with unknown
fields are refused, because a misspelled `expires` would make a token without an end.
"""

from typing import Self

import msgspec
from msgspec import UNSET, UnsetType

from chatkit.core.access import ALL_ROOMS, Ban, BanSubject, Grant, RoomSettings
from chatkit.core.model import MAX_TIME_MS, format_time, parse_time
from chatkit.core.token import Token, TokenKind
from chatkit.errors import BadRequest


class TokenView(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A token without its secret. Until `previous_until`, the secret before the last rotation is valid too.

    If `signed`, it is a hook that accepts only requests that prove its signing secret.
    """

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
    previous_until: str | None = None
    signed: bool = False

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
            _time(token.expires_ms),
            token.uses_left,
            _time(token.last_used_ms),
            _time(token.revoked_ms),
            _time(token.previous_until_ms),
            token.signing_secret is not None,
        )


class NewTokenView(TokenView, frozen=True, omit_defaults=True, kw_only=True):
    """A token with its secret, in the only answer that holds it. `url` is that of an invite or a hook."""

    secret: str
    url: str | None = None

    @classmethod
    def made(cls, token: Token, secret: str, url: str | None = None) -> Self:
        """Make the view of a token that was just made, redeemed or rotated."""
        return cls(**msgspec.structs.asdict(TokenView.of(token)), secret=secret, url=url)

    def __repr__(self) -> str:
        return f"NewTokenView({self.id!r})"


class TokenList(msgspec.Struct, frozen=True):
    """Tokens, the oldest first."""

    tokens: list[TokenView]


class TokenRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A token to make. With `signing_secret`, which only a hook may have, it accepts only requests that prove it."""

    name: str
    grants: tuple[Grant, ...]
    kind: TokenKind = TokenKind.PERSON
    expires: str | None = None
    signing_secret: str | None = None

    def __repr__(self) -> str:
        return f"TokenRequest({self.name!r})"


class RotateRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How long the old secret of a token stays valid beside the new one, in seconds."""

    overlap_s: int = 0


class InviteRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An invite to make: `grants` are those of the tokens for which it is redeemed, `uses` how often it can be."""

    grants: tuple[Grant, ...]
    uses: int = 1
    expires: str | None = None


class RedeemRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret of an invite, and the name that the new token shall have."""

    secret: str
    name: str

    def __repr__(self) -> str:
        return f"RedeemRequest({self.name!r})"


class BanView(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A ban of a token, a name or a network, from one room or all (`*`). A mute forbids everything except reading."""

    id: str
    kind: BanSubject
    subject: str
    room: str
    created: str
    made_by: str
    reason: str = ""
    until: str | None = None
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
            ban.reason,
            _time(ban.until_ms),
            ban.is_mute,
        )


class BanListing(msgspec.Struct, frozen=True):
    """Bans, the oldest first."""

    bans: list[BanView]


class BanRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A ban to make. Without a `kind`, the subject is a network if it can be one, and a name otherwise."""

    subject: str
    kind: BanSubject | None = None
    room: str = ALL_ROOMS
    until: str | None = None
    reason: str = ""
    mute: bool = False


class KickRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who leaves a room for a short time."""

    name: str
    reason: str = ""


class RoomSettingsChange(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Settings to change. Those that are left out stay; null returns to the server's setting."""

    topic: str | UnsetType = UNSET
    keep: int | UnsetType | None = UNSET
    keep_for_s: int | UnsetType | None = UNSET
    archived: bool | UnsetType = UNSET

    def apply(self, settings: RoomSettings) -> RoomSettings:
        """Return the settings after the change."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not UNSET}
        return msgspec.structs.replace(settings, **given)


class RenameRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The new name of a room."""

    name: str


class SessionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token to sign in with."""

    token: str

    def __repr__(self) -> str:
        return "SessionRequest()"


class MeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who the client is to the server. `token` is the id of its token.

    If `open`, everybody may read, write and moderate.
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


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)
