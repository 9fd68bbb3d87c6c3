"""Conformance: rooms that are renamed."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from msgspec.structs import replace

from chatkit.backends.conformance.administration import is_missing, is_restart, read_texts
from chatkit.backends.conformance.suite import (
    Factory,
    case,
    check,
    drafts_in,
    expect,
    keyed_drafts,
    shared_case,
    texts,
    until,
)
from chatkit.core.backend import Backend, Notification, RoomAdvanced
from chatkit.core.hub import Hub
from chatkit.core.model import Draft, Message
from chatkit.errors import BadRequest


@case
async def a_renamed_room_keeps_its_log(factory: Factory) -> None:
    async with factory() as backend:
        check(not await backend.rename_room("a", "b"), "a room that was never written to is not renamed")
        expect(await backend.rooms(), [], "the rooms before")
        await backend.append([*keyed_drafts("a", "k", "l"), *drafts_in("a", 3), *drafts_in("c", 1)])
        await backend.redact("a", 2)
        await backend.trim("a", keep=2)
        old, other = await backend.read("a"), await backend.read("c")
        await backend.read("b")  # a name that was read is as free as one that was not
        check(await backend.rename_room("a", "b"), "the room was renamed")
        page = await backend.read("b")
        expect(page.head, old.head, "the head")
        expect(list(page.messages), [replace(message, room="b") for message in old.messages], "the messages")
        expect([info.room for info in await backend.rooms()], ["b", "c"], "the rooms")
        expect(await backend.read("c"), other, "the page of another room")
        (repeat, new) = await backend.append([*keyed_drafts("b", "l"), *drafts_in("b", 4)])
        expect((repeat.repeat, repeat.message.seq), (True, 2), "a repeat of a message from before")
        expect((new.message.seq, new.message.epoch), (4, old.head.epoch), "the next message")
        check((await backend.redact("b", 3)).redacted, "a message from before can be redacted")
        expect(await texts(backend, "b"), ["", "", "4"], "the room at its end")


@case
async def the_old_name_of_a_room_can_be_used_again(factory: Factory) -> None:
    async with factory() as backend:
        epochs = [(await backend.append(keyed_drafts("a", "k")))[0].message.epoch]
        check(await backend.rename_room("a", "b"), "the room was renamed")
        check(not await backend.rename_room("a", "d"), "the old name has no log")
        head = (await backend.read("a")).head
        expect((head.first, head.last), (1, 0), "the head of the old name")
        check(await is_missing(backend, "a", 1), "its messages are not at the old name")
        (first,) = await backend.append(keyed_drafts("a", "k"))
        expect((first.repeat, first.message.seq), (False, 1), "the first message at the old name")
        check(await backend.delete_room("a"), "the second room was deleted")
        check(await backend.rename_room("b", "a"), "the first room got its name back")
        expect((await backend.read("a")).head.epoch, epochs[0], "its epoch, with which cursors are valid again")
        expect(await texts(backend, "a"), ["k"], "the room")
        check(first.message.epoch != epochs[0], "the second log had another epoch")
        (after,) = await backend.append(drafts_in("b", 1))
        check(after.message.epoch not in {epochs[0], first.message.epoch}, "the third log has another epoch")


@case
async def two_logs_of_one_name_never_have_the_same_epoch(factory: Factory) -> None:
    async with factory() as backend:
        logs: dict[tuple[str, str], str] = {}  # a name and an epoch, and the first message of the log that had both
        await backend.append([*drafts_in("a", 1), *drafts_in("b", 2), *drafts_in("c", 3)])
        await backend.append(drafts_in("d", 4))
        await record_logs(backend, logs)
        await backend.delete_room("a")
        for room, new in (("b", "a"), ("a", "e"), ("c", "a"), ("a", "c"), ("e", "b"), ("d", "a")):
            check(await backend.rename_room(room, new), f"{room} was renamed to {new}")
            await record_logs(backend, logs)
        await backend.delete_room("a")
        await backend.append([*drafts_in("a", 5), *drafts_in("d", 6), *drafts_in("e", 7)])
        await record_logs(backend, logs)
        (back,) = [epoch for (room, epoch), text in logs.items() if room == "d" and text == "6"]
        check(await backend.rename_room("d", "f"), "a log got a name that was never used")
        check(await backend.rename_room("f", "d"), "the log got its name back")
        expect((await backend.read("d")).head.epoch, back, "the epoch of a log that only one name had")


@case
async def a_room_is_not_renamed_to_one_that_exists(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*drafts_in("a", 1), *drafts_in("b", 2), *drafts_in("c", 3)])
        await backend.trim("c", keep=0)
        for new in ("a", "b", "c"):
            await expect_refused(backend, "a", new)
        expect([info.room for info in await backend.rooms()], ["a", "b", "c"], "the rooms")
        for room, stored in (("a", ["1"]), ("b", ["2"]), ("c", [])):
            expect(await texts(backend, room), stored, f"the room {room}")
        await backend.delete_room("b")
        check(await backend.rename_room("a", "b"), "the name of a deleted room is free")
        expect(await texts(backend, "b"), ["1"], "the renamed room")


@case
async def a_reader_of_a_renamed_room_continues_at_the_new_name(factory: Factory) -> None:
    async with factory() as backend, Hub(backend) as hub:
        await backend.append(drafts_in("a", 1, 2, 3))
        with await hub.subscribe("a", history=2) as reader, await hub.subscribe("b") as early:
            expect(await read_texts(reader, 2), ["2", "3"], "the messages before")
            cursor = reader.cursor
            check(await hub.rename_room("a", "b"), "the room was renamed")
            await hub.publish(Draft("b", "ann", "new"))
            with await hub.subscribe("b", after=cursor) as resumed:
                expect(await read_texts(resumed, 1), ["new"], "the messages after the cursor")
            seen: list[int] = []
            while not seen or seen[-1] < 4:
                seen += [item.seq for item in await asyncio.wait_for(early.read(), 10) if isinstance(item, Message)]
            expect(seen, [1, 2, 3, 4], "what a reader gets that was at the new name before")


@shared_case
async def a_renaming_by_another_backend_is_notified(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        old = (await two.append([*drafts_in("a", 1, 2), *drafts_in("c", 1)]))[0].message.epoch
        for backend in (one, two):
            await backend.watch("a")
            await backend.watch("b")
        await one.append(keyed_drafts("a", "k"))  # so that this backend knows the end of the log
        await two.rename_room("a", "b")
        for backend in (one, two):
            epoch = (await backend.read("a")).head.epoch
            seen: set[str] = set()

            def is_complete(item: Notification, new: str = epoch, seen: set[str] = seen) -> bool:
                if is_restart(item, "a", new):
                    seen.add("a")
                if isinstance(item, RoomAdvanced) and (item.room, item.last, item.epoch) == ("b", 3, old):
                    seen.add("b")
                return seen == {"a", "b"}

            await until(backend.notifications(), is_complete)
        (receipt,) = await one.append(keyed_drafts("a", "k"))
        expect((receipt.repeat, receipt.message.seq), (False, 1), "the first message at the old name")
        (receipt,) = await one.append(keyed_drafts("b", "k"))
        expect((receipt.repeat, receipt.message.seq), (True, 3), "a repeat at the new name")


@shared_case
async def a_renaming_loses_no_append_at_the_same_time(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(drafts_in("n0", "start"))
        n_appended = 1
        for n in range(5):
            appends = [[one, two][n % 2].append(drafts_in(f"n{n}", body)) for body in range(10)]
            await asyncio.gather(*appends[:5], two.rename_room(f"n{n}", f"n{n + 1}"), *appends[5:])
            n_appended += 10
        stored = [text for n in range(6) for text in await texts(one, f"n{n}")]
        expect(len(stored), n_appended, "how many messages are stored at all names")


async def expect_refused(backend: Backend, room: str, new: str) -> None:
    try:
        await backend.rename_room(room, new)
    except BadRequest:
        return
    raise AssertionError(f"{room} was renamed to {new}")


async def record_logs(backend: Backend, logs: dict[tuple[str, str], str]) -> None:
    for room in "abcdef":
        page = await backend.read(room, after=0)
        if page.messages:
            body = page.messages[0].body
            expect(logs.setdefault((room, page.head.epoch), body), body, f"whose epoch {page.head.epoch} is in {room}")
