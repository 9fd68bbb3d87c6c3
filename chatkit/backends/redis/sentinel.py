"""A server that sentinels watch over: whoever they say is the master now."""

from collections.abc import Sequence

from redis.exceptions import ResponseError

from chatkit.backends.redis.connection import Address
from chatkit.backends.redis.topology import Ask, Topology
from chatkit.errors import ChatkitError, StoreError, Unavailable


class SentinelServer(Topology):
    """The master of a service. Sentinels are asked without a user: theirs are not the servers'."""

    asks_rooms_servers = False

    def __init__(self, sentinels: Sequence[Address], service: str) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._master: Address | None = None

    async def find(self, ask: Ask) -> None:
        """Ask one sentinel after another who is the master."""
        fault: ChatkitError = Unavailable("no sentinel is known")
        for address in self._sentinels:
            try:
                found = await ask(address, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
            except Unavailable as error:
                fault = error
                continue
            if isinstance(found, ResponseError):
                raise StoreError(f"{address} is no sentinel: {found}") from found
            if found is None:
                fault = StoreError(f"the sentinel {address} knows no service {self._service!r}")
                continue
            self._master = Address(found[0].decode(), int(found[1]))
            return
        raise fault

    def address(self, slot: int) -> Address:  # noqa: ARG002 - one master serves all
        """Return the master."""
        if self._master is None:
            raise Unavailable(f"the sentinels have not yet said who is the master of {self._service!r}")
        return self._master

    def masters(self) -> list[Address]:
        """Return the master."""
        return [self.address(0)]
