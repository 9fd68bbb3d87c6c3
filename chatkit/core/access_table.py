"""AccessTable: one process's view of the tokens, reserved names, bans and settings of rooms of its store.

Synchronous: records come in by `apply`, the time is an argument, and sessions are notified by whoever calls `apply`.
Nothing is marked as expired. Each decision compares the time of its call with the ends of tokens and bans, so an end
that a wrong clock brought about does not last longer than the wrong time itself; `SteadyClock` keeps short jumps away.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from chatkit.core import access_records
from chatkit.core.access import (
    ALL_ROOMS,
    DEFAULT_ROOM_SETTINGS,
    EVERYTHING,
    Ban,
    BanSubject,
    Credential,
    Grant,
    Identity,
    Right,
    RoomSettings,
    refusal,
)
from chatkit.core.access_records import NameHolders, name_key
from chatkit.core.ban_list import BanList, Network, is_in_network, parse_network
from chatkit.core.model import check_sender
from chatkit.core.names import is_role, skeletons
from chatkit.core.records import Record, RecordChanges
from chatkit.core.token import Token, TokenKind, parse_secret
from chatkit.errors import ChatkitError, NameTaken, Unauthorized

USE_STEP_MS: Final = 3_600_000  # `last_used` is kept to the hour: a token that is always in use costs few writes
MAX_USES: Final = 10_000  # tokens whose use waits to be recorded

UNKNOWN_TOKEN: Final = "this token is not valid here"  # noqa: S105 - a sentence


class AccessWatcher(Protocol):
    """A session, or whatever else acts for an identity and ends when that loses its rights."""

    @property
    def identity(self) -> Identity:
        """Who the session acts for. It stays the same while the session is watched."""


class AccessChange(msgspec.Struct, frozen=True):
    """What `AccessTable.apply` changed: tokens by id, names by skeleton, networks, and rooms whose settings changed.

    If `everyone`, it may concern any identity. `rooms` concern no identity, only those who serve the rooms.
    """

    token_ids: frozenset[str] = frozenset()
    looks: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    rooms: frozenset[str] = frozenset()
    everyone: bool = False


class AccessTable:
    """Authenticates secrets, names guests, and decides what an identity may do.

    `open_grants` are the rights of everybody without a token. On a loopback address (`is_loopback`), everybody may do
    everything as long as the store holds no token. `generation` grows with every change.
    """

    def __init__(self, *, open_grants: Sequence[Grant] = (), is_loopback: bool = False) -> None: ...

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, because there is no token and only this machine can connect."""

    @property
    def guest_grants(self) -> tuple[Grant, ...]:
        """The rights of everybody without a token."""

    def apply(self, changes: RecordChanges) -> AccessChange:
        """Update the table by changed records, of any kind, and return what changed for `watchers_of`."""

    def authenticate(self, secret: str, address: str, now_ms: int) -> Identity:
        """Return who uses a secret from an address.

        Raise `Unauthorized` if it is not valid: with the same sentence for a token that does not exist and a secret
        that is wrong, and with the reason, such as its expiry, for the right secret. Raise `Banned` if its token, name
        or network is banned from all rooms.
        """

    def guest(self, name: str, address: str, now_ms: int) -> Identity:
        """Return who connects without a token and chose a name, with the rights of `guest_grants`.

        Raise `BadName`, `NameTaken` if the name looks like one that a token holds or like a role, or `Banned`.
        """

    def named(self, name: str, address: str, now_ms: int, credential: Credential, grants: Sequence[Grant]) -> Identity:
        """Return who was identified in another way than by a token: see `Credential`. Raise as `guest` does.

        A name that a trusted proxy gave (`Credential.PROXY`) is verified, and may be held by tokens.
        """

    def renew(self, identity: Identity, now_ms: int) -> Identity:
        """Return the identity as it is now, with its current rights. Raise as `authenticate` or `guest` does."""

    def check(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> None:
        """Raise unless an identity may use a right on a room now: `Unauthorized`, or what `access.refusal` returns."""

    def allows(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> bool:
        """Return whether an identity may use a right on a room now."""

    def room_settings(self, room: str) -> RoomSettings:
        """Return the settings of a room; the default ones if it has none."""

    def token(self, token_id: str) -> Token | None:
        """Return a token by its id."""

    def holder_of(self, name: str) -> str | None:
        """Return the reserved name that a name looks like, or None if it is free."""

    def watch(self, watcher: AccessWatcher) -> None:
        """Register a session, to be found by `watchers_of` and `expired`."""

    def unwatch(self, watcher: AccessWatcher) -> None:
        """Remove a session. Removing it again changes nothing."""

    def watchers_of(self, change: AccessChange) -> Iterator[AccessWatcher]:
        """Iterate over the sessions that a change may concern: each calls `renew`, and ends if that raises.

        The iteration may be continued later, and sessions may be added and removed between its steps.
        """

    @property
    def next_expiry_ms(self) -> int | None:
        """When the first of the watched identities expires, or None if none does."""

    def expired(self, now_ms: int) -> list[AccessWatcher]:
        """Return the sessions whose identity has expired. They are returned again until they are removed."""

    def drain_uses(self) -> list[tuple[str, int, str]]:
        """Return the tokens that were used since the last call: id, time, address; at most one an hour for each."""
