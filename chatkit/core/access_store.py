"""AccessStore: the records of access, changed by compare-and-set. Knows nothing of rights."""

import asyncio
import heapq
from collections.abc import Callable
from operator import attrgetter
from typing import Final, TypeVar

from chatkit.core import access_records
from chatkit.core.access import Ban
from chatkit.core.access_records import NameHolders, Value, decode, encode, name_keys
from chatkit.core.backend import Backend
from chatkit.core.token import Token
from chatkit.errors import BadRequest, ChatkitError, NameTaken, VersionConflict

MAX_TRIES: Final = 20  # of one change: a record of access is rarely changed twice at the same moment
MAX_TOKENS_OF_NAME: Final = 100  # they stand in one record
AT_ONCE: Final = 200  # values decoded, sorted or merged in one turn of the loop: about 0.5 ms

Aged = TypeVar("Aged", Token, Ban)
_created_ms = attrgetter("created_ms")


class AccessStore:
    """Reads and changes the records of access in a backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def get(self, kind: str, key: str, value_type: type[Value]) -> Value | None:
        """Return the value of a record, or None if the record does not exist."""
        record = await self._backend.get_record(kind, key)
        return None if record is None else decode(record, value_type)

    async def all(
        self, kind: str, value_type: type[Value], is_wanted: Callable[[Value], bool] = lambda _: True
    ) -> list[Value]:
        """Return all values of a kind that are wanted, in the order of their keys. Other tasks run in between."""
        values = []
        for index, record in enumerate(await self._backend.scan_records(kind)):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            value = decode(record, value_type)
            if value is not None and is_wanted(value):
                values.append(value)
        return values

    async def by_age(
        self, kind: str, value_type: type[Aged], is_wanted: Callable[[Aged], bool] = lambda _: True
    ) -> list[Aged]:
        """Return all tokens or bans that are wanted, the oldest first. Other tasks run in between."""
        values = await self.all(kind, value_type, is_wanted)
        runs = []
        for start in range(0, len(values), AT_ONCE):
            runs.append(sorted(values[start : start + AT_ONCE], key=_created_ms))
            await asyncio.sleep(0)
        merged = []
        for index, value in enumerate(heapq.merge(*runs, key=_created_ms)):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            merged.append(value)
        return merged

    async def count(self, kind: str) -> int:
        """Return the number of records of a kind."""
        return len(await self._backend.scan_records(kind))

    async def update(
        self, kind: str, key: str, value_type: type[Value], change: Callable[[Value | None], Value | None]
    ) -> tuple[Value | None, Value | None]:
        """Replace the value of a record by `change(value)`; return the value before and after.

        `change` returns None to delete the record, and may raise to leave it as it is. It is called again if another
        process changes the record at the same time. Raise `VersionConflict` if that happens too often.
        """
        for _ in range(MAX_TRIES):
            record = await self._backend.get_record(kind, key)
            before = None if record is None else decode(record, value_type)
            after = change(before)
            if after == before:
                return before, after
            try:
                await self._backend.put_record(
                    kind,
                    key,
                    None if after is None else encode(after),
                    expected_version=0 if record is None else record.version,
                )
            except VersionConflict:
                continue
            return before, after
        raise VersionConflict(kind, key)

    async def reserve(self, name: str, token_id: str, *, may_share: bool) -> None:
        """Reserve a name, with all that look like it, for a token.

        Raise `NameTaken` if it looks like a name that other tokens hold; with `may_share`, only if that is another
        name. Of concurrent calls for names that look alike, by any process, at most one succeeds.
        """

        def add(holders: NameHolders | None) -> NameHolders:
            if holders is None:
                return NameHolders(name, (token_id,))
            if not may_share or holders.name != name:
                raise NameTaken(name)
            if len(holders.token_ids) >= MAX_TOKENS_OF_NAME:
                raise BadRequest(
                    f"a name is held by at most {MAX_TOKENS_OF_NAME} tokens: 'chatkit token remove' frees places"
                )
            return NameHolders(name, (*holders.token_ids, token_id))

        # In the same order for all, so that of two calls one gets the first key that both need, and the other fails.
        reserved: list[str] = []
        try:
            for key in sorted(name_keys(name)):
                await self.update(access_records.NAME, key, NameHolders, add)
                reserved.append(key)
        except ChatkitError:
            for key in reserved:
                await self._release_key(key, token_id)
            raise

    async def release(self, name: str, token_id: str) -> None:
        """Remove a token from the holders of its name. The name is free if no other token holds it."""
        for key in name_keys(name):
            await self._release_key(key, token_id)

    async def _release_key(self, key: str, token_id: str) -> None:
        def remove(holders: NameHolders | None) -> NameHolders | None:
            rest = tuple(other for other in holders.token_ids if other != token_id) if holders else ()
            return NameHolders(holders.name, rest) if holders and rest else None

        await self.update(access_records.NAME, key, NameHolders, remove)

    async def add_token(self, token: Token, *, may_share: bool) -> None:
        """Store a new token after its name was reserved for it. Raise as `reserve` does."""
        await self.reserve(token.name, token.id, may_share=may_share)
        try:
            await self.put_token(token)
        except ChatkitError:
            await self.release(token.name, token.id)
            raise

    async def put_token(self, token: Token) -> None:
        """Store a new token whose name is reserved, or that needs none."""
        await self._backend.put_record(access_records.TOKEN, token.id, encode(token), expected_version=0)
