"""Where rooms are: which server serves which slot. One server, one that sentinels name, or a cluster's masters."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from chatkit.backends.redis.connection import Address, Command, Reply
from chatkit.backends.redis.errors import as_ours
from chatkit.errors import ChatkitError, Unavailable

Ask: TypeAlias = Callable[[Address, Command], Awaitable[Reply]]
"""Ask the server at an address; raises `Unavailable` where there is none."""


class Topology(ABC):
    """What serves the rooms.

    `is_cluster`: rooms of different slots are never in one script. `asks_rooms_servers`: who knows where rooms are is
    one of those who serve them, and wants the same user and password.
    """

    is_cluster = False
    asks_rooms_servers = True

    @abstractmethod
    async def find(self, ask: Ask) -> None:
        """Learn anew where everything is. Raise `Unavailable`."""

    @abstractmethod
    def address(self, slot: int) -> Address:
        """Return who serves a slot, as far as is known."""

    @abstractmethod
    def masters(self) -> list[Address]:
        """Return all who serve any."""

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - a cluster's looks
        """Return a key's slot; keys of one slot can be in one script."""
        return 0


class SingleServer(Topology):
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def find(self, ask: Ask) -> None:
        """There is nothing to learn."""

    def address(self, slot: int) -> Address:  # noqa: ARG002
        """Return the one."""
        return self._address

    def masters(self) -> list[Address]:
        """Return the one."""
        return [self._address]


class ClusterServers(Topology):
    """A cluster, found by any of its nodes."""

    is_cluster = True

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = list(seeds)
        self._nodes: list[Address] = []  # all that were heard of: a replica may be all that is left
        self._by_slot: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._guides: list[Address] = []  # who answered last: a node that stands still is not waited for every time

    async def find(self, ask: Ask) -> None:
        """Ask one node after another for the map of slots."""
        fault: ChatkitError = Unavailable("no node of the Redis Cluster is known")
        for address in dict.fromkeys([*self._guides, *self.masters(), *self._nodes, *self._seeds]):
            try:
                found = await ask(address, ("CLUSTER", "SLOTS"))
            except ChatkitError as error:
                fault = error
                continue
            if isinstance(found, ResponseError):
                raise as_ours(found, str(address)) from found
            self._guides = [address]
            self._learn(address, found)
            return
        raise fault

    def _learn(self, asked: Address, found: Reply) -> None:
        self._by_slot = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._nodes = []
        for start, end, *nodes in found:
            # A node need not know its own name.
            of_slots = [Address(host.decode() if host else asked.host, port) for host, port, *_ in nodes]
            self._by_slot[start : end + 1] = of_slots[:1] * (end + 1 - start)
            self._nodes += of_slots

    def address(self, slot: int) -> Address:
        """Return the master of a slot."""
        address = self._by_slot[slot]
        if address is None:
            raise Unavailable(f"no node of the Redis Cluster serves slot {slot}")
        return address

    def masters(self) -> list[Address]:
        """Return all masters that serve slots."""
        return [address for address in dict.fromkeys(self._by_slot) if address is not None]

    def slot(self, key: bytes) -> int:
        """Return the slot of the key's hash tag."""
        return key_slot(key)
