"""Delivery: what is published to a store itself arrives in order and once, although the store goes away."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import stores
from serving import clean_environment

from chatkit.backends import open_backend
from chatkit.bench.local.postgres import PostgresServer
from chatkit.bench.local.redis import RedisServer
from chatkit.bench.local.store import LocalStore
from chatkit.cli.store_publisher import MAX_HELD, StorePublisher
from chatkit.client import ConnectionLost, ConnectionRestored
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Receipt
from chatkit.errors import StoreError, Unavailable

STORES: dict[str, Callable[[], LocalStore]] = {
    "redis": lambda: RedisServer(stores.UNSYNCED),
    "postgres": PostgresServer,
}


def test_what_was_refused_goes_again_in_order_and_is_stored_once() -> None:
    told: list[ConnectionLost | ConnectionRestored] = []
    away = {"1", "2", "3"}  # refused at first, as a hub refuses all that comes behind what failed
    lost = "1"  # its answer; it was stored all the same

    async def main() -> None:
        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                if draft.body in away:
                    away.discard(draft.body)
                    if draft.body == lost:
                        await hub.publish(draft)
                    raise Unavailable("it is away")
                return await hub.publish(draft)

            delivery = StorePublisher(publish, told.append)
            running = asyncio.create_task(delivery.run())
            answers = [await delivery.submit(Draft("a", "ann", str(n))) for n in range(1, 4)]
            receipts = await asyncio.gather(*answers)
            assert not any(receipt.repeat for receipt in receipts)
            bodies = [message.body for message in (await backend.read("a")).messages]
            assert bodies == ["1", "2", "3"]
            repeat = await (await delivery.submit(Draft("a", "ann", "again", None, receipts[0].message.key)))
            assert repeat.repeat
            running.cancel()

    asyncio.run(main())
    assert [type(signal) for signal in told] == [ConnectionLost, ConnectionRestored]


def test_what_no_waiting_helps_is_told_to_its_publisher_alone() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                if draft.body == "bad":
                    raise StoreError("never")
                return await hub.publish(draft)

            delivery = StorePublisher(publish, lambda signal: pytest.fail(str(signal)))
            running = asyncio.create_task(delivery.run())
            bad, good = [await delivery.submit(Draft("a", "ann", body)) for body in ("bad", "good")]
            with pytest.raises(StoreError):
                await bad
            assert (await good).message.seq == 1
            running.cancel()

    asyncio.run(main())


def test_who_gives_more_than_the_store_takes_waits() -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                await opened.wait()
                return await hub.publish(draft)

            delivery = StorePublisher(publish, lambda _: None)
            running = asyncio.create_task(delivery.run())
            for n in range(MAX_HELD):
                await delivery.submit(Draft("a", "ann", str(n)))
            more = asyncio.ensure_future(delivery.submit(Draft("a", "ann", "more")))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not more.done()
            opened.set()
            assert (await (await more)).message.seq == MAX_HELD + 1
            running.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("kind", STORES)
def test_a_pipe_and_a_follower_outlive_a_store_that_is_killed(kind: str, tmp_path: Path) -> None:
    env = clean_environment({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})

    def start(stack: ExitStack, *words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "chatkit.cli", *words, "--backend", store.url]
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1, cwd=tmp_path, env=env
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        return process

    with STORES[kind]() as store, ExitStack() as stack:
        publishing, following = start(stack, "publish", "ops", "-"), start(stack, "history", "ops", "-f", "--json")
        assert publishing.stdin is not None
        assert publishing.stderr is not None
        assert following.stdout is not None
        assert following.stderr is not None
        publishing.stdin.write("first\n")
        assert '"body":"first"' in following.stdout.readline()
        publishing.stdin.write("by the bell\n")  # what was printed before came with the page that a follow begins with
        assert '"body":"by the bell"' in following.stdout.readline()
        store.kill()
        assert "trying again" in following.stderr.readline()
        publishing.stdin.write("second\nthird\n")
        assert "trying again" in publishing.stderr.readline()
        store.start()
        publishing.stdin.close()
        assert publishing.stderr.readline() == "chatkit: the connection is back\n"
        assert publishing.wait(60) == 0
        assert '"body":"second"' in following.stdout.readline()
        assert '"body":"third"' in following.stdout.readline()
        assert following.stderr.readline() == "chatkit: the connection is back\n"
