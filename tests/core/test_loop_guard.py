"""The loop guard: bots that answer each other are stopped, and everybody else goes on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from faulty_backend import Faults
from harness import run, until

from chatkit.backends.memory import MemoryBackend
from chatkit.backends.sqlite import SqliteBackend
from chatkit.core.access import EVERYTHING, Credential, Grant, Identity, Right
from chatkit.core.audit import SERVER_NAME
from chatkit.core.backend import Backend
from chatkit.core.hub import Hub
from chatkit.core.loop_guard import WINDOW_MS
from chatkit.core.message_state import Act
from chatkit.core.model import Draft
from chatkit.core.token import TokenKind
from chatkit.errors import BotLoop, ChatkitError

ROOT = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
LIMIT = 20


@asynccontextmanager
async def guarded(backend: Backend | None = None, **given: Any) -> AsyncIterator[Hub]:
    async with backend or MemoryBackend() as opened, Hub(opened, **{"bot_limit": LIMIT, **given}) as hub:
        yield hub


async def write(hub: Hub, sender: str, body: str = "x", *, bot: bool = True, **parts: Any) -> int:
    return (await hub.publish(Draft("ops", sender, body, bot=bot, verified=True, **parts))).message.seq


async def write_until_refused(hub: Hub, senders: tuple[str, ...], most: int = 5 * LIMIT) -> int:
    """Let bots write in turn, and return how many messages were stored before one was refused."""
    return await write_in_turn([(hub, sender) for sender in senders], most)


async def write_in_turn(writers: Sequence[tuple[Hub, str]], most: int, body: str = "x") -> int:
    for n_stored in range(most):
        try:
            await write(*writers[n_stored % len(writers)], body)
        except BotLoop:
            return n_stored
    return most


def test_two_bots_that_answer_each_other_are_stopped_until_a_person_writes() -> None:
    async def main() -> None:
        async with guarded() as hub:
            refused: list[str] = []

            async def answer(name: str, other: str) -> None:
                with await hub.subscribe("ops") as messages:
                    async for message in messages:
                        if message.sender in {other, "ann"}:  # type: ignore[union-attr]  # there are no gaps
                            try:
                                await write(hub, name)
                            except BotLoop:
                                refused.append(name)

            bots = [asyncio.create_task(answer(*names)) for names in (("cat", "dog"), ("dog", "cat"))]
            await until(lambda: hub.counts["subscriptions"] == 2)
            for n_refused in (2, 4):  # both answer the person, so there are two conversations
                await write(hub, "ann", bot=False)
                await until(lambda expected=n_refused: len(refused) == expected)  # type: ignore[misc]
            page = await hub.history("ops", limit=1000)
            from_bots = sum(message.bot for message in page.messages)
            assert 2 * LIMIT <= from_bots <= 2 * (LIMIT + 1), "two bots, so one message more may be on its way"
            for bot in bots:
                bot.cancel()

    run(main())


def test_exactly_the_limit_is_stored_if_bots_wait_for_each_other() -> None:
    async def main() -> None:
        async with guarded() as hub:
            assert await write_until_refused(hub, ("cat", "dog", "elk")) == LIMIT
            with pytest.raises(BotLoop, match="'ops'") as refused:
                await write(hub, "fox")
            assert refused.value.n_messages == LIMIT
            await write(hub, "ann", bot=False)
            assert await write_until_refused(hub, ("cat", "dog")) == LIMIT

    run(main())


def test_one_bot_alone_and_bots_of_other_rooms_are_not_refused() -> None:
    async def main() -> None:
        async with guarded() as hub:
            assert await write_until_refused(hub, ("cron",)) == 5 * LIMIT
            for n in range(5 * LIMIT):
                await hub.publish(Draft(f"room-{n % 10}", f"bot-{n % 3}", "x", bot=True))

    run(main())


def test_a_bot_that_writes_much_is_not_refused_because_another_one_remarks_on_it() -> None:
    async def main() -> None:
        async with guarded(bot_limit=100) as hub:
            for _ in range(10):
                assert await write_until_refused(hub, ("cron",), most=25) == 25
                await write(hub, "helper", "many alerts today")

    run(main())


def test_a_second_bot_that_answers_a_bot_which_was_alone_is_soon_stopped() -> None:
    async def main() -> None:
        async with guarded() as hub:
            await write_until_refused(hub, ("cron",), most=3 * LIMIT)
            assert await write_until_refused(hub, ("helper", "cron")) <= LIMIT

    run(main())


def test_bots_that_write_several_messages_in_each_turn_are_stopped() -> None:
    async def main() -> None:
        async with guarded() as hub:
            assert await write_until_refused(hub, ("cat", "cat", "cat", "dog", "dog", "dog")) <= LIMIT + 3

    run(main())


def test_reactions_and_edits_neither_count_nor_are_refused() -> None:
    async def main() -> None:
        async with guarded() as hub:
            seq = await write(hub, "cat")
            for n in range(2 * LIMIT):
                await write(hub, f"bot-{n}", "👍", of=seq, act=Act.REACT)
            assert await write_until_refused(hub, ("dog", "cat")) == LIMIT - 1
            await write(hub, "cat", "corrected", of=seq, act=Act.EDIT)
            await hub.publish(Draft("ops", "ann", "👍", of=seq, act=Act.REACT))
            with pytest.raises(BotLoop):
                await write(hub, "cat")

    run(main())


def test_messages_of_an_hour_ago_belong_to_no_loop() -> None:
    async def main() -> None:
        ahead_ms = 0
        backend = MemoryBackend()
        async with guarded(backend, now_ms=lambda: 0) as hub:
            now_ms = (await hub.publish(Draft("other", "ann", "x"))).message.time_ms
        async with guarded(now_ms=lambda: now_ms + ahead_ms) as hub:
            assert await write_until_refused(hub, ("cat", "dog")) == LIMIT
            ahead_ms = 2 * WINDOW_MS
            assert await write_until_refused(hub, ("cat", "dog"), most=LIMIT) == LIMIT

    run(main())


def test_the_guard_can_be_turned_off() -> None:
    async def main() -> None:
        async with guarded(bot_limit=0) as hub:
            assert await write_until_refused(hub, ("cat", "dog")) == 5 * LIMIT

    run(main())


def test_incoming_webhooks_count_but_are_not_refused() -> None:
    async def main() -> None:
        async with guarded() as hub:
            grants = [Grant("ops", (Right.WRITE,))]
            await hub.administration.add_token(ROOT, "alerts", grants, kind=TokenKind.HOOK)
            assert await write_until_refused(hub, ("helper", "alerts")) == LIMIT
            with pytest.raises(BotLoop):
                await write(hub, "helper")
            await write(hub, "alerts")
            await write(hub, SERVER_NAME)  # as dead letters of consumers are

    run(main())


def test_bots_on_several_servers_of_one_store_are_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        store = tmp_path / "rooms.db"
        async with guarded(SqliteBackend(store)) as first, guarded(SqliteBackend(store)) as second:
            n_stored = await write_in_turn([(first, "cat"), (second, "dog")], 5 * LIMIT)
            assert LIMIT <= n_stored <= LIMIT + 1
            await write(second, "ann", bot=False)
            await write(first, "cat")

    run(main())


def test_large_messages_are_counted_over_several_pages(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(SqliteBackend(tmp_path / "rooms.db"), bot_limit=40) as hub:
            assert await write_in_turn([(hub, "cat"), (hub, "dog")], 60, "x" * 60_000) == 40

    run(main())


def test_drafts_of_a_burst_keep_their_order_and_each_is_settled() -> None:
    async def main() -> None:
        async with guarded() as hub:
            outcomes = await asyncio.gather(
                *(write(hub, f"bot-{n % 2}", str(n)) for n in range(3 * LIMIT)), return_exceptions=True
            )
            stored = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert stored == list(range(1, len(stored) + 1))
            assert LIMIT <= len(stored) < 3 * LIMIT
            assert all(isinstance(outcome, BotLoop) for outcome in outcomes[len(stored) :])

    run(main())


def test_drafts_that_wait_for_a_check_are_refused_when_the_hub_is_left() -> None:
    async def main() -> None:
        async with guarded(Faults()) as hub:
            settled: list[object] = []
            hub.submit(Draft("ops", "cat", "x", bot=True), settled.append)
            assert settled == []
        assert len(settled) == 1
        assert isinstance(settled[0], ChatkitError)

    run(main())
