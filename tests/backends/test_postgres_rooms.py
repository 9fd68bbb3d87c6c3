"""PostgreSQL: stores of older versions, and the rows of deleted rooms."""

import asyncio
from importlib.resources import files

import pytest
import stores
from postgres_backends import eventually, opened, schema_of, sql, terminate_listeners

from chatkit.backends import open_backend
from chatkit.backends import postgres as postgres_package
from chatkit.backends.conformance.suite import drafts_in, texts, until
from chatkit.backends.postgres import PostgresBackend
from chatkit.backends.postgres import schema as postgres_schema
from chatkit.backends.postgres import writer as postgres_writer
from chatkit.backends.postgres.schema import MIGRATIONS, PostgresSchema
from chatkit.core.backend import Notification, RoomAdvanced
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Receipt
from chatkit.errors import StoreTooNew

N_ROWS = "SELECT count(*) FROM {}.message"
APPEND = """
    SELECT * FROM {}.append('p', 1, ARRAY['ops'], ARRAY[1, 1, 1], ARRAY['ann', 'ann', 'bob'], ARRAY['one', '2', '3'],
    NULL, ARRAY['k', NULL, NULL], NULL, NULL)
"""


def make_old_store(url: str, version: int) -> None:
    """Make a store as the chatkit of that version did, with three messages, of which the second was redacted."""
    schema = PostgresSchema(schema_of(url), "postgresql://")
    sql("CREATE SCHEMA {}", url)
    for script in MIGRATIONS[:version]:
        script_text = (files(postgres_package) / "migrations" / script).read_text("utf-8")
        stores.postgres_server().run_sql(schema.fill_in(script_text))
    n_added = 0 if version < 3 else 1 if version < 6 else 4  # 3 added the flags, 6 three columns of references
    sql(APPEND.replace("NULL, NULL)\n", f"NULL, NULL{', NULL' * n_added})\n"), url)
    sql("SELECT {}.redact('ops', 2)", url)


def is_restart(item: Notification, epoch: str) -> bool:
    return isinstance(item, RoomAdvanced) and (item.last, item.epoch) == (0, epoch)


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_messages_and_keys_of_an_older_version_are_kept(version: int) -> None:
    url = stores.postgres()
    make_old_store(url, version)
    epoch = sql("SELECT epoch FROM {}.meta", url)

    async def main() -> None:
        async with opened(url, 2) as (backend, _):
            page = await backend.read("ops")
            assert page.head.epoch == epoch
            found = [(message.body, message.key, message.redacted, message.verified) for message in page.messages]
            assert found == [("one", "k", False, False), ("", None, True, False), ("3", None, False, False)]
            draft = Draft("ops", "ann", "one", key="k")
            receipts = await backend.append(
                [draft, Draft("ops", "bob", "two", key="k", bot=True), Draft("ops", "ann", "3", key="k")]
            )
            assert receipts[0] == Receipt(page.messages[0], repeat=True)
            assert (receipts[1].repeat, receipts[1].message.seq, receipts[1].message.bot) == (False, 4, True)
            assert receipts[2].conflict
            await backend.append([Draft("ops", "ann", "uno", of=1, act=Act.EDIT), Draft("ops", "bob", "a reply", of=1)])
            (message, *_) = (await backend.read("ops", after=0, folded=True)).messages
            assert (message.body, message.state and message.state.n_replies) == ("uno", 1)
            assert (await backend.put_record("token", "a", b"", expected_version=0)).version == 1
            assert await backend.delete_room("ops")
            assert sql(N_ROWS, url) == "0"

    asyncio.run(main())


def test_a_process_of_an_older_version_is_told_to_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_backend(stores.postgres()) as backend:
            # As if the process had opened the store before another process upgraded it.
            monkeypatch.setattr(postgres_schema, "MIGRATIONS", MIGRATIONS[:2])
            monkeypatch.setattr(postgres_writer, "_APPEND", "SELECT * FROM {schema}.append($1, $2, $3, $4, $5, $6)")
            with pytest.raises(StoreTooNew, match="upgrade chatkit"):
                await backend.append(drafts_in("a", 1))

    asyncio.run(main())


def test_the_rows_of_a_deleted_room_are_removed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_writer, "PURGE_STEP", 10)
    url = stores.postgres()

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append([*drafts_in("a", *range(35)), *drafts_in("b", 1)])
            await backend.trim("a", keep=25)
            assert await backend.delete_room("a")
            assert sql(N_ROWS, url) == "1"
            assert sql("SELECT count(*) FROM {}.deleted_log", url) == "0"
            assert await texts(backend, "b") == ["1"]

    asyncio.run(main())


def test_a_deletion_that_was_interrupted_is_completed_by_the_next_process() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with open_backend(url) as backend:
            await backend.append(drafts_in("a", 1, 2, 3))
            await asyncio.to_thread(sql, "SELECT {}.delete_room('a')", url)  # and the process is killed
            assert await texts(backend, "a") == []
            await backend.append(drafts_in("a", "new"))
            assert sql(N_ROWS, url) == "4"
        async with open_backend(url) as backend:
            await eventually(lambda: sql(N_ROWS, url) == "1")
            assert await texts(backend, "a") == ["new"]

    asyncio.run(main())


def test_a_deletion_while_a_process_does_not_listen_is_notified_afterwards() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with opened(url, 2) as (one, two):
            assert isinstance(one, PostgresBackend)
            (old,) = await two.append(drafts_in("a", 1))
            await one.watch("a")
            await asyncio.gather(asyncio.to_thread(terminate_listeners, url), two.delete_room("a"))
            epoch = (await two.read("a")).head.epoch
            assert epoch != old.message.epoch
            await until(one.notifications(), lambda item: is_restart(item, epoch))

    asyncio.run(main())
