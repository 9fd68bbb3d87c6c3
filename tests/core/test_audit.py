"""The audit while the store fails: a change that was made is in it later, once, and in order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from administration_site import ROOT
from faulty_backend import Faults
from harness import run

from chatkit.core import audit as audit_module
from chatkit.core.access import Grant, Right
from chatkit.core.audit import AUDIT_ROOM, Audit, AuditEvent
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Message
from chatkit.core.moderation import Moderation
from chatkit.errors import KeyConflict, Unavailable


@asynccontextmanager
async def failing_site() -> AsyncIterator[tuple[Faults, Audit, Moderation]]:
    """Make a store with a message in `ops` that accepts changes and refuses messages."""
    async with Faults() as faults:
        await faults.append([Draft("ops", "ann", "hi")])
        faults.failures["append"] = Unavailable("the store is away")
        audit = Audit(faults, lambda: 1_000)
        yield faults, audit, Moderation(faults, lambda: 1_000, audit)


async def entries(faults: Faults) -> list[Message]:
    return [*(await faults.inner.read(AUDIT_ROOM)).messages]


def test_a_change_whose_entry_the_store_refuses_is_done_and_recorded_later() -> None:
    async def main() -> None:
        async with failing_site() as (faults, audit, moderation):
            (message,) = (await faults.read("ops")).messages
            assert (await moderation.redact(ROOT, message)).redacted
            ban = await moderation.ban(ROOT, "dan")
            assert await moderation.bans(ROOT) == [ban]
            assert await entries(faults) == []
            faults.failures.clear()
            await moderation.unban(ROOT, ban.id)
            found = await entries(faults)
            assert [entry.data["event"] for entry in found] == ["message-redacted", "ban-added", "ban-removed"]
            assert [entry.data.get("at") for entry in found] == ["1970-01-01T00:00:01.000Z"] * 2 + [None]
            await audit.close()
            assert len(await entries(faults)) == 3

    run(main())


def test_an_entry_is_stored_once_although_its_answer_was_lost() -> None:
    async def main() -> None:
        async with failing_site() as (faults, audit, moderation):
            faults.failures.clear()
            release = faults.hold("append", old_answer=True)
            banning = asyncio.ensure_future(moderation.ban(ROOT, "dan"))
            while not await entries(faults):  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0)
            banning.cancel()
            await asyncio.wait([banning])
            release.set()
            await audit.close()
            assert [entry.data["event"] for entry in await entries(faults)] == ["ban-added"]

    run(main())


def test_a_late_entry_that_was_stored_before_does_not_block_the_next() -> None:
    async def main() -> None:
        async with failing_site() as (faults, audit, moderation):
            await moderation.ban(ROOT, "dan")
            faults.failures["append"] = KeyConflict("k")
            await audit.flush()
            faults.failures.clear()
            await moderation.ban(ROOT, "eve")
            assert [entry.data["target"] for entry in await entries(faults)] == ["eve"]

    run(main())


def test_entries_that_cannot_be_stored_until_the_end_are_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "MAX_WAITING", 2)

    async def main() -> None:
        async with failing_site() as (_, audit, moderation):
            for name in ("dan", "eve", "fay"):
                await moderation.ban(ROOT, name)
            await audit.close()

    with caplog.at_level(logging.ERROR, "chatkit.core.audit"):
        run(main())
    names = [record.getMessage().split()[-4] for record in caplog.records]
    assert names == ["fay", "dan", "eve"], "the one over the bound, and then those that waited"


def test_a_hub_records_what_waits_when_the_store_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "RETRY_MIN_S", 0.001)

    async def main() -> None:
        async with Faults() as faults, Hub(faults) as hub:
            faults.failures["append"] = Unavailable("the store is away")
            new = await hub.administration.add_token(ROOT, "ann", (Grant("ops", (Right.READ,)),))
            assert new.secret, "the secret is not lost with the entry"
            faults.failures.clear()
            with await hub.subscribe(AUDIT_ROOM, history=1) as reader:
                (entry,) = await asyncio.wait_for(reader.read(), 10)
            assert isinstance(entry, Message)
            assert entry.data["event"] == AuditEvent.TOKEN_ADDED

    run(main())
