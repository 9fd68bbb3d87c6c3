"""The records of consumers: their keys and values, and their changes by compare-and-set."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

import msgspec

from chatkit.core.backend import Backend
from chatkit.core.consumer_state import ConsumerState
from chatkit.core.model import ROOM_RULE, check_room
from chatkit.core.records import Record
from chatkit.errors import BadName, BadRequest, NotFound, StoreError, VersionConflict

CONSUMER: Final = "consumer"  # the kind, by room and name
MAX_TRIES: Final = 60  # of one change: many workers of one consumer change its record at the same moment
RETRY_S: Final = 0.002  # the longest wait before the second try; it grows with each
MAX_RETRY_S: Final = 0.1

_encode = msgspec.json.encode


class RecordStore(Protocol):
    """The part of a store in which consumers are kept."""

    async def get_record(self, kind: str, key: str) -> Record | None:
        """Return a record; see `Backend.get_record`."""

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        """Set a record; see `Backend.put_record`."""

    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        """Return the records of a kind; see `Backend.scan_records`."""


def key_of(room: str, name: str) -> str:
    """Return the key of a consumer's record. Raise `BadRequest` for a name that is not valid."""
    try:
        return f"{room}/{check_room(name)}"
    except BadName as error:
        raise BadRequest(f"the name of a consumer has {ROOM_RULE}") from error


def parse_key(key: str) -> tuple[str, str]:
    """Return the room and the name of a consumer."""
    room, _, name = key.partition("/")
    return room, name


def decode(record: Record | None) -> ConsumerState | None:
    """Return the state in a record, or None without one. Raise `StoreError` if its bytes are not a state."""
    if record is None or record.value is None:
        return None
    try:
        return msgspec.json.decode(record.value, type=ConsumerState)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError(f"the consumer {record.key!r} cannot be read: {error}") from error


def no_such_consumer(key: str) -> NotFound:
    """Make the error for a consumer that does not exist."""
    room, name = parse_key(key)
    return NotFound(f"there is no consumer {name!r} in {room!r}")


class ConsumerRecords:
    """Reads and changes the records of consumers."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        # The changes that this process makes of one consumer wait for each other, so only those of others conflict.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def get(self, key: str) -> ConsumerState:
        """Return the state of a consumer. Raise `NotFound`."""
        state = decode(await self._store.get_record(CONSUMER, key))
        if state is None:
            raise no_such_consumer(key)
        return state

    async def scan(self, room: str | None) -> Sequence[Record]:
        """Return the records of a room's consumers, or of all."""
        return await self._store.scan_records(CONSUMER, "" if room is None else f"{room}/")

    async def update(
        self, key: str, change: Callable[[ConsumerState | None], Awaitable[ConsumerState]]
    ) -> ConsumerState:
        """Replace the state of a consumer by what `change` returns, and return that.

        `change` gets None if there is no such consumer. It is called again if another process changes the record at the
        same time, and may raise. Raise `VersionConflict` if that happens too often.
        """
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            for n_tries in range(MAX_TRIES):
                record = await self._store.get_record(CONSUMER, key)
                before = decode(record)
                after = await change(before)
                if after == before:
                    return after
                version = 0 if record is None else record.version
                try:
                    await self._store.put_record(CONSUMER, key, _encode(after), expected_version=version)
                except VersionConflict:
                    await asyncio.sleep(random.uniform(0, min(MAX_RETRY_S, RETRY_S * 2**n_tries)))  # noqa: S311 - jitter
                else:
                    return after
            raise VersionConflict(CONSUMER, key)

    async def delete(self, key: str, check: Callable[[str], None]) -> None:
        """Delete a consumer, unless `check`, which is called with its owner, raises. Raise `NotFound`."""
        record = await self._store.get_record(CONSUMER, key)
        state = decode(record)
        if record is None or state is None:
            raise no_such_consumer(key)
        check(state.owner)
        await self._store.put_record(CONSUMER, key, None, expected_version=record.version)


async def move_consumers(backend: Backend, room: str, new: str) -> None:
    """Give the consumers of a room the room's new name.

    They replace those of the same names there, which are of a room that was deleted.
    """
    for record in await backend.scan_records(CONSUMER, f"{room}/"):
        _, name = parse_key(record.key)
        while not await _move(backend, record.key, f"{new}/{name}"):
            pass


async def _move(backend: Backend, key: str, new: str) -> bool:
    """Move a record to another key. Return whether no other call changed one of the two at the same time."""
    moved, replaced = await backend.get_record(CONSUMER, key), await backend.get_record(CONSUMER, new)
    if moved is None or moved.value is None:
        return True
    try:
        version = 0 if replaced is None else replaced.version
        await backend.put_record(CONSUMER, new, moved.value, expected_version=version)
        await backend.put_record(CONSUMER, key, None, expected_version=moved.version)
    except VersionConflict:
        return False
    return True
