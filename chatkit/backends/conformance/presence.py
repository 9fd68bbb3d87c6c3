"""Conformance: the members that other processes announce."""

# ruff: noqa: D103 - a case's name states the requirement

import asyncio

from chatkit.backends.conformance.suite import NOTIFICATION_TIMEOUT_S, Factory, check, expect, shared_case
from chatkit.core.backend import Backend
from chatkit.core.model import Member

EXPIRY_S = 0.1  # it is waited for


class _RemoteMembers:
    """The members of all other processes, as collected from `poll_presence`."""

    def __init__(self, backend: Backend, process: str) -> None:
        self._backend = backend
        self._process = process
        self._members: dict[str, dict[tuple[str, str], Member]] = {}

    async def poll(self) -> set[tuple[str, Member]]:
        """Apply the changes; return all members with their rooms."""
        for change in await self._backend.poll_presence(self._process):
            present = {} if change.whole else self._members.get(change.process, {})
            joined = {(room, member.name): member for room, member in change.joined}
            check(not joined.keys() & set(change.left), "no member must be both in `joined` and in `left`")
            self._members[change.process] = {
                key: member for key, member in {**present, **joined}.items() if key not in change.left
            }
        return {(room, member) for present in self._members.values() for (room, _), member in present.items()}


@shared_case
async def members_of_other_processes_stay_until_they_expire(factory: Factory) -> None:
    bob, cat = Member("bob", 1_000, verified=True), Member("cat", 2_000, verified=True, bot=True)
    async with factory() as one, factory() as two:
        remote = _RemoteMembers(two, "p2")
        await one.announce("p1", joined=[("a", bob), ("b", bob), ("a", cat)], left=[], ttl_s=60)
        await two.announce("p2", joined=[("a", cat)], left=[], ttl_s=60)
        expect(await remote.poll(), {("a", bob), ("b", bob), ("a", cat)}, "the members of the other process")
        expect(list(await two.poll_presence("p2")), [], "the changes when nothing changed")
        await one.announce("p1", joined=[], left=[("a", cat)], ttl_s=60)
        expect(await remote.poll(), {("a", bob), ("b", bob)}, "the members after one left")
        await one.announce("p1", joined=[], left=[], ttl_s=EXPIRY_S)
        async with asyncio.timeout(NOTIFICATION_TIMEOUT_S):
            while await remote.poll():  # noqa: ASYNC110 - no notification exists for this
                await asyncio.sleep(EXPIRY_S / 10)
        await one.announce("p1", joined=[("a", cat)], left=[], ttl_s=60)
        expect(await remote.poll(), {("a", cat)}, "the members after the process announced again")


@shared_case
async def only_changes_of_presence_are_returned(factory: Factory) -> None:
    members = {("a", Member(f"name {n}", n)) for n in range(2_000)}
    async with factory() as one, factory() as two, factory() as three:
        remote, late = _RemoteMembers(two, "p2"), _RemoteMembers(three, "p3")
        await one.announce("p1", joined=list(members), left=[], ttl_s=60)
        expect(await remote.poll(), members, "the members")
        for n in range(150):
            joined, left = ("b", Member(f"name {n}", n)), ("a", Member(f"name {n}", n))
            again = ("a", Member("name 1999", n, verified=n % 2 > 0, bot=n % 3 > 0))
            await one.announce("p1", joined=[joined, again], left=[left], ttl_s=60)
            members = {(room, member) for room, member in members if member.name != "name 1999"} - {left} | {
                joined,
                again,
            }
            if n == 0:
                (change,) = await two.poll_presence("p2")
                expect((change.process, change.whole), ("p1", False), "the process, and whether the change is whole")
                expect(set(change.joined), {joined, again}, "the members that joined, or whose time of joining changed")
                expect(list(change.left), [("a", "name 0")], "the members that left")
                remote = _RemoteMembers(two, "p4")
            elif n % 40 == 0:
                expect(await remote.poll(), members, "the members after a change")
        expect(await remote.poll(), members, "the members in the end")
        expect(await late.poll(), members, "the members for a process that polls late")
        await one.announce("p1", joined=[], left=[], ttl_s=60)
        expect(list(await two.poll_presence("p4")), [], "the changes after a renewal")
