"""AccessTable: one process's view of the tokens, reserved names, bans and settings of rooms of its store.

Synchronous: records come in by `apply`, the time is an argument, and the caller of `apply` notifies sessions.
Nothing is marked as expired. Each decision compares the time of its call with the ends of tokens and bans, so an end
that a wrong clock brought about does not last longer than the wrong time itself; `SteadyClock` keeps short jumps away.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar, assert_never

from msgspec.structs import replace

from chatkit.core import access_records
from chatkit.core.access import (
    ALL_ROOMS,
    DEFAULT_ROOM_SETTINGS,
    EVERYTHING,
    Ban,
    Credential,
    Grant,
    Identity,
    Right,
    RoomSettings,
    refusal,
    refusal_of_all,
)
from chatkit.core.access_records import NameHolders, name_keys
from chatkit.core.access_watchers import NO_CHANGE, AccessChange, AccessWatchers
from chatkit.core.ban_list import BanList
from chatkit.core.model import check_sender
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.names import is_role
from chatkit.core.records import Record, RecordChanges
from chatkit.core.text import fold
from chatkit.core.token import MAX_SECRET_CHARS, Secret, Token, TokenKind, parse_secret
from chatkit.errors import ChatkitError, NameTaken, Unauthorized

NEEDS_TOKEN: Final = "this server needs a token"  # noqa: S105 - a sentence

# The rights of a client with the server's secret, and of everybody on an open server. To give others access, a client
# there has to open the store itself, which no web page can.
MODERATE_ALL: Final = (Grant(ALL_ROOMS, (Right.MODERATE,)),)

USE_STEP_MS: Final = 3_600_000  # `last_used` is kept to the hour: a token that is always in use costs few writes

MAX_KEPT: Final = 10_000  # results of each kind: to forget them takes less than a millisecond
MAX_NAMED: Final = 1_000  # identities without a token: most names have one connection, which shares its with none
NEVER_MS: Final = 2**63

Key = TypeVar("Key")
Result = TypeVar("Result")

INVALID: Final = "this token is not valid here"
REVOKED: Final = "this token was revoked"
EXPIRED: Final = "this token has expired"
NOT_REDEEMED: Final = "this is an invite: open its link, or redeem it with 'chatkit redeem'"


class TokenUse(NamedTuple):
    """The first use of a token within an hour."""

    token_id: str
    used_ms: int
    address: str


class AccessTable:
    """Authenticates secrets, names guests, and decides what an identity may do.

    `open_grants` are the rights of everybody without a token. On a loopback address (`is_loopback`), everybody has
    `MODERATE_ALL` as long as the store holds no token. `generation` grows with every change of a right.
    `has_lost_tokens` is true after a store that held tokens was wiped: that opens no server.
    """

    def __init__(self, *, open_grants: Sequence[Grant] = (), is_loopback: bool = False) -> None:
        self.generation = 0
        self.has_lost_tokens = False
        self.watchers = AccessWatchers()
        self._open_grants = tuple(open_grants)
        self._is_loopback = is_loopback
        self._clear()

    def _clear(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._holders: dict[str, NameHolders] = {}
        self._held: dict[str, tuple[str, ...]] = {}  # by the folded form of a name: the keys in `_holders`
        self._beginnings: set[str] = set()  # of the folded forms; only grows
        self._bans: dict[str, Ban] = {}
        self._ban_list = BanList()
        self._settings: dict[str, RoomSettings] = {}
        self._unreadable: set[tuple[str, str]] = set()  # the kinds and keys of records
        self._next_use_ms: dict[str | None, int] = {}  # by token: at most as many as there are tokens
        self._uses: list[TokenUse] = []  # not more than the changes of `_next_use_ms`
        # Results of earlier calls, until the next change.
        self._known: dict[tuple[bytes, str], Identity] = {}  # by hash of a secret and address
        self._named: dict[tuple[str, str, Credential], Identity] = {}  # connections of one name and address share it
        # Until when an identity may use a right on a room, unless something changes.
        self._allowed_until_ms: dict[tuple[Identity, str | None, Right], int] = {}

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, because there is no token and only this machine can connect.

        A record that cannot be read may be a token, so it closes the server as one does.
        """
        return self._is_loopback and not self._tokens and not self._unreadable and not self.has_lost_tokens

    @property
    def guest_grants(self) -> tuple[Grant, ...]:
        """The rights of everybody without a token."""
        return MODERATE_ALL if self.is_open else self._open_grants

    # Records

    def apply(self, changes: RecordChanges) -> AccessChange:
        """Update the table by changed records, of any kind, and return what changed for `watchers.concerned`."""
        was_open = self.is_open
        had_tokens = bool(self._tokens or self._unreadable)
        if changes.whole:
            self._clear()
        found = [self._apply(record) for record in changes.records]
        self.has_lost_tokens = not self._tokens and (self.has_lost_tokens or (changes.whole and had_tokens))
        change = AccessChange.merge(found, everyone=changes.whole or was_open != self.is_open)
        if change != NO_CHANGE:
            self.generation += 1
            self._allowed_until_ms.clear()
            self._known.clear()
            self._named.clear()
        return change

    def _apply(self, record: Record) -> AccessChange:
        self._unreadable.discard((record.kind, record.key))
        try:
            return self._apply_kind(record)
        except ChatkitError as error:  # the record was written by hand, or by a later version
            self._unreadable.add((record.kind, record.key))
            return AccessChange(unreadable=(str(error),), everyone=True)

    def _apply_kind(self, record: Record) -> AccessChange:
        match record.kind:
            case access_records.TOKEN:
                return self._apply_token(record)
            case access_records.NAME:
                return self._apply_name(record)
            case access_records.BAN:
                return self._apply_ban(record)
            case access_records.ROOM:
                access_records.replace_value(self._settings, record, RoomSettings)
                return AccessChange(rooms=frozenset({record.key}))
            case _:
                return NO_CHANGE

    def _apply_token(self, record: Record) -> AccessChange:
        before, token = access_records.replace_value(self._tokens, record, Token)
        if token is None:
            self._next_use_ms.pop(record.key, None)
        if before is not None and token is not None and before == replace(token, last_used_ms=before.last_used_ms):
            return NO_CHANGE
        return AccessChange(token_ids=frozenset({record.key}))

    def _apply_name(self, record: Record) -> AccessChange:
        if before := self._holders.get(record.key):
            self._release(before.name, record.key)
        _, holders = access_records.replace_value(self._holders, record, NameHolders)
        if holders is not None:
            folded = fold(holders.name)
            self._held[folded] = (*self._held.get(folded, ()), record.key)
            self._beginnings.add(folded[:1])
        is_taken = holders is not None and (before is None or before.name != holders.name)
        return AccessChange(name_keys=frozenset({record.key})) if is_taken else NO_CHANGE

    def _release(self, name: str, key: str) -> None:
        """Note that one of the keys of a name is free. Two names with the same folded form may have different keys."""
        folded = fold(name)
        keys = tuple(each for each in self._held.pop(folded) if each != key)
        if keys:
            self._held[folded] = keys

    def _apply_ban(self, record: Record) -> AccessChange:
        if before := self._bans.get(record.key):
            self._ban_list.discard(before)
        _, ban = access_records.replace_value(self._bans, record, Ban)
        if ban is not None:
            self._ban_list.add(ban)
        return AccessChange(bans=tuple(filter(None, (before, ban))))

    # Identities

    def authenticate(self, secret: str, address: str, now_ms: int) -> Identity:
        """Return who uses a secret from an address.

        Raise `Unauthorized` if it is not valid: with the same sentence for a token that does not exist and a secret
        that is wrong, and with the reason, such as its expiry, for the right secret. Raise `Banned` if its token, name
        or network is banned from all rooms.
        """
        if len(secret) > MAX_SECRET_CHARS:
            raise Unauthorized(INVALID)
        key = (blake2b(secret.encode(errors="surrogatepass")).digest(), address)  # memory holds no secret
        identity = self._known.get(key)
        if identity is None or (identity.expires_ms is not None and now_ms >= identity.expires_ms):
            if (parsed := parse_secret(secret)) is None:
                raise Unauthorized(INVALID)
            identity = self._identify(parsed, address, now_ms)
            _keep(self._known, key, identity)
        if not now_ms < self._next_use_ms.get(identity.token_id, 0) <= now_ms + USE_STEP_MS:  # or the clock was ahead
            self._note_use(identity, now_ms)
        return identity

    def _identify(self, secret: Secret, address: str, now_ms: int) -> Identity:
        token = self._tokens.get(secret.token_id)
        end = None if token is None else token.end_of(secret.digest)
        if token is None or end is None:
            raise Unauthorized(INVALID)
        if token.revoked_ms is not None:
            raise Unauthorized(REVOKED)
        if end.has_passed(now_ms):
            raise Unauthorized(EXPIRED)
        if token.kind is TokenKind.INVITE:
            raise Unauthorized(NOT_REDEEMED)
        return self._admit(token.identity(secret.digest, end.expires_ms, address), now_ms)

    def _admit(self, identity: Identity, now_ms: int) -> Identity:
        if error := refusal_of_all(self._ban_list.on(identity), now_ms):
            raise error
        return identity

    def _note_use(self, identity: Identity, now_ms: int) -> None:
        token = self._tokens[identity.token_id or ""]
        self._next_use_ms[token.id] = now_ms + USE_STEP_MS
        if token.last_used_ms is None or abs(now_ms - token.last_used_ms) >= USE_STEP_MS:
            self._uses.append(TokenUse(token.id, now_ms, identity.address))

    def drain_uses(self) -> list[TokenUse]:
        """Return the uses of tokens since the last call that are to be recorded; at most one an hour for each token."""
        uses, self._uses = self._uses, []
        return uses

    def guest(self, name: str, address: str, now_ms: int) -> Identity:
        """Return who connects without a token and chose a name, with the rights of `guest_grants`.

        Raise `BadName`, `NameTaken` if the name looks like one that a token holds or like a role, or `Banned`.
        """
        return self.named(name, address, now_ms, Credential.NONE)

    def named(self, name: str, address: str, now_ms: int, credential: Credential) -> Identity:
        """Return who was identified in another way than by a token (see `Credential`). Raise as `guest` does.

        Access to the store allows everything, and the shared secret of the server everything except to administer it.
        A name that a trusted proxy gave is verified, may be held by tokens as well, and has the rights of a guest.
        """
        known = self._named.get((name, address, credential))
        return known or self._name(check_sender(name), address, now_ms, credential)

    def _name(self, name: str, address: str, now_ms: int, credential: Credential) -> Identity:
        self._check_free(name, credential)
        is_verified = credential is Credential.PROXY
        identity = Identity(
            name, is_verified, grants=self._grants_of(credential), address=address, credential=credential
        )
        _keep(self._named, (name, address, credential), self._admit(identity, now_ms), MAX_NAMED)
        return identity

    def _check_free(self, name: str, credential: Credential) -> None:
        """Raise `NameTaken` if somebody who was identified in this way may not use a name."""
        holder = self.holder_of(name)
        is_vouched = credential is Credential.PROXY and holder in {None, name}
        if not self.is_open and not is_vouched and (holder or is_role(name)):
            raise NameTaken(name)

    def _grants_of(self, credential: Credential) -> tuple[Grant, ...]:
        match credential:
            case Credential.STORE:
                return EVERYTHING
            case Credential.SECRET:
                return MODERATE_ALL
            case _:
                return self.guest_grants

    def renew(self, identity: Identity, now_ms: int) -> Identity:
        """Return the identity as it is now, with its current rights. Raise as `authenticate` or `guest` does.

        Raise `Unauthorized` for a guest, too, if guests have no rights any more.
        """
        match identity.credential:
            case Credential.TOKEN:
                return self._identify(Secret(identity.token_id or "", identity.digest), identity.address, now_ms)
            case Credential.NONE if not self.guest_grants:
                raise Unauthorized(NEEDS_TOKEN)
            case Credential.NONE | Credential.PROXY | Credential.SECRET | Credential.STORE:
                return self.named(identity.name, identity.address, now_ms, identity.credential)
            case _:
                assert_never(identity.credential)

    # Decisions

    def refusal(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> ChatkitError | None:
        """Return why an identity may not use a right on a room now, or None if it may. `room` None is the server.

        Rights are those of this moment, also if they have changed since the identity was made. See `access.refusal`.
        """
        if now_ms < self._allowed_until_ms.get((identity, room, right), now_ms):
            return None
        return self._decide(identity, right, room, now_ms)

    def _decide(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> ChatkitError | None:
        try:
            current = self._current(identity, now_ms)
        except ChatkitError as error:
            return error
        settings = DEFAULT_ROOM_SETTINGS if room is None else self._settings.get(room, DEFAULT_ROOM_SETTINGS)
        refused = refusal(current, right, room, self._ban_list.on(current), now_ms, settings=settings)
        if refused is None:
            _keep(self._allowed_until_ms, (identity, room, right), current.expires_ms or NEVER_MS)
        return refused

    def _current(self, identity: Identity, now_ms: int) -> Identity:
        """Return the identity with its current rights, without the work of `renew` if nothing has changed."""
        if identity.credential is Credential.TOKEN:
            token = self._tokens.get(identity.token_id or "")
            is_same = token is not None and token.digest == identity.digest and token.expires_ms == identity.expires_ms
            if token is None or not is_same or token.grants != identity.grants or not token.is_live(now_ms):
                return self.renew(identity, now_ms)
        elif identity.credential is not Credential.STORE:
            self._check_free(identity.name, identity.credential)
            if identity.grants != (grants := self._grants_of(identity.credential)):
                return replace(identity, grants=grants)
        return identity

    def check(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> None:
        """Raise the error of `refusal`, if there is one."""
        if error := self.refusal(identity, right, room, now_ms):
            raise error

    def allows(self, identity: Identity, right: Right, room: str | None, now_ms: int) -> bool:
        """Return whether an identity may use a right on a room now. See `refusal`."""
        return self.refusal(identity, right, room, now_ms) is None

    def reads_everything(self, identity: Identity, now_ms: int) -> bool:
        """Return whether an identity may read every room that is not a system room, also those that do not exist."""
        is_free = all(ban.has_ended(now_ms) or ban.is_mute for ban in self._ban_list.on(identity))
        return is_free and EVERY_NAME in self.readable_names(identity, now_ms)

    def readable_names(self, identity: Identity, now_ms: int) -> Sequence[NameRange]:
        """Return the names of the rooms that the grants of an identity allow it to read now."""
        try:
            return self._current(identity, now_ms).readable_names()
        except ChatkitError:
            return ()

    # Look-ups

    def room_settings(self, room: str) -> RoomSettings:
        """Return the settings of a room; the default ones if it has none."""
        return self._settings.get(room, DEFAULT_ROOM_SETTINGS)

    def settings_of_rooms(self) -> Mapping[str, RoomSettings]:
        """Return the settings of all rooms that have some."""
        return self._settings.copy()

    def token(self, token_id: str) -> Token | None:
        """Return a token by its id."""
        return self._tokens.get(token_id)

    def holder_reads(self, token_id: str, room: str, now_ms: int) -> bool:
        """Return whether the holder of a token may still read a room. One that is not known here yet counts as live."""
        token = self._tokens.get(token_id)
        if token is None:
            return True
        holder = token.identity(token.digest, token.expires_ms, "")
        bans, settings = self._ban_list.on(holder), self.room_settings(room)
        return token.is_live(now_ms) and refusal(holder, Right.READ, room, bans, now_ms, settings=settings) is None

    def is_of_hook(self, name: str) -> bool:
        """Return whether a token of an incoming webhook holds a name."""
        holders = next((self._holders[key] for key in name_keys(name) if key in self._holders), None)
        tokens = () if holders is None else map(self.token, holders.token_ids)
        return any(token is not None and token.kind is TokenKind.HOOK for token in tokens)

    @property
    def held_beginnings(self) -> AbstractSet[str]:
        """The first characters of the folded forms (`text.fold`) of the names that tokens hold, or once held."""
        return self._beginnings

    def held_name(self, text: str) -> str | None:
        """Return the name that a text is, regardless of case, if a token holds it; otherwise None."""
        keys = self._held.get(fold(text))
        return None if keys is None else self._holders[keys[0]].name

    def holder_of(self, name: str) -> str | None:
        """Return the reserved name that a name looks like, or None if it is free."""
        return next((self._holders[key].name for key in name_keys(name) if key in self._holders), None)


def _keep(results: dict[Key, Result], key: Key, result: Result, limit: int = MAX_KEPT) -> None:
    """Keep a result of an earlier call. If there are too many, forget all: they are found again by one call each."""
    if len(results) >= limit:
        results.clear()
    results[key] = result
