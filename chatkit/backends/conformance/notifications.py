"""Conformance: watching rooms, and the notifications of them."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from chatkit.backends.conformance.suite import (
    Factory,
    case,
    check,
    drafts_in,
    expect,
    numbers_of,
    shared_case,
    until,
)
from chatkit.core.backend import Backend, MessageRedacted, Notification, RoomAdvanced


@case
async def closing_ends_the_notifications_and_closing_again_does_nothing(factory: Factory) -> None:
    backend = factory()
    async with backend:
        await backend.watch("a")
        reading = asyncio.ensure_future(_drain(backend))
        appending = asyncio.ensure_future(backend.append(drafts_in("a", 1, 2)))
        await asyncio.sleep(0)
    await reading
    expect(len(await appending), 2, "the receipts of the append in progress")
    await backend.__aexit__(None, None, None)


async def _drain(backend: Backend) -> None:
    async for _ in backend.notifications():
        pass


@case
async def ten_thousand_rooms_can_be_watched_and_unwatched(factory: Factory) -> None:
    async with factory() as backend:
        for action in (backend.watch, backend.watch, backend.unwatch):
            for start in range(0, 10_000, 100):  # a hundred clients at a time
                await asyncio.gather(*(action(f"room{n}") for n in range(start, start + 100)))
        await backend.unwatch("never watched")
        await backend.append(drafts_in("room1", "still here"))


@shared_case
async def notifications_of_another_backend_come_in_order(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(drafts_in("a", "before"))
        await one.watch("a")
        await one.watch("a")
        await one.watch("not yet there")
        notifications = one.notifications()
        for n in range(2, 40):
            await two.append([*drafts_in("a", n), *drafts_in("unwatched", n)])
        await two.append(drafts_in("not yet there", 1))
        seen = await until(notifications, lambda item: isinstance(item, RoomAdvanced) and item.room == "not yet there")
        if not any(isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 39 for item in seen):
            seen += await until(
                notifications, lambda item: item == RoomAdvanced("a", 39, getattr(item, "messages", ()))
            )
        for item in seen:
            check(isinstance(item, RoomAdvanced) and item.room != "unwatched", f"{item!r} is not of a watched room")
            if isinstance(item, RoomAdvanced) and item.messages:
                wanted = list(range(item.last - len(item.messages) + 1, item.last + 1))
                expect(numbers_of(item.messages), wanted, "the messages of a notification")
        await two.redact("a", 5)
        await until(notifications, lambda item: item == MessageRedacted("a", 5))


@shared_case
async def messages_that_are_trimmed_at_once_are_notified(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.watch("a")
        await two.append(drafts_in("a", 1, 2))
        await two.trim(keep=0)
        await until(
            one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 2
        )


@shared_case
async def an_unwatched_room_gets_no_notifications(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        for room in ("a", "b"):
            await one.watch(room)
        await one.unwatch("a")
        await two.append([*drafts_in("a", 1), *drafts_in("b", 1)])
        seen = await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "b")
        expect(
            [item for item in seen if isinstance(item, RoomAdvanced) and item.room == "a"],
            [],
            "the notifications of an unwatched room",
        )
        await one.unwatch("b")
        await one.watch("a")
        await two.append(drafts_in("a", 2))
        await until(
            one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 2
        )


@shared_case
async def rooms_can_be_watched_and_unwatched_concurrently(factory: Factory) -> None:
    rooms = [f"room{n}" for n in range(300)]
    async with factory() as one, factory() as two:
        await asyncio.gather(*(one.watch(room) for room in rooms for _ in range(2)))
        await asyncio.gather(*map(one.unwatch, rooms), *map(one.watch, rooms))
        await two.append([draft for room in rooms for draft in drafts_in(room, 1)])
        advanced: set[str] = set()
        notifications = one.notifications()
        while len(advanced) < len(rooms):
            advanced |= {
                item.room for item in await until(notifications, _has_advanced) if isinstance(item, RoomAdvanced)
            }


def _has_advanced(item: Notification) -> bool:
    return isinstance(item, RoomAdvanced)
