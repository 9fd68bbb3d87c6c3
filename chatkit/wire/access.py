"""The bodies of the HTTP API about access: tokens, bans and settings of rooms, and what is sent to change them."""

from collections.abc import Sequence
from typing import Self

import msgspec

from chatkit.core.access import Ban, BanSubject, Grant, RoomSettings
from chatkit.core.model import format_time
from chatkit.core.token import Token, TokenKind


class TokenView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token without its secret. Times are RFC 3339.

    `secret` is only in the answer that makes or rotates the token. `previous_until` is the time until which the secret
    before the last rotation is valid.
    """

    id: str
    name: str
    kind: TokenKind
    grants: Sequence[Grant]
    created: str
    made_by: str
    expires: str | None = None
    uses_left: int | None = None
    last_used: str | None = None
    revoked: str | None = None
    previous_until: str | None = None
    secret: str | None = None

    @classmethod
    def of(cls, token: Token, secret: str | None = None) -> Self:
        """Make the view of a token, with its secret if it was just made."""
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
            secret,
        )


class TokenList(msgspec.Struct, frozen=True):
    """Tokens, the oldest first."""

    tokens: list[TokenView]


class TokenRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A token to make. `expires` is an RFC 3339 time."""

    name: str
    grants: tuple[Grant, ...]
    kind: TokenKind = TokenKind.PERSON
    expires: str | None = None


class InviteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """An invite to make: `grants` are those of the tokens for which it is redeemed, `uses` how often it can be."""

    grants: tuple[Grant, ...]
    uses: int = 1
    expires: str | None = None


class RedeemRequest(msgspec.Struct, frozen=True):
    """The secret of an invite, and the name that the new token shall have."""

    secret: str
    name: str


class BanView(msgspec.Struct, frozen=True, omit_defaults=True):
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


class BanRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ban to make. Without a `kind`, the subject is a network if it can be one, and a name otherwise."""

    subject: str
    kind: BanSubject | None = None
    room: str = "*"
    until: str | None = None
    reason: str = ""
    mute: bool = False


class RoomSettingsView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of a room. `keep` is a number of messages, `keep_for_s` an age in seconds."""

    topic: str = ""
    keep: int | None = None
    keep_for_s: int | None = None
    archived: bool = False
    renamed_to: str | None = None

    @classmethod
    def of(cls, settings: RoomSettings) -> Self:
        """Make the view of a room's settings."""
        return cls(settings.topic, settings.keep, settings.keep_for_s, settings.archived, settings.renamed_to)


class RoomSettingsChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Settings to change. Those that are left out stay; None returns to the server's setting."""

    topic: str | msgspec.UnsetType = msgspec.UNSET
    keep: int | msgspec.UnsetType | None = msgspec.UNSET
    keep_for_s: int | msgspec.UnsetType | None = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET

    def apply(self, settings: RoomSettings) -> RoomSettings:
        """Return the settings after the change."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not msgspec.UNSET}
        return msgspec.structs.replace(settings, **given)


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time(time_ms)
