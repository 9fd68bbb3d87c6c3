"""Conformance: news, opening and leaving, and several backends on one store."""

# ruff: noqa: D103 - a case's name says what must hold

import asyncio

from chatkit.backends.conformance.case import (
    NEWS_S,
    Factory,
    append_together,
    case,
    holds,
    keyed,
    numbers_of,
    said,
    same,
    shared_case,
    texts,
    until,
)
from chatkit.core.backend import Backend, MessageRedacted, Notification, RoomAdvanced
from chatkit.core.model import Draft, Member, Receipt

PRESENT_TTL_S = 0.3  # long enough to be seen, short enough to wait for


@case
async def leaving_ends_the_news_and_leaving_again_does_nothing(factory: Factory) -> None:
    backend = factory()
    async with backend:
        await backend.watch("a")
        reading = asyncio.ensure_future(_drain(backend))
        appending = asyncio.ensure_future(backend.append(said("a", 1, 2)))
        await asyncio.sleep(0)
    await reading
    same(len(await appending), 2, "the append that was under way")
    await backend.__aexit__(None, None, None)


async def _drain(backend: Backend) -> None:
    async for _ in backend.notifications():
        pass


@case
async def ten_thousand_rooms_are_watched_and_unwatched(factory: Factory) -> None:
    async with factory() as backend:
        for _ in range(2):
            for n in range(10_000):
                await backend.watch(f"room{n}")
        for n in range(10_000):
            await backend.unwatch(f"room{n}")
        await backend.unwatch("never watched")
        await backend.append(said("room1", "still here"))


@shared_case
async def reopening_keeps_everything(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append([*keyed("a", *range(5)), *said("b", 1)])
        await backend.redact("a", 4)
        await backend.trim(keep=3)
        pages, rooms = [await backend.read("a"), await backend.read("b")], await backend.rooms()
    async with factory() as backend:
        same([await backend.read("a"), await backend.read("b")], pages, "the pages, the epoch among them")
        same(await backend.rooms(), rooms, "the rooms")
        again = await backend.append(keyed("a", 4, 5))
        same([(r.message.seq, r.repeat) for r in again], [(5, True), (6, False)], "keys and numbers")


@shared_case
async def a_room_trimmed_wholly_goes_on_after_reopening(factory: Factory) -> None:
    async with factory() as backend:
        await backend.append(said("a", 1, 2))
        await backend.trim(keep=0)
    async with factory() as backend:
        page = await backend.read("a")
        same((page.head.first, page.head.last), (3, 2), "the head")
        same((await backend.append(said("a", 3)))[0].message.seq, 3, "the next number")


@shared_case
async def two_backends_append_to_one_room(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await append_together([one, two])
        results = await asyncio.gather(*(backend.append(keyed("k", "same")) for backend in [one, two] * 5))
        same(sum(not receipts[0].repeat for receipts in results), 1, "how many of ten stored the same key")


@shared_case
async def keys_belong_to_their_senders_in_all_processes(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        (anns,) = await one.append([Draft("a", "ann", "one", key="k")])
        (bobs,) = await two.append([Draft("a", "bob", "two", key="k")])
        holds(not bobs.repeat, "the same key of another sender, by another process")
        (again,) = await two.append([Draft("a", "ann", "one", key="k")])
        same(again, Receipt(anns.message, repeat=True), "a repeat by another process")
        (other,) = await two.append([Draft("a", "ann", "two", key="k")])
        same(other, Receipt(anns.message, repeat=True, conflict=True), "another body by another process")
        drafts = [Draft("race", "ann", str(n % 2), key="k") for n in range(10)]
        found = await asyncio.gather(*([one, two][n % 2].append([draft]) for n, draft in enumerate(drafts)))
        winner = (await texts(one, "race"))[0]
        same([len(await texts(two, "race")), sum(not each.repeat for (each,) in found)], [1, 1], "what was stored")
        conflicts = [draft.body for draft, (each,) in zip(drafts, found, strict=True) if each.conflict]
        same(conflicts, [draft.body for draft in drafts if draft.body != winner], "conflicts of ten at once")


@shared_case
async def another_backend_that_trims_is_noticed_before_the_next_append(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(said("a", 1))
        await two.append(said("a", 2, 3))
        await two.trim(keep=0)
        same((await one.append(said("a", 4)))[0].message.seq, 4, "the number after what another trimmed")
        await two.trim(keep=0)
        await two.append(said("b", 1))
        same((await one.append(said("a", 5)))[0].message.seq, 5, "the next")
        same(await texts(two, "a"), ["5"], "the room")


@shared_case
async def news_of_another_backend_come_in_order(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.append(said("a", "before"))
        await one.watch("a")
        await one.watch("a")
        await one.watch("not yet there")
        news = one.notifications()
        for n in range(2, 40):
            await two.append([*said("a", n), *said("unwatched", n)])
        await two.append(said("not yet there", 1))
        seen = await until(news, lambda item: isinstance(item, RoomAdvanced) and item.room == "not yet there")
        if not any(isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 39 for item in seen):
            seen += await until(news, lambda item: item == RoomAdvanced("a", 39, getattr(item, "messages", ())))
        for item in seen:
            holds(isinstance(item, RoomAdvanced) and item.room != "unwatched", f"{item!r} was not asked for")
            if isinstance(item, RoomAdvanced) and item.messages:
                wanted = list(range(item.last - len(item.messages) + 1, item.last + 1))
                same(numbers_of(item.messages), wanted, "the messages that news carry")
        await two.redact("a", 5)
        await until(news, lambda item: item == MessageRedacted("a", 5))


@shared_case
async def news_come_of_what_is_trimmed_at_once(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        await one.watch("a")
        await two.append(said("a", 1, 2))
        await two.trim(keep=0)
        await until(
            one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 2
        )


@shared_case
async def an_unwatched_room_makes_no_news(factory: Factory) -> None:
    async with factory() as one, factory() as two:
        for room in ("a", "b"):
            await one.watch(room)
        await one.unwatch("a")
        await two.append([*said("a", 1), *said("b", 1)])
        seen = await until(one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "b")
        same(
            [item for item in seen if isinstance(item, RoomAdvanced) and item.room == "a"],
            [],
            "news of an unwatched room",
        )
        await one.unwatch("b")
        await one.watch("a")
        await two.append(said("a", 2))
        await until(
            one.notifications(), lambda item: isinstance(item, RoomAdvanced) and item.room == "a" and item.last == 2
        )


@shared_case
async def rooms_can_be_watched_left_and_watched_again_at_the_same_time(factory: Factory) -> None:
    rooms = [f"room{n}" for n in range(300)]
    async with factory() as one, factory() as two:
        await asyncio.gather(*(one.watch(room) for room in rooms for _ in range(2)))
        await asyncio.gather(*map(one.unwatch, rooms), *map(one.watch, rooms))
        await two.append([draft for room in rooms for draft in said(room, 1)])
        heard: set[str] = set()
        news = one.notifications()
        while len(heard) < len(rooms):
            heard |= {item.room for item in await until(news, _is_grown) if isinstance(item, RoomAdvanced)}


def _is_grown(item: Notification) -> bool:
    return isinstance(item, RoomAdvanced)


class _RemoteMembers:
    """Who is in all other processes, by what is told of them."""

    def __init__(self, backend: Backend, process: str) -> None:
        self._backend = backend
        self._process = process
        self._members: dict[str, dict[tuple[str, str], Member]] = {}

    async def look(self) -> set[tuple[str, Member]]:
        """Hear what changed; return who is there."""
        for news in await self._backend.poll_presence(self._process):
            there = {} if news.whole else self._members.get(news.process, {})
            joined = {(room, member.name): member for room, member in news.joined}
            holds(not joined.keys() & set(news.left), "nobody both came and went")
            self._members[news.process] = {
                place: member for place, member in {**there, **joined}.items() if place not in news.left
            }
        return {(room, member) for there in self._members.values() for (room, _), member in there.items()}


@shared_case
async def members_of_other_processes_are_present_until_they_fade(factory: Factory) -> None:
    bob, cat = Member("bob", 1_000), Member("cat", 2_000)
    async with factory() as one, factory() as two:
        elsewhere = _RemoteMembers(two, "p2")
        await one.announce("p1", joined=[("a", bob), ("b", bob), ("a", cat)], left=[], ttl_s=60)
        await two.announce("p2", joined=[("a", cat)], left=[], ttl_s=60)
        same(await elsewhere.look(), {("a", bob), ("b", bob), ("a", cat)}, "who is in the other process")
        same(list(await two.poll_presence("p2")), [], "what has not changed")
        await one.announce("p1", joined=[], left=[("a", cat)], ttl_s=PRESENT_TTL_S)
        same(await elsewhere.look(), {("a", bob), ("b", bob)}, "who is left")
        async with asyncio.timeout(NEWS_S):
            while await elsewhere.look():  # noqa: ASYNC110 - nothing else tells of it
                await asyncio.sleep(PRESENT_TTL_S / 10)
        await one.announce("p1", joined=[("a", cat)], left=[], ttl_s=60)
        same(await elsewhere.look(), {("a", cat)}, "who is present when it came back")


@shared_case
async def only_what_changed_is_told_of_who_is_present(factory: Factory) -> None:
    crowd = {("a", Member(f"name {n}", n)) for n in range(2_000)}
    async with factory() as one, factory() as two, factory() as three:
        elsewhere, late = _RemoteMembers(two, "p2"), _RemoteMembers(three, "p3")
        await one.announce("p1", joined=list(crowd), left=[], ttl_s=60)
        same(await elsewhere.look(), crowd, "who is there")
        for n in range(150):
            came, went = ("b", Member(f"name {n}", n)), ("a", Member(f"name {n}", n))
            again = ("a", Member("name 1999", n))
            await one.announce("p1", joined=[came, again], left=[went], ttl_s=60)
            crowd = {(room, member) for room, member in crowd if member.name != "name 1999"} - {went} | {came, again}
            if n == 0:
                (news,) = await two.poll_presence("p2")
                same((news.process, news.whole), ("p1", False), "whose, and how much")
                same(set(news.joined), {came, again}, "who came, or is there since another time")
                same(list(news.left), [("a", "name 0")], "who went")
                elsewhere = _RemoteMembers(two, "p4")
            elif n % 40 == 0:
                same(await elsewhere.look(), crowd, "who is there after a change")
        same(await elsewhere.look(), crowd, "who is there in the end")
        same(await late.look(), crowd, "who is there for one who comes late")
        await one.announce("p1", joined=[], left=[], ttl_s=60)
        same(list(await two.poll_presence("p4")), [], "what a renewal changes")
