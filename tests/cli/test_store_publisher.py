"""Messages published directly to a store arrive once and in order, although the store becomes unavailable."""

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
from chatkit.cli.store_client import StoreClient
from chatkit.cli.store_publisher import MAX_QUEUED, StorePublisher
from chatkit.client import ConnectionLost, ConnectionRestored
from chatkit.core.access import EVERYTHING, Credential, Identity, RoomSettings
from chatkit.core.access_records import ROOM
from chatkit.core.access_store import AccessStore
from chatkit.core.audit import AUDIT_ROOM
from chatkit.core.history import read_history
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Receipt
from chatkit.errors import ChatkitError, Forbidden, RoomRenamed, StoreError, Unavailable

STORES: dict[str, Callable[[], LocalStore]] = {
    "redis": lambda: RedisServer(stores.UNSYNCED),
    "postgres": PostgresServer,
}


def test_archived_rooms_and_old_names_are_not_written_without_a_server_either(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/rooms.db"
        by = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
        async with open_backend(url) as backend, Hub(backend) as hub:
            await hub.moderation.set_room(by, "ops", lambda _: RoomSettings(archived=True))
            await hub.publish(Draft("old", "ann", "hi"))
            await hub.moderation.rename_room(by, "old", "dev")
            async with StoreClient(url, "ann", print, make=False) as client:
                refusals: dict[str, type[ChatkitError]] = {"ops": Forbidden, "old": RoomRenamed}
                for room, refusal in refusals.items():
                    with pytest.raises(refusal):
                        await client.publish(room, "hi")
                    with pytest.raises(refusal):
                        await (await client.submit(room, "hi"))
                await client.publish("dev", "hi")
            assert [info.room for info in await backend.rooms() if info.room != AUDIT_ROOM] == ["dev"]


def test_messages_that_wait_while_their_room_is_renamed_are_refused_with_the_new_name(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/rooms.db"
        by = Identity("root", grants=EVERYTHING, credential=Credential.STORE)
        async with open_backend(url) as backend, Hub(backend) as hub:
            await hub.publish(Draft("old", "ann", "hi"))
            moving = RoomSettings(renamed_to="dev", is_moving=True)
            await AccessStore(backend).update(ROOM, "old", RoomSettings, lambda _: moving)
            away = asyncio.Event()
            async with StoreClient(url, "ann", lambda _: away.set(), make=False) as client:
                answer = await client.submit("old", "two")
                await away.wait()
                assert not answer.done()
                await hub.moderation.rename_room(by, "old", "dev")
                with pytest.raises(RoomRenamed, match="'dev'"):
                    await answer
            assert [message.body for message in (await read_history(backend, "dev")).messages] == ["hi"]

    asyncio.run(main())


def test_rejected_messages_are_repeated_in_order_and_stored_once() -> None:
    signals: list[ConnectionLost | ConnectionRestored] = []
    rejected = {"1", "2", "3"}  # rejected at first, as a hub rejects all messages after one that failed
    lost = "1"  # it is stored, but its answer is lost

    async def main() -> None:
        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                if draft.body in rejected:
                    rejected.discard(draft.body)
                    if draft.body == lost:
                        await hub.publish(draft)
                    raise Unavailable("it is not available")
                return await hub.publish(draft)

            publisher = StorePublisher(publish, signals.append)
            running = asyncio.create_task(publisher.run())
            answers = [await publisher.submit(Draft("a", "ann", str(n))) for n in range(1, 4)]
            receipts = await asyncio.gather(*answers)
            assert not any(receipt.repeat for receipt in receipts)
            bodies = [message.body for message in (await backend.read("a")).messages]
            assert bodies == ["1", "2", "3"]
            repeat = await (await publisher.submit(Draft("a", "ann", "1", None, receipts[0].message.key)))
            assert repeat.repeat
            running.cancel()

    asyncio.run(main())
    assert [type(signal) for signal in signals] == [ConnectionLost, ConnectionRestored]


def test_a_permanent_error_is_raised_only_to_its_publisher() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                if draft.body == "bad":
                    raise StoreError("never")
                return await hub.publish(draft)

            publisher = StorePublisher(publish, lambda signal: pytest.fail(str(signal)))
            running = asyncio.create_task(publisher.run())
            bad, good = [await publisher.submit(Draft("a", "ann", body)) for body in ("bad", "good")]
            with pytest.raises(StoreError):
                await bad
            assert (await good).message.seq == 1
            running.cancel()

    asyncio.run(main())


def test_submitting_waits_while_the_queue_is_full() -> None:
    async def main() -> None:
        opened = asyncio.Event()

        async with open_backend("memory://") as backend, Hub(backend) as hub:

            async def publish(draft: Draft) -> Receipt:
                await opened.wait()
                return await hub.publish(draft)

            publisher = StorePublisher(publish, lambda _: None)
            running = asyncio.create_task(publisher.run())
            for n in range(MAX_QUEUED):
                await publisher.submit(Draft("a", "ann", str(n)))
            more = asyncio.ensure_future(publisher.submit(Draft("a", "ann", "more")))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not more.done()
            opened.set()
            assert (await (await more)).message.seq == MAX_QUEUED + 1
            running.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("kind", STORES)
def test_a_pipe_and_a_follower_survive_a_killed_store(kind: str, tmp_path: Path) -> None:
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

    async def make_store(url: str) -> None:
        async with open_backend(url):
            pass  # PostgreSQL has its schema from here: `history` of a database without one is an error

    with STORES[kind]() as store, ExitStack() as stack:
        asyncio.run(make_store(store.url))
        publishing, following = start(stack, "publish", "ops", "-"), start(stack, "history", "ops", "-f", "--json")
        assert publishing.stdin is not None
        assert publishing.stderr is not None
        assert following.stdout is not None
        assert following.stderr is not None
        publishing.stdin.write("first\n")
        assert '"body":"first"' in following.stdout.readline()
        publishing.stdin.write("by notification\n")  # the line before came with the first page of the follow
        assert '"body":"by notification"' in following.stdout.readline()
        store.kill()
        assert "trying again" in following.stderr.readline()
        publishing.stdin.write("second\nthird\n")
        assert "trying again" in publishing.stderr.readline()
        store.start()
        publishing.stdin.close()
        assert publishing.stderr.readline() == "chatkit: connected again\n"
        assert publishing.wait(60) == 0
        assert '"body":"second"' in following.stdout.readline()
        assert '"body":"third"' in following.stdout.readline()
        assert following.stderr.readline() == "chatkit: connected again\n"
