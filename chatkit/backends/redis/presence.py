"""Presence: each process's members in a hash of its own that fades with it, and what changed in them in a stream.

Ten processes of ten thousand members each are not read anew every second: who has seen a process before asks for what
has changed since, and reads all of it only at first, or when it missed too much.
"""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple, TypeAlias

import msgspec

from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.router import Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import PresenceChange, new_epoch
from chatkit.core.model import Member

MAX_CHANGES = 10_000  # of a process that are kept: more than come and go in the seconds that another may be late
CHANGES_STEP = 1_000  # announced by one script: some milliseconds, which others can wait

_ANNOUNCE, _PRESENT = Script("announce"), Script("present")


_Change: TypeAlias = tuple[str, str, Member]  # '+' or '-', and who in which room


class _Keys(NamedTuple):
    life: bytes
    members: bytes
    changes: bytes


class _SeenVersion(NamedTuple):
    """How far one process's changes are known."""

    life: bytes = b""
    n_changes: int = 0


class _OwnPresence:
    """What was announced of one process by this one."""

    __slots__ = ("fades_s", "members")

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        self.fades_s = -inf

    def change(self, changes: Iterable[_Change]) -> None:
        for sign, room, member in changes:
            if sign == "+":
                self.members[room, member.name] = member
            else:
                self.members.pop((room, member.name), None)


class RedisPresence:
    """Who is present where, by process."""

    def __init__(self, nodes: Router, prefix: str) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._processes = f"{prefix}processes".encode()
        self._mine: dict[str, _OwnPresence] = {}
        self._seen: dict[str, dict[bytes, _SeenVersion]] = {}  # by the process that asks

    def _keys(self, process: str) -> _Keys:
        base = f"{self._prefix}process:{{{process}}}"
        return _Keys(*(f"{base}:{part}".encode() for part in _Keys._fields))

    async def announce(
        self, process: str, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        """Renew a process, and change who is in it; see `Backend.announce`."""
        mine = self._mine.setdefault(process, _OwnPresence())
        now_s = asyncio.get_running_loop().time()
        if now_s > mine.fades_s:  # the store has forgotten it, as it must
            mine.members.clear()
        stood = bool(mine.members)
        changes = [*(("-", room, member) for room, member in left), *(("+", room, member) for room, member in joined)]
        mine.change(changes)
        mine.fades_s = now_s + ttl_s
        if await self._tell(process, changes, ttl_s) and stood:  # the store was flushed
            await self._tell(process, [("+", room, member) for (room, _), member in mine.members.items()], ttl_s)

    async def _tell(self, process: str, changes: Sequence[_Change], ttl_s: float) -> bool:
        """Announce changes; say whether the process was not known to the store."""
        keys = self._keys(process)
        slot = self._nodes.place.slot(keys.life)
        how: list[Word] = [max(round(ttl_s * 1000), 1), new_epoch(), MAX_CHANGES]
        calls = [
            SlotCommand(slot, _ANNOUNCE(list(keys), [*how, *_words(changes[at : at + CHANGES_STEP])]))
            for at in range(0, len(changes) or 1, CHANGES_STEP)
        ]
        calls.append(SlotCommand(self._nodes.place.slot(self._processes), ("SADD", self._processes, process)))
        replies = await self._nodes.calls("presence", calls)
        return any(replies[:-1])

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        """Return what changed at all other processes; see `Backend.present`."""
        seen = self._seen.get(process, {})
        names = await self._nodes.call(
            "presence", self._nodes.place.slot(self._processes), ("SMEMBERS", self._processes)
        )
        others = [name for name in names if name != process.encode()]
        replies = await self._nodes.calls(
            "presence", [self._call(name, seen.get(name) or _SeenVersion()) for name in others]
        )
        alive = {name: reply for name, reply in zip(others, replies, strict=True) if reply is not None}
        # Before anything is taken as seen: what was, and could then not be returned, would be no news at the next call.
        await self._forget([name for name in others if name not in alive])
        self._seen[process] = {name: _SeenVersion(life, count) for name, (life, count, *_) in alive.items()}
        faded = [PresenceChange(name.decode(), whole=True) for name in seen.keys() - alive.keys()]
        changed = [name for name in alive if self._seen[process][name] != seen.get(name)]
        return faded + [_presence(name, alive[name]) for name in changed]

    def _call(self, name: bytes, seen: _SeenVersion) -> SlotCommand:
        keys = self._keys(name.decode())
        return SlotCommand(self._nodes.place.slot(keys.life), _PRESENT(list(keys), [seen.life, seen.n_changes]))

    async def _forget(self, faded: Sequence[bytes]) -> None:
        """Take processes that have faded from the list. One that comes back adds itself with its next call."""
        if faded:
            command: Command = ("SREM", self._processes, *faded)
            await self._nodes.call("presence", self._nodes.place.slot(self._processes), command)


def _words(changes: Iterable[_Change]) -> Iterable[Word]:
    for sign, room, member in changes:
        yield from (sign, msgspec.json.encode((room, member.name)), member.since_ms)


def _presence(process: bytes, reply: Reply) -> PresenceChange:
    """Read what the script answered of a process."""
    _, _, changes, *all_members = reply
    if all_members:
        fields = all_members[0]
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        return PresenceChange(process.decode(), [_decode(name, since) for name, since in pairs], whole=True)
    newest = {name: (sign, since) for _, (sign, name, _, since) in changes}
    joined = [_decode(name, since) for name, (sign, since) in newest.items() if sign == b"+"]
    return PresenceChange(process.decode(), joined, [_decode_name(name) for name in newest if newest[name][0] == b"-"])


def _decode(name: bytes, since: bytes) -> tuple[str, Member]:
    room, member = _decode_name(name)
    return room, Member(member, int(since))


_decode_name = msgspec.json.Decoder(tuple[str, str]).decode
