"""The check of presence at the end of a run: each server's member lists against the connected followers."""

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from chatkit.client import Client

FADE_WITHIN_S = 40.0  # members of a killed server expire after 15 s; a busy machine may need longer
ASK_EVERY_S = 0.5


class PresenceCheck(msgspec.Struct, frozen=True):
    """How many members are listed although they left, and how many are connected but not listed. Each counts once."""

    ghosts: int
    absent: int


async def check_presence(clients: Sequence[Client], present: Mapping[str, AbstractSet[str]]) -> PresenceCheck:
    """Ask every server for every room's members until all answers are right, or until a time limit.

    `present` has the expected names by room.
    """
    deadline = asyncio.get_running_loop().time() + FADE_WITHIN_S
    while True:
        presence = await _count(clients, present)
        if presence == PresenceCheck(0, 0) or asyncio.get_running_loop().time() > deadline:
            return presence
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
