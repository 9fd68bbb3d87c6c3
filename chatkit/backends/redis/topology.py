"""Which server serves which slot: one server, a master that Redis Sentinel names, or the masters of a cluster."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from chatkit.backends.redis.connection import Address, Command, Reply
from chatkit.backends.redis.errors import to_chatkit_error
from chatkit.errors import ChatkitError, StoreError, Unavailable

Ask: TypeAlias = Callable[[Address, Command], Awaitable[Reply]]
"""Sends a command to the server at an address. Raises `Unavailable` if no server answers there."""


class Topology(ABC):
    """The servers that store the rooms.

    `is_cluster`: rooms of different slots cannot be used in one script. `shares_login`: the servers that know the
    topology also store rooms, and expect the same user and password.
    """

    is_cluster = False
    shares_login = True

    @abstractmethod
    async def discover(self, ask: Ask) -> None:
        """Read the current addresses from the servers. Raise `Unavailable`."""

    @abstractmethod
    def address(self, slot: int) -> Address:
        """Return the server of a slot, as far as it is known."""

    @abstractmethod
    def masters(self) -> list[Address]:
        """Return all servers that serve slots."""

    def slot(self, key: bytes) -> int:  # noqa: ARG002 - only a cluster reads it
        """Return a key's slot. Keys of one slot can be used in one script."""
        return 0


class SingleServer(Topology):
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def discover(self, ask: Ask) -> None:
        """Return at once: the address is fixed."""

    def address(self, slot: int) -> Address:  # noqa: ARG002 - one server serves all slots
        """Return the server."""
        return self._address

    def masters(self) -> list[Address]:
        """Return the server."""
        return [self._address]


class ClusterServers(Topology):
    """A cluster, discovered through any of its nodes."""

    is_cluster = True

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = list(seeds)
        self._nodes: list[Address] = []  # masters and replicas: possibly only a replica is left
        self._by_slot: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._last_answered: list[Address] = []  # asked first, so that a node that hangs does not delay every discovery

    async def discover(self, ask: Ask) -> None:
        """Ask one node after another for the slot map."""
        fault: ChatkitError = Unavailable("no node of the Redis Cluster is known")
        for address in dict.fromkeys([*self._last_answered, *self.masters(), *self._nodes, *self._seeds]):
            try:
                found = await ask(address, ("CLUSTER", "SLOTS"))
            except ChatkitError as error:
                fault = error
                continue
            if isinstance(found, ResponseError):
                raise to_chatkit_error(found, str(address)) from found
            self._last_answered = [address]
            self._read_slots(address, found)
            return
        raise fault

    def _read_slots(self, asked: Address, found: Reply) -> None:
        self._by_slot = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._nodes = []
        for start, end, *nodes in found:
            # A node may not know its own host name.
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


class SentinelServer(Topology):
    """The master of a service. Sentinels are asked without a user: they have logins of their own."""

    shares_login = False

    def __init__(self, sentinels: Sequence[Address], service: str) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._master: Address | None = None

    async def discover(self, ask: Ask) -> None:
        """Ask one sentinel after another for the master's address."""
        fault: ChatkitError = Unavailable("no sentinel is known")
        for address in self._sentinels:
            try:
                found = await ask(address, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
            except Unavailable as error:
                fault = error
                continue
            if isinstance(found, ResponseError):
                raise StoreError(f"{address} is not a sentinel: {found}") from found
            if found is None:
                fault = StoreError(f"the sentinel {address} does not know the service {self._service!r}")
                continue
            self._master = Address(found[0].decode(), int(found[1]))
            return
        raise fault

    def address(self, slot: int) -> Address:  # noqa: ARG002 - one master serves all slots
        """Return the master."""
        if self._master is None:
            raise Unavailable(f"no sentinel has named the master of {self._service!r} yet")
        return self._master

    def masters(self) -> list[Address]:
        """Return the master."""
        return [self.address(0)]
