"""Conformance: rooms that are deleted, and rooms that are loaded from another store."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from msgspec.structs import replace

from chatkit.backends.conformance.suite import (
    Factory,
    case,
    check,
    drafts_in,
    expect,
    keyed_drafts,
    numbers_of,
    shared_case,
    texts,
    until,
)
from chatkit.core.backend import Backend, Notification, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Gap, Head, Message
from chatkit.core.subscription import Subscription
from chatkit.errors import BadRequest, KeyConflict, NotFound


@case
async def a_deleted_room_is_like_one_never_written_to(factory: Factory) -> None:
    async with factory() as backend:
        check(not await backend.delete_room("a"), "a room that was never written to is not deleted")
        await backend.append([*keyed_drafts("a", "k", "l"), *drafts_in("a", 3), *keyed_drafts("b", "k")])
        await backend.redact("a", 1)
        old, other = (await backend.read("a")).head, await backend.read("b")
        check(await backend.delete_room("a"), "the room was deleted")
        page = await backend.read("a")
        expect((page.head.first, page.head.last, list(page.messages)), (1, 0, []), "the page of the deleted room")
        check(page.head.epoch != old.epoch, "the epoch is another")
        expect([info.room for info in await backend.rooms()], ["b"], "the rooms")
        expect(await backend.read("b"), other, "the page of another room")
        check(not await backend.delete_room("a"), "a deleted room is not deleted again")
        expect((await backend.read("a")).head, page.head, "the head after nothing was deleted")
        check(await is_missing(backend, "a", 1), "a message of the deleted room cannot be redacted")


@case
async def a_deleted_room_can_be_used_again(factory: Factory) -> None:
    async with factory() as backend:
        epochs = []
        for n in range(3):
            receipts = await backend.append([*keyed_drafts("a", "k"), *drafts_in("a", n), *drafts_in("b", n)])
            expect([receipt.repeat for receipt in receipts], [False] * 3, "a key can be used again")
            expect(numbers_of([receipt.message for receipt in receipts[:2]]), [1, 2], "the numbers begin again")
            page = await backend.read("a")
            expect(list(page.messages), [receipt.message for receipt in receipts[:2]], "the messages, with their epoch")
            epochs.append(page.head.epoch)
            expect((await backend.append(keyed_drafts("a", "k")))[0].message, receipts[0].message, "a repeat")
            expect((await backend.redact("a", 2)).epoch, page.head.epoch, "the epoch of a tombstone")
            expect({info.room: info.head for info in await backend.rooms()}["a"], page.head, "the head in the list")
            check(await backend.delete_room("a"), "the room was deleted")
        expect(len(set(epochs)), 3, "how many epochs three logs have")
        expect(await texts(backend, "b"), ["0", "1", "2"], "the other room")


@case
async def a_large_and_a_trimmed_room_can_be_deleted(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(drafts_in("a", *range(900)))
        for start in range(0, 900, 300):
            await backend.append(keyed_drafts("large", *range(start, start + 300)))
        await backend.trim("a", keep=0)
        for room in ("a", "large"):
            check(await backend.delete_room(room), f"{room} was deleted")
            expect((await backend.append(keyed_drafts(room, 5)))[0].message.seq, 1, "the first number")
            expect(await texts(backend, room), ["5"], "the room")


@case
async def a_deletion_is_notified_and_its_readers_get_a_gap(factory: Factory) -> None:
    async with factory() as backend, Hub(backend) as hub:
        await backend.append(drafts_in("a", 1, 2, 3))
        with await hub.subscribe("a", history=3) as reader, await hub.subscribe("a") as late:
            expect(await read_texts(reader, 3), ["1", "2", "3"], "the messages before")
            cursor = reader.cursor
            check(await hub.delete_room("a"), "the room was deleted")
            for each in (reader, late):
                expect(await asyncio.wait_for(each.read(), 10), (Gap(3, 1, "epoch"),), "the gap of a reader")
            await hub.publish(Draft("a", "ann", "new"))
            for each in (reader, late):
                expect(await read_texts(each, 1), ["new"], "the message after")
                expect(each.cursor.seq, 1, "the position after it")
            page = await hub.history("a", after=cursor)
            expect((page.gap, numbers_of(page.messages)), (Gap(3, 1, "epoch"), [1]), "a page after the old cursor")
            with await hub.subscribe("a", after=cursor) as resumed:
                expect(await resumed.read(), (Gap(3, 1, "epoch"),), "the gap of a reader that resumes")


@shared_case
async def a_deletion_by_another_backend_is_notified(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await two.append([*drafts_in("a", 1, 2), *drafts_in("b", 1)])
        for backend in (one, two):
            await backend.watch("a")
            await backend.watch("b")
        await one.append(keyed_drafts("a", "k"))  # so that this backend knows the end of the log
        await two.delete_room("a")
        for backend in (one, two):
            epoch = (await backend.read("a")).head.epoch
            await until(backend.notifications(), lambda item, new=epoch: is_restart(item, "a", new))  # type: ignore[misc]
        (receipt,) = await one.append(keyed_drafts("a", "k"))
        expect((receipt.repeat, receipt.message.seq), (False, 1), "the first message after a deletion by another")
        (other,) = await two.append(drafts_in("a", "next"))
        expect((other.message.seq, other.message.epoch), (2, receipt.message.epoch), "the next message")
        expect(await texts(one, "a"), ["k", "next"], "the room")


@shared_case
async def a_deletion_is_kept_after_reopening(factory: Factory) -> None:
    async with factory() as backend:
        old = (await backend.append(drafts_in("a", 1, 2)))[0].message.epoch
        await backend.delete_room("a")
        empty = (await backend.read("a")).head
    async with factory() as backend:
        expect((await backend.read("a")).head, empty, "the head")
        check(empty.epoch != old, "the epoch is another")
        expect((await backend.append(drafts_in("a", 1)))[0].message.epoch, empty.epoch, "the epoch of a message")
    async with factory() as backend:
        expect((await backend.read("a")).head, Head(empty.epoch, 1, 1), "the head after an append")


@shared_case
async def deletions_and_appends_at_the_same_time_leave_no_hole(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        for _ in range(5):
            appends = [[one, two][n % 2].append(drafts_in("a", n)) for n in range(10)]
            await asyncio.gather(*appends[:5], two.delete_room("a"), *appends[5:])
            for backend in (one, two):
                await texts(backend, "a")
                expect((await backend.read("a")).head.first, 1, "the first number")
            epochs = {message.epoch for message in (await one.read("a")).messages}
            check(epochs <= {(await one.read("a")).head.epoch}, "all messages have the log's epoch")


@case
async def loaded_messages_are_kept_as_they_were(factory: Factory) -> None:
    messages = examples(1)
    async with factory() as backend:
        await backend.append(drafts_in("b", 1))
        expect(await backend.load(messages), len(messages), "how many were loaded")
        await expect_log(backend, messages)
        expect(await backend.load(messages), 0, "how many were loaded the second time")
        expect(await backend.load(messages[2:]), 0, "how many of the last were loaded again")
        await expect_log(backend, messages)
        expect([info.room for info in await backend.rooms()], ["a", "b"], "the rooms")
        expect((await backend.rooms())[0].time_ms, messages[-1].time_ms, "the time of the newest message")
        expect(await backend.load([]), 0, "how many of no messages were loaded")
        (repeat,) = await backend.append([Draft("a", "ann", "one", key="k")])
        expect((repeat.repeat, repeat.conflict, repeat.message.seq), (True, False, 1), "a repeat of a loaded message")
        (receipt,) = await backend.append(drafts_in("a", "next"))
        expect(receipt.message.seq, len(messages) + 1, "the next number")


@case
async def loading_continues_a_log_and_refuses_a_hole(factory: Factory) -> None:
    messages = examples(1)
    async with factory() as backend:
        expect(await backend.load(messages[:2]), 2, "how many of the first part were loaded")
        for hole in (messages[3:], [*messages[:2], *messages[3:]], [messages[0], messages[2]], messages[::-1]):
            await expect_refused(backend, hole)
        await expect_refused(backend, [messages[2], replace(messages[3], room="b")])
        await expect_refused(backend, [replace(messages[2], seq=0), replace(messages[2], seq=1)])
        await expect_refused(backend, [replace(messages[2], room="far", seq=10**18)])
        await expect_log(backend, messages[:2])
        expect(await backend.load(messages[1:]), len(messages) - 2, "how many of an overlapping part were loaded")
        await expect_log(backend, messages)
        expect([info.room for info in await backend.rooms()], ["a"], "the rooms")


@case
async def an_empty_room_can_be_loaded_from_any_number_on(factory: Factory) -> None:
    messages = examples(41)
    async with factory() as backend:
        expect(await backend.load(messages), len(messages), "how many were loaded into a room never written to")
        await expect_log(backend, messages)
        expect((await backend.append(drafts_in("a", "x")))[0].message.seq, 41 + len(messages), "the next number")
        await backend.append(drafts_in("b", 1, 2, 3))
        await backend.trim("b", keep=0)
        expect(
            await backend.load([replace(m, room="b") for m in messages]), len(messages), "how many into an emptied one"
        )
        expect((await backend.read("b")).head.first, 41, "the first number")
        await backend.delete_room("a")
        epoch = (await backend.read("a")).head.epoch
        expect(await backend.load(messages[1:]), len(messages) - 1, "how many into a deleted room")
        await expect_log(backend, messages[1:])
        expect((await backend.read("a")).head.epoch, epoch, "the epoch, which loading does not change")


@case
async def loading_a_key_that_is_in_use_is_a_conflict(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([Draft("a", "ann", "one", key="k")])
        template = Message("a", "", 2, 1_700_000_000_000, "bob", "two", key="k")
        try:
            await backend.load([template, replace(template, seq=3, sender="ann")])
        except KeyConflict:
            pass
        else:
            raise AssertionError("a second message of a sender with the same key was loaded")
        expect(await texts(backend, "a"), ["one"], "the room")
        expect(await backend.load([template]), 1, "how many with the same key of another sender were loaded")


@shared_case
async def loading_is_notified(factory: Factory) -> None:
    messages = examples(1)
    async with factory() as one, factory() as two:
        for backend in (one, two):
            await backend.watch("a")
        await one.append(drafts_in("b", 1))
        for part, last in ((messages[:2], 2), (messages, len(messages))):
            await two.load(part)
            for backend in (one, two):
                await until(
                    backend.notifications(),
                    lambda item, to=last: isinstance(item, RoomAdvanced) and item.last >= to,  # type: ignore[misc]
                )
        (receipt,) = await one.append(drafts_in("a", "next"))
        expect(receipt.message.seq, len(messages) + 1, "the next number of another backend")


@case
async def readers_get_loaded_messages(factory: Factory) -> None:
    messages = examples(1)
    async with factory() as backend, Hub(backend) as hub:
        with await hub.subscribe("a") as reader:
            expect(await hub.load(messages), len(messages), "how many were loaded")
            wanted = [message.body for message in messages]
            expect(await read_texts(reader, len(messages)), wanted, "the messages of a live reader")


@case
async def verified_and_bot_are_kept(factory: Factory) -> None:
    marks = [(False, False), (True, False), (False, True), (True, True)]
    drafts = [
        Draft("a", "ann", f"{n}", {"n": n} if n % 2 else None, f"k{n}" if n > 3 else None, verified=verified, bot=bot)
        for n, (verified, bot) in enumerate(marks * 2)
    ]
    async with factory() as backend:
        receipts = await backend.append(drafts)
        found = [(receipt.message.verified, receipt.message.bot) for receipt in receipts]
        expect(found, marks * 2, "the marks in the receipts")
        page = await backend.read("a")
        expect(list(page.messages), [receipt.message for receipt in receipts], "the messages read")
        again = await backend.append([replace(drafts[7], verified=False, bot=False)])
        expect((again[0].message, again[0].conflict), (receipts[7].message, False), "a repeat keeps the stored marks")
        for seq in range(1, 9):
            tombstone = await backend.redact("a", seq)
            expect((tombstone.verified, tombstone.bot), (marks * 2)[seq - 1], "the marks of a tombstone")
            expect((await backend.redact("a", seq)), tombstone, "the same tombstone again")
        page = await backend.read("a", after=0)
        expect([(m.verified, m.bot) for m in page.messages], marks * 2, "the marks after the redactions")


@shared_case
async def verified_and_bot_are_notified_and_kept_after_reopening(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.watch("a")
        await two.append([Draft("a", "ann", "1", verified=True), Draft("a", "bob", "2", bot=True)])
        (*_, last) = await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.last == 2)
        if isinstance(last, RoomAdvanced):
            check(all(m.verified or m.bot for m in last.messages), "the messages that are notified have their marks")
    async with factory() as backend:
        found = [(message.verified, message.bot) for message in (await backend.read("a")).messages]
        expect(found, [(True, False), (False, True)], "the marks after reopening")


def examples(first: int) -> list[Message]:
    """Make messages of another store, of which `first` is the number of the first."""
    common = {"room": "a", "epoch": "elsewhere", "time_ms": 1_600_000_000_000}
    kinds: list[dict[str, object]] = [
        {"sender": "ann", "body": "one", "key": "k"},
        {"sender": "bob", "body": "two ü \0", "key": "k", "data": {"n": [1, None]}, "verified": True},
        {"sender": "ann", "body": "", "key": "l", "redacted": True, "bot": True},
        {"sender": "ann", "body": "", "data": [], "verified": True, "bot": True},
        {"sender": "Ünï '\"", "body": "five", "time_ms": 1_500_000_000_000},
    ]
    return [Message(**{**common, "seq": first + n, **kind}) for n, kind in enumerate(kinds)]  # type: ignore[arg-type]


async def expect_log(backend: Backend, wanted: list[Message]) -> None:
    """Check that the log of the room `a` is exactly these messages, with the epoch of the store."""
    page = await backend.read("a", after=0)
    expect((page.head.first, page.head.last), (wanted[0].seq, wanted[-1].seq), "the first and last number")
    expect(list(page.messages), [replace(message, epoch=page.head.epoch) for message in wanted], "the messages")


async def expect_refused(backend: Backend, messages: list[Message]) -> None:
    try:
        await backend.load(messages)
    except BadRequest:
        return
    raise AssertionError(f"the messages {numbers_of(messages)} were loaded")


def is_restart(item: Notification, room: str, epoch: str) -> bool:
    return isinstance(item, RoomAdvanced) and (item.room, item.last, item.epoch) == (room, 0, epoch)


async def is_missing(backend: Backend, room: str, seq: int) -> bool:
    try:
        await backend.redact(room, seq)
    except NotFound:
        return True
    return False


async def read_texts(reader: Subscription, count: int) -> list[str]:
    """Return the bodies of the next messages of a reader."""
    found: list[str] = []
    while len(found) < count:
        items = await asyncio.wait_for(reader.read(), 10)
        found += [item.body if isinstance(item, Message) else repr(item) for item in items]
    return found
