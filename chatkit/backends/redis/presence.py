"""RedisPresence: each process's members in a hash that expires with the process, and their changes in a stream.

Ten processes of ten thousand members each must not be read completely every second. A process that has read another one
before reads only the changes since then. It reads all members at first, or when it missed too many changes.
"""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple, TypeAlias

import msgspec

from chatkit.backends.flags import BOT, VERIFIED, flags_of
from chatkit.backends.redis.connection import Command, Reply, Word
from chatkit.backends.redis.router import Router, SlotCommand
from chatkit.backends.redis.scripts import Script
from chatkit.core.backend import PresenceChange, new_epoch
from chatkit.core.model import Member

MAX_CHANGES = 10_000  # kept of each process: more than happen in the seconds by which a reader may be late
CHANGES_STEP = 1_000  # announced by one script: some milliseconds, for which other calls can wait

_ANNOUNCE, _PRESENT = Script("announce"), Script("present")


_Change: TypeAlias = tuple[str, str, Member]  # '+' or '-', the room, the member


class _Keys(NamedTuple):
    life: bytes
    members: bytes
    changes: bytes


class _SeenVersion(NamedTuple):
    """The life of a process, and the number of its changes that have been read."""

    life: bytes = b""
    n_changes: int = 0


class _OwnPresence:
    """The members of one process as this backend has announced them."""

    __slots__ = ("expires_s", "members")

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        self.expires_s = -inf

    def change(self, changes: Iterable[_Change]) -> None:
        for sign, room, member in changes:
            if sign == "+":
                self.members[room, member.name] = member
            else:
                self.members.pop((room, member.name), None)


class RedisPresence:
    """The members of rooms, by process."""

    def __init__(self, router: Router, prefix: str) -> None:
        self._router = router
        self._prefix = prefix
        self._processes = f"{prefix}processes".encode()
        self._mine: dict[str, _OwnPresence] = {}
        self._seen: dict[str, dict[bytes, _SeenVersion]] = {}  # by the reading process

    def _keys(self, process: str) -> _Keys:
        base = f"{self._prefix}process:{{{process}}}"
        return _Keys(*(f"{base}:{part}".encode() for part in _Keys._fields))

    async def announce(
        self, process: str, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        """Renew a process and change its members; see `Backend.announce`."""
        mine = self._mine.setdefault(process, _OwnPresence())
        now_s = asyncio.get_running_loop().time()
        if now_s > mine.expires_s:  # it has expired in the store, as intended
            mine.members.clear()
        had_members = bool(mine.members)
        changes = [*(("-", room, member) for room, member in left), *(("+", room, member) for room, member in joined)]
        mine.change(changes)
        mine.expires_s = now_s + ttl_s
        if await self._announce(process, changes, ttl_s) and had_members:  # the store was flushed
            await self._announce(process, [("+", room, member) for (room, _), member in mine.members.items()], ttl_s)

    async def _announce(self, process: str, changes: Sequence[_Change], ttl_s: float) -> bool:
        """Announce changes. Return whether the process was unknown to the store."""
        keys = self._keys(process)
        slot = self._router.topology.slot(keys.life)
        options: list[Word] = [max(round(ttl_s * 1000), 1), new_epoch(), MAX_CHANGES]
        calls = [
            SlotCommand(slot, _ANNOUNCE(list(keys), [*options, *_words(changes[at : at + CHANGES_STEP])]))
            for at in range(0, len(changes) or 1, CHANGES_STEP)
        ]
        calls.append(SlotCommand(self._router.topology.slot(self._processes), ("SADD", self._processes, process)))
        replies = await self._router.calls("presence", calls)
        return any(replies[:-1])

    async def poll_presence(self, process: str) -> list[PresenceChange]:
        """Return the changes in all other processes; see `Backend.poll_presence`."""
        seen = self._seen.get(process, {})
        names = await self._router.call(
            "presence", self._router.topology.slot(self._processes), ("SMEMBERS", self._processes)
        )
        others = [name for name in names if name != process.encode()]
        replies = await self._router.calls(
            "presence", [self._call(name, seen.get(name) or _SeenVersion()) for name in others]
        )
        alive = {name: reply for name, reply in zip(others, replies, strict=True) if reply is not None}
        # Before anything is registered as seen: if this call failed, the next one would not return those changes again.
        await self._forget([name for name in others if name not in alive])
        self._seen[process] = {name: _SeenVersion(life, count) for name, (life, count, *_) in alive.items()}
        expired = [PresenceChange(name.decode(), whole=True) for name in seen.keys() - alive.keys()]
        changed = [name for name in alive if self._seen[process][name] != seen.get(name)]
        return expired + [_presence(name, alive[name]) for name in changed]

    def _call(self, name: bytes, seen: _SeenVersion) -> SlotCommand:
        keys = self._keys(name.decode())
        return SlotCommand(self._router.topology.slot(keys.life), _PRESENT(list(keys), [seen.life, seen.n_changes]))

    async def _forget(self, expired: Sequence[bytes]) -> None:
        """Remove expired processes from the list. A process that returns adds itself with its next call."""
        if expired:
            command: Command = ("SREM", self._processes, *expired)
            await self._router.call("presence", self._router.topology.slot(self._processes), command)


def _words(changes: Iterable[_Change]) -> Iterable[Word]:
    for sign, room, member in changes:
        # The number of leading zeros of the time is the flags: older versions read the same time.
        yield from (sign, msgspec.json.encode((room, member.name)), "0" * flags_of(member) + str(member.since_ms))


def _presence(process: bytes, reply: Reply) -> PresenceChange:
    """Decode the script's answer about a process."""
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
    flags = len(since) - len(since.lstrip(b"0") or b"0")
    return room, Member(member, int(since), flags & VERIFIED > 0, flags & BOT > 0)


_decode_name = msgspec.json.Decoder(tuple[str, str]).decode
