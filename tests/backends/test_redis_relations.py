"""Redis: what refers to messages, beyond the conformance suite: how it is stored, large numbers, steps and rights."""

import asyncio
import random
from collections.abc import Iterator, Sequence

import pytest
import stores

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, numbers_of, until
from chatkit.backends.memory import MemoryBackend
from chatkit.backends.redis import writer
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.relations import decode_number, encode_number
from chatkit.bench.local.redis import RedisServer
from chatkit.core.backend import Backend, Filter, MentionPosition, MessageRedacted, RoomAdvanced, RoomUnread
from chatkit.core.message_state import Act, MessageState, Reaction
from chatkit.core.model import Draft, Message
from chatkit.errors import StoreError

META, LOG, KEYS, GONE, REFS = (key.decode() for key in KeyNames("chatkit:", 0).of("a").stored)
THUMB, HEART = "👍", "❤️"
SENDERS = ["ann", "bob", 'c"d\\e/', "ü", "日本"]
EMOJIS = [THUMB, HEART, ":a:", ":b:"]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    """A server for the tests of this module, each of which finds it empty."""
    with RedisServer(stores.UNSYNCED) as own:
        yield own


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.ask("FLUSHALL")
    return shared_server


def change(act: Act | None, of: int, body: str = "", sender: str = "ann", mentions: tuple[str, ...] = ()) -> Draft:
    return Draft("a", sender, body, of=of, act=act, mentions=mentions)


async def folded(backend: Backend) -> Sequence[Message]:
    return (await backend.read("a", after=0, limit=10_000, folded=True)).messages


# How it is stored


def test_an_entry_holds_only_the_parts_that_it_needs(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append(
                [
                    Draft("a", "ann", "1"),
                    Draft("a", "ann", "@bob", mentions=("bob",)),
                    change(None, 1, "reply"),
                    change(Act.EDIT, 1, "uno"),
                ]
            )
            await backend.redact("a", 3)
            await backend.redact("a", 2)
            await backend.append([change(Act.REACT, 1, THUMB)])

    asyncio.run(go())
    entries = server.ask("--raw", "XRANGE", LOG, "-", "+").splitlines()
    assert [entry for entry in entries if entry.startswith("[")] == [
        '["ann","1",null,null]',
        '["ann","uno",null,null,0,1,"edit",[]]',
        f'["ann","{THUMB}",null,null,0,1,"react",[]]',
    ]
    tombstones = [line.partition(",") for line in server.ask("ZRANGE", GONE, "0", "-1").splitlines()]
    assert [(seq, rest.partition(",")[2]) for seq, _, rest in tombstones] == [
        ("[2", '"ann",null,0]'),
        ("[3", '"ann",null,0,1,null]'),
    ]


def test_messages_that_refer_to_nothing_are_stored_without_relations(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append([Draft("a", "ann", "1", key="k"), *drafts_in("a", 2)])
            assert numbers_of(await folded(backend)) == [1, 2]

    asyncio.run(go())
    assert sorted(server.ask("KEYS", "*").split()) == sorted([META, LOG, KEYS])


@pytest.mark.parametrize("number", [0, 9, 10, 99, 100, 123_456, 10**17])
def test_numbers_are_in_the_order_of_their_bytes(number: int) -> None:
    assert encode_number(number) < encode_number(number + 1) < encode_number(number * 10 + 7)
    assert decode_number(b"m" + encode_number(number) + b"rest", 1) == (number, len(str(number)) + 2)


def test_nothing_remains_of_what_referred_to_dropped_and_redacted_messages(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append([Draft("a", "ann", "@bob", mentions=("bob",)) for _ in range(3)])
            await backend.append([change(act, 1, body) for act, body in ((Act.REACT, THUMB), (Act.PIN, ""))])
            await backend.append([change(None, 1, "reply"), change(Act.EDIT, 1, "@cat", mentions=("cat", "dan"))])
            await backend.append([change(Act.REACT, 2, THUMB), change(Act.EDIT, 2, "two"), change(Act.PIN, 2)])
            await backend.redact("a", 2)
            await backend.trim("a", keep=0)
            assert server.ask("EXISTS", REFS) == "0"

    asyncio.run(go())


def test_a_new_log_does_not_begin_with_the_relations_of_one_that_an_older_version_deleted(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            for is_loaded in (False, True):
                await backend.append([*drafts_in("a", "one"), change(Act.PIN, 1), change(Act.REACT, 1, THUMB)])
                old = (await backend.read("a", limit=1, before=2)).messages
                server.ask("DEL", LOG, KEYS, GONE)
                server.ask("HDEL", META, "last", "dropped", "time", "redacted")
                await (backend.load(old) if is_loaded else backend.append(drafts_in("a", "new")))
                assert [message.state for message in await folded(backend)] == [None]
                await backend.delete_room("a")

    asyncio.run(go())


# Many changes


def test_a_redaction_of_many_edits_and_reactions_runs_in_steps(server: RedisServer) -> None:
    n_edits, n_reactions = 250, 1_100

    async def go() -> None:
        async with open_backend(server.url) as backend:
            server.ask("CONFIG", "SET", "rdbcompression", "no")
            await backend.append([Draft("a", "ann", "one", mentions=("bob",)), *drafts_in("a", "two")])
            await backend.append([change(Act.EDIT, 1, f"secret {n}") for n in range(n_edits)])
            await backend.append([change(Act.REACT, 1, THUMB, f"n{n}") for n in range(n_reactions)])
            assert "secret" in server.ask("DUMP", LOG)
            await backend.watch("a")
            await backend.redact("a", 1)
            notifications = await until(backend.notifications(), lambda item: item == MessageRedacted("a", n_edits + 2))
            redacted = [item.seq for item in notifications if isinstance(item, MessageRedacted)]
            assert redacted == [1, *range(3, n_edits + 3)]
            raw = (await backend.read("a", after=0, limit=10_000)).messages
            assert not [message for message in raw if "secret" in message.body]
            assert [message.act for message in raw if message.redacted] == [None, *[Act.EDIT] * n_edits]
            assert not await backend.has_reaction("a", 1, THUMB, "n7")
            assert server.ask("ZRANGEBYLEX", REFS, "[" + "A1", "[" + "A1~").split() == []
            assert "secret" not in server.ask("DUMP", LOG)

    asyncio.run(go())


def test_a_redaction_that_was_interrupted_is_completed_by_the_next(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append(drafts_in("a", "one"))
            await backend.append([change(Act.EDIT, 1, f"secret {n}") for n in range(250)])
            with monkeypatch.context() as patched:
                patched.setattr(writer, "MORE", 99)  # the first step is the last
                await backend.redact("a", 1)
            assert any(message.body for message in (await backend.read("a", after=0, limit=1_000)).messages)
            await backend.redact("a", 1)
            assert not any(message.body for message in (await backend.read("a", after=0, limit=1_000)).messages)

    asyncio.run(go())


def test_an_emoji_that_nobody_uses_any_more_loses_its_place(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append(drafts_in("a", "one"))
            await backend.append([change(Act.REACT, 1, THUMB), change(Act.REACT, 1, HEART)])
            await backend.append([change(Act.UNREACT, 1, THUMB), change(Act.REACT, 1, THUMB, "bob")])
            (message,) = await folded(backend)
            reactions = (Reaction(HEART, 1, ("ann",)), Reaction(THUMB, 1, ("bob",)))
            assert message.state == MessageState(reactions=reactions)

    asyncio.run(go())


def test_pages_among_long_rows_of_changes_are_complete(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            wanted: list[int] = []
            seq = 0
            for n_changes in (0, 1, 31, 32, 33, 64, 100, 0, 700, 2):
                await backend.append(drafts_in("a", n_changes))
                wanted.append(seq + 1)
                if n_changes:
                    await backend.append([change(Act.REACT, 1, f":n{n}:") for n in range(n_changes)])
                seq += n_changes + 1
            for start, limit in ((0, 1), (0, 3), (5, 100), (wanted[3], 4), (seq, 2)):
                page = await backend.read("a", after=start, limit=limit, folded=True)
                above = [number for number in wanted if number > start]
                assert (numbers_of(page.messages), page.complete) == (above[:limit], len(above) <= limit)
                page = await backend.read("a", before=start, limit=limit, folded=True)
                below = [number for number in wanted if number < start]
                assert (numbers_of(page.messages), page.complete) == (below[-limit:], len(below) <= limit)

    asyncio.run(go())


def test_unread_messages_behind_many_of_ones_own_are_counted(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append([Draft("a", "bot", str(n)) for n in range(2_500)])
            await backend.append([change(Act.REACT, 1, f":n{n}:") for n in range(1_200)])
            await backend.append(drafts_in("a", *range(3)))
            await backend.append(drafts_in("b", "one"))
            found = await backend.count_unread("bot", {"a": 0, "b": 0})
            assert list(found) == [RoomUnread("a", 0, 3_703, 3, 0), RoomUnread("b", 0, 1, 1, 0)]
            (few,) = await backend.count_unread("ann", {"a": 0}, limit=7)
            assert few.n_unread == 7

    asyncio.run(go())


def test_a_key_of_another_type_affects_the_unread_messages_of_no_other_room(server: RedisServer) -> None:
    server.ask("SET", "chatkit:{bad}:meta", "x")

    async def go() -> None:
        async with open_backend(server.url) as backend:
            await backend.append(drafts_in("a", "one"))
            found = await backend.count_unread("bob", {"bad": 0, "a": 0})
            assert list(found) == [RoomUnread("a", 0, 1, 1, 0)]

    asyncio.run(go())


def test_mentions_of_a_time_are_in_the_order_of_the_times(server: RedisServer) -> None:
    async def go() -> None:
        async with open_backend(server.url) as backend:
            for room in ("a", "b", "c"):
                times = {"a": (50, 10, 30), "b": (30, 30, 20), "c": (30, 40, 30)}[room]  # the clock was set back
                messages = [Message(room, "", n, t, "ann", "@bob", mentions=("bob",)) for n, t in enumerate(times, 1)]
                await backend.load(messages)
            position: MentionPosition | None = None
            found: list[tuple[int, str, int]] = []
            while page := await backend.read_mentions("bob", before=position, limit=2):
                found += [(message.time_ms, message.room, message.seq) for message in page]
                position = MentionPosition(page[-1].time_ms, page[-1].room, page[-1].seq)
            assert found == sorted(found, reverse=True)
            assert len(found) == 9

    asyncio.run(go())


# Rights, and a store without history


@pytest.mark.parametrize("missing", ["-zrem", "-zremrangebylex", "-zadd"])
def test_a_change_without_rights_is_rejected_and_changes_nothing(server: RedisServer, missing: str) -> None:
    async def go() -> None:
        async with open_backend(server.url) as owner:
            await owner.append([Draft("a", "ann", "one", mentions=("bob",)), change(Act.REACT, 1, THUMB)])
            before = await folded(owner)
            server.ask("ACL", "SETUSER", "bob", "reset", "on", ">pw", "~*", "&*", "+@all", missing)
            async with open_backend(server.url.replace("//", "//bob:pw@")) as backend:
                for draft in (change(Act.EDIT, 1, "two"), change(Act.UNREACT, 1, THUMB)):
                    with pytest.raises(StoreError):
                        await backend.append([draft])
                with pytest.raises(StoreError):
                    await backend.redact("a", 1)
            assert list(await folded(owner)) == list(before)
            assert (await owner.read("a")).head.last == 2

    asyncio.run(go())


def test_without_history_nothing_is_related_and_changes_are_delivered(server: RedisServer) -> None:
    url = server.url.replace("redis://", "redis+pubsub://")

    async def go() -> None:
        async with open_backend(url) as one, open_backend(url) as two:
            await one.watch("a")
            drafts = [
                Draft("a", "ann", "@bob", mentions=("bob",)),
                change(Act.REACT, 1, THUMB),
                change(Act.EDIT, 1, "hi @cat", mentions=("cat",)),
            ]
            receipts = await two.append(drafts)
            (item,) = await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced))
            assert isinstance(item, RoomAdvanced)
            assert list(item.messages) == [receipt.message for receipt in receipts]
            assert not await one.has_reaction("a", 1, THUMB, "ann")
            assert list(await one.read_mentions("bob")) == []
            assert list(await one.count_unread("bob", {"a": 0})) == []
            page = await one.read("a", after=0, where=Filter(pinned=True), folded=True)
            assert (list(page.messages), page.head.last) == ([], 3)

    asyncio.run(go())


# Compared with the store in memory


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_give_the_state_of_the_store_in_memory(server: RedisServer, seed: int) -> None:
    chance = random.Random(seed)

    async def go() -> None:
        async with open_backend(server.url) as backend, MemoryBackend(keep=10_000) as model:
            last = 0
            for _ in range(20):
                drafts = [random_draft(chance, last) for _ in range(chance.randint(1, 10))]
                receipts = await backend.append(drafts)
                assert numbers_of([receipt.message for receipt in receipts]) == numbers_of(
                    [receipt.message for receipt in await model.append(drafts)]
                )
                last = (await model.read("a")).head.last
                await redact_or_trim(chance, backend, model)
                await compare(chance, backend, model, last)
            raw = (await backend.read("a", after=0, limit=10_000)).messages
            shown = [seen(message) for message in await folded(backend)]
            await backend.delete_room("a")
            await backend.load(raw)
            assert [seen(message) for message in await folded(backend)] == shown

    asyncio.run(go())


def random_draft(chance: random.Random, last: int) -> Draft:
    acts: list[Act | None] = [None, None, Act.EDIT, Act.EDIT, Act.REACT, Act.REACT, Act.UNREACT, Act.PIN, Act.UNPIN]
    act = chance.choice(acts) if last else None
    of = chance.randint(max(1, last - 12), last + 3) if act or (last and chance.random() < 0.3) else None
    body = {Act.PIN: "", Act.UNPIN: "", Act.REACT: chance.choice(EMOJIS), Act.UNREACT: chance.choice(EMOJIS)}
    mentions = tuple(chance.sample(SENDERS, 2)) if act in {None, Act.EDIT} and chance.random() < 0.4 else ()
    text = body.get(act, f"text {chance.randint(0, 99)}") if act else f"text {chance.randint(0, 99)}"
    key = f"k{chance.randint(0, 30)}" if chance.random() < 0.2 else None
    return Draft("a", chance.choice(SENDERS), text, key=key, of=of, act=act, mentions=mentions)


async def redact_or_trim(chance: random.Random, backend: Backend, model: Backend) -> None:
    kept = (await model.read("a", after=0, limit=10_000, folded=True)).messages
    if kept and chance.random() < 0.3:
        seq = chance.choice(kept).seq
        assert seen(await backend.redact("a", seq)) == seen(await model.redact("a", seq))
    if chance.random() < 0.1:
        keep = chance.randint(5, 50)
        assert await backend.trim("a", keep=keep) == await model.trim("a", keep=keep)


async def compare(chance: random.Random, backend: Backend, model: Backend, last: int) -> None:
    wheres = [None, None, Filter(of=chance.randint(1, last)), Filter(pinned=True), Filter(search="text 1")]
    for where in wheres:
        after, before = chance.choice([None, chance.randint(0, last)]), chance.choice([None, chance.randint(0, last)])
        limit, is_folded = chance.choice([1, 7, 10_000]), chance.random() < 0.8
        page, wanted = [
            await store.read("a", after=after, before=before, limit=limit, where=where, folded=is_folded)
            for store in (backend, model)
        ]
        assert [seen(message) for message in page.messages] == [seen(message) for message in wanted.messages]
        assert (page.complete, page.head.first, page.head.last) == (wanted.complete, wanted.head.first, last)
    for name in SENDERS:
        found = [sorted(numbers_of(await store.read_mentions(name))) for store in (backend, model)]
        assert found[0] == found[1]
        markers, limit = {"a": chance.randint(0, last)}, chance.choice([1, 1_000])
        assert list(await backend.count_unread(name, markers, limit=limit)) == list(
            await model.count_unread(name, markers, limit=limit)
        )
        reaction = chance.randint(1, last), chance.choice(EMOJIS), name
        assert await backend.has_reaction("a", *reaction) == await model.has_reaction("a", *reaction)


def seen(message: Message) -> tuple[object, ...]:
    """Return all parts of a message but its epoch and times."""
    state = message.state
    found = state and (state.edited and state.edited.seq, state.reactions, state.n_replies, state.is_pinned)
    parts = (message.seq, message.sender, message.body, message.key, message.redacted)
    return (*parts, message.of, message.act, message.mentions, found)
