"""Who is present, when all is quiet: each server's members, held against who is there."""

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from chatkit.client import Client

FADE_WITHIN_S = 40.0  # a killed server's members fade after 15 s; a machine that is busy may take its time
ASK_EVERY_S = 0.5


class PresenceCheck(msgspec.Struct, frozen=True):
    """How many stand although they are gone, and how many are there and do not stand; each counts once."""

    ghosts: int
    absent: int


async def census(clients: Sequence[Client], present: Mapping[str, AbstractSet[str]]) -> PresenceCheck:
    """Ask every server for every room's members, until all say what is so, or for long enough. `present` is by room."""
    deadline = asyncio.get_running_loop().time() + FADE_WITHIN_S
    while True:
        taken = await _count(clients, present)
        if taken == PresenceCheck(0, 0) or asyncio.get_running_loop().time() > deadline:
            return taken
        await asyncio.sleep(ASK_EVERY_S)


async def _count(clients: Sequence[Client], present: Mapping[str, AbstractSet[str]]) -> PresenceCheck:
    ghosts: set[tuple[str, str]] = set()
    absent: set[tuple[str, str]] = set()
    for client in clients:
        for room, names in present.items():
            listed = {member.name for member in await client.members(room)}
            ghosts |= {(room, name) for name in listed - names}
            absent |= {(room, name) for name in names - listed}
    return PresenceCheck(len(ghosts), len(absent))
