"""Conformance: the members that other processes announce."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from chatkit.backends.conformance.suite import NOTIFICATION_TIMEOUT_S, Factory, check, expect, shared_case
from chatkit.core.backend import Backend
from chatkit.core.model import Member

PRESENT_TTL_S = 0.3  # long enough to be observed, short enough to wait for


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
            check(not joined.keys() & set(news.left), "nobody both came and went")
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
        expect(await elsewhere.look(), {("a", bob), ("b", bob), ("a", cat)}, "who is in the other process")
        expect(list(await two.poll_presence("p2")), [], "what has not changed")
        await one.announce("p1", joined=[], left=[("a", cat)], ttl_s=PRESENT_TTL_S)
        expect(await elsewhere.look(), {("a", bob), ("b", bob)}, "who is left")
        async with asyncio.timeout(NOTIFICATION_TIMEOUT_S):
            while await elsewhere.look():  # noqa: ASYNC110 - nothing else tells of it
                await asyncio.sleep(PRESENT_TTL_S / 10)
        await one.announce("p1", joined=[("a", cat)], left=[], ttl_s=60)
        expect(await elsewhere.look(), {("a", cat)}, "who is present when it came back")


@shared_case
async def only_what_changed_is_told_of_who_is_present(factory: Factory) -> None:
    crowd = {("a", Member(f"name {n}", n)) for n in range(2_000)}
    async with factory() as one, factory() as two, factory() as three:
        elsewhere, late = _RemoteMembers(two, "p2"), _RemoteMembers(three, "p3")
        await one.announce("p1", joined=list(crowd), left=[], ttl_s=60)
        expect(await elsewhere.look(), crowd, "who is there")
        for n in range(150):
            came, went = ("b", Member(f"name {n}", n)), ("a", Member(f"name {n}", n))
            again = ("a", Member("name 1999", n))
            await one.announce("p1", joined=[came, again], left=[went], ttl_s=60)
            crowd = {(room, member) for room, member in crowd if member.name != "name 1999"} - {went} | {came, again}
            if n == 0:
                (news,) = await two.poll_presence("p2")
                expect((news.process, news.whole), ("p1", False), "whose, and how much")
                expect(set(news.joined), {came, again}, "who came, or is there since another time")
                expect(list(news.left), [("a", "name 0")], "who went")
                elsewhere = _RemoteMembers(two, "p4")
            elif n % 40 == 0:
                expect(await elsewhere.look(), crowd, "who is there after a change")
        expect(await elsewhere.look(), crowd, "who is there in the end")
        expect(await late.look(), crowd, "who is there for one who comes late")
        await one.announce("p1", joined=[], left=[], ttl_s=60)
        expect(list(await two.poll_presence("p4")), [], "what a renewal changes")
