"""AccessWatchers: the sessions of a process, found by a change of access that concerns them, or by their expiry."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple, Protocol, Self, TypeVar

import msgspec

from chatkit.core.access import Ban, BanSubject, Identity
from chatkit.core.access_records import name_keys
from chatkit.core.ban_list import address_number, parse_network

SHARDS: Final = 1024  # of the sessions: a change that may concern any of them looks at one shard at a time

Key = TypeVar("Key", int, str)


class AccessWatcher(Protocol):
    """A session, or another object that acts for an identity and ends when that loses its rights.

    Two of them are equal only if they are the same object.
    """

    @property
    def identity(self) -> Identity:
        """The identity that the session acts for."""

    def on_access_changed(self) -> None:
        """Renew the identity, and end what it may no longer do. MUST NOT wait. It may come late, after the end."""


class AccessChange(msgspec.Struct, frozen=True):
    """What changed: tokens by id, names that were reserved by `name_keys`, bans, and rooms whose settings changed.

    If `everyone`, any identity may be concerned. `rooms` concern only those who serve the rooms. `unreadable` are
    sentences about records that were ignored.
    """

    token_ids: frozenset[str] = frozenset()
    name_keys: frozenset[str] = frozenset()
    bans: tuple[Ban, ...] = ()
    rooms: frozenset[str] = frozenset()
    everyone: bool = False
    unreadable: tuple[str, ...] = ()

    @classmethod
    def merge(cls, changes: Iterable[Self], *, everyone: bool) -> Self:
        """Return the union of changes."""
        real = [change for change in changes if change != NO_CHANGE]
        return cls(
            frozenset(chain.from_iterable(change.token_ids for change in real)),
            frozenset(chain.from_iterable(change.name_keys for change in real)),
            tuple(chain.from_iterable(change.bans for change in real)),
            frozenset(chain.from_iterable(change.rooms for change in real)),
            everyone or any(change.everyone for change in real),
            tuple(chain.from_iterable(change.unreadable for change in real)),
        )


NO_CHANGE: Final = AccessChange()


class _Registered(NamedTuple):
    """What a session was registered with: it may have another identity by now."""

    token_id: str | None
    name_keys: tuple[str, ...]
    address: tuple[int, int] | None
    expires_ms: int | None


class AccessWatchers:
    """The registered sessions. To register one, and to find those of one token, costs a few look-ups."""

    def __init__(self) -> None:
        self._shards: tuple[dict[AccessWatcher, _Registered], ...] = tuple({} for _ in range(SHARDS))
        self._by_token: dict[str, set[AccessWatcher]] = {}
        self._by_expiry: dict[int, set[AccessWatcher]] = {}  # as many keys as tokens that end
        self._next_expiry_ms: int | None = None

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def add(self, watcher: AccessWatcher) -> None:
        """Register a session, or register it again after its identity was renewed."""
        self.discard(watcher)
        identity = watcher.identity
        entry = self._shard_of(watcher)[watcher] = _Registered(
            identity.token_id, name_keys(identity.name), address_number(identity.address), identity.expires_ms
        )
        if entry.token_id is not None:
            self._by_token.setdefault(entry.token_id, set()).add(watcher)
        if entry.expires_ms is not None:
            self._by_expiry.setdefault(entry.expires_ms, set()).add(watcher)
            self._next_expiry_ms = min(self._next_expiry_ms or entry.expires_ms, entry.expires_ms)

    def discard(self, watcher: AccessWatcher) -> None:
        """Remove a session. Removing it again changes nothing."""
        entry = self._shard_of(watcher).pop(watcher, None)
        if entry is None:
            return
        if entry.token_id is not None:
            _remove(self._by_token, entry.token_id, watcher)
        if entry.expires_ms is not None:
            is_last = _remove(self._by_expiry, entry.expires_ms, watcher)
            if is_last and entry.expires_ms == self._next_expiry_ms:
                self._next_expiry_ms = min(self._by_expiry, default=None)

    def _shard_of(self, watcher: AccessWatcher) -> dict[AccessWatcher, _Registered]:
        return self._shards[hash(watcher) % SHARDS]

    def concerned(self, change: AccessChange) -> Iterator[list[AccessWatcher]]:
        """Iterate over the sessions that a change may concern: each calls `renew`, and ends if that raises.

        They come in lists, which may be empty and hold no session twice. To find one list takes less than a
        millisecond with 100,000 sessions, so the caller pauses between two. Sessions may be added and removed then.
        """
        for token_id in change.token_ids:
            yield [*self._by_token.get(token_id, ())]
        if change.everyone or change.name_keys or change.bans:
            concerns = _Concerns(change)
            for shard in self._shards:
                yield [watcher for watcher, registered in shard.items() if concerns(registered)]

    @property
    def next_expiry_ms(self) -> int | None:
        """When the first of the identities expires, as Unix milliseconds, or None if none does."""
        return self._next_expiry_ms

    def expired(self, now_ms: int) -> list[AccessWatcher]:
        """Return the sessions whose identity has expired. They are returned again until they are removed."""
        if self._next_expiry_ms is None or now_ms < self._next_expiry_ms:
            return []
        return [watcher for end_ms, watchers in self._by_expiry.items() if end_ms <= now_ms for watcher in watchers]


class _Concerns:
    """Whether a change concerns a session, beside a change of its token."""

    def __init__(self, change: AccessChange) -> None:
        self._everyone = change.everyone
        self._changed_ids = change.token_ids
        subjects = {kind: {ban.subject for ban in change.bans if ban.kind is kind} for kind in BanSubject}
        self._token_ids = subjects[BanSubject.TOKEN]
        self._banned_keys = {key for name in subjects[BanSubject.NAME] for key in name_keys(name)}
        self._taken_keys = change.name_keys
        networks = map(parse_network, subjects[BanSubject.NETWORK])
        self._ranges = [((n.version, int(n[0])), (n.version, int(n[-1]))) for n in networks]

    def __call__(self, registered: _Registered) -> bool:
        return registered.token_id not in self._changed_ids and (
            self._everyone
            or registered.token_id in self._token_ids
            or not self._banned_keys.isdisjoint(registered.name_keys)
            or (registered.token_id is None and not self._taken_keys.isdisjoint(registered.name_keys))
            or (
                registered.address is not None
                and any(first <= registered.address <= last for first, last in self._ranges)
            )
        )


def _remove(sets: dict[Key, set[AccessWatcher]], key: Key, watcher: AccessWatcher) -> bool:
    """Remove a session from the set of a key; return whether that was the last of the key."""
    watchers = sets[key]
    watchers.discard(watcher)
    if not watchers:
        del sets[key]
    return not watchers
