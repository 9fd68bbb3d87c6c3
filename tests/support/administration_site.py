"""Shared by the tests of administration: two servers on one store, and identities that administer it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import EVERYTHING, Credential, Grant, Identity, Right
from chatkit.core.access_table import AccessTable
from chatkit.core.administration import Administration, NewToken
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.model import Message
from chatkit.core.moderation import Moderation
from chatkit.core.records import Record
from chatkit.errors import ChatkitError

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
READ_OPS = (Grant("ops", (Right.READ,)),)
NOBODY = Identity("cat", grants=READ_OPS)


class TurningBackend(MemoryBackend):
    """Lets other tasks run before each call, as a store on a network does."""

    async def get_record(self, kind: str, key: str) -> Record | None:
        await asyncio.sleep(0)
        return await super().get_record(kind, key)

    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        await asyncio.sleep(0)
        return await super().put_record(kind, key, value, expected_version=expected_version)


class Site:
    """Two servers on one store, and a clock."""

    def __init__(self, backend: MemoryBackend) -> None:
        self.backend = backend
        self.now_ms = 1_000_000
        self.admin, self.other = (Administration(backend, lambda: self.now_ms) for _ in range(2))
        self.moderation = Moderation(backend, lambda: self.now_ms)

    async def table(self, open_grants: tuple[Grant, ...] = ()) -> AccessTable:
        table = AccessTable(open_grants=open_grants)
        table.apply(await self.backend.record_changes(None))
        return table

    async def identity(self, new: NewToken) -> Identity:
        return (await self.table()).authenticate(new.secret, "192.0.2.1", self.now_ms)

    async def redeem(self, admin: Administration, invite: NewToken, name: str) -> NewToken:
        return await admin.redeem(invite.secret, (await self.table()).guest(name, "192.0.2.9", self.now_ms))

    async def audit(self) -> list[Message]:
        return [*(await self.backend.read(AUDIT_ROOM)).messages]

    async def events(self) -> list[str]:
        return [message.data["event"] for message in await self.audit()]


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    async with TurningBackend() as backend:
        yield Site(backend)


def with_site(test: Callable[[Site], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    async def main() -> None:
        async with site() as made:
            await test(made)

    def wrapped() -> None:
        run(main())

    wrapped.__name__ = test.__name__
    return wrapped


async def outcome(job: Coroutine[Any, Any, Any]) -> str:
    try:
        await job
    except ChatkitError as error:
        return error.code
    return "done"
