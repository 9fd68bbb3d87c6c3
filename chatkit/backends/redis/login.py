"""How a Redis server is greeted: who logs in, and what it must be able to do."""

from typing import Self

import msgspec

from chatkit.backends.redis.connection import CONNECT_S, READ_BYTES, Address, PlainConnection, TlsConnection, Wire
from chatkit.backends.redis.router import Router
from chatkit.errors import StoreError


class Login(msgspec.Struct, frozen=True):
    """Who logs in, and how. Not shown in any message."""

    user: str | None = None
    password: str | None = None
    database: int = 0
    is_secure: bool = False

    def wire(self, address: Address) -> Wire:
        """Make a connection, not yet open."""
        make = TlsConnection if self.is_secure else PlainConnection
        return make(
            host=address.host,
            port=address.port,
            username=self.user,
            password=self.password,
            db=self.database,
            protocol=3,  # answers and news on one connection
            decode_responses=False,
            socket_timeout=None,  # a link watches over itself: to be silent is no fault
            socket_connect_timeout=CONNECT_S,
            socket_read_size=READ_BYTES,
            health_check_interval=0,
            driver_info=None,
            maint_notifications_config=None,
        )

    def stranger(self) -> Self:
        """Return the same way in, without a user."""
        return type(self)(is_secure=self.is_secure)


class ServerFeatures(msgspec.Struct, frozen=True):
    """What a server can do."""

    is_sharded: bool


async def check_server(nodes: Router) -> ServerFeatures:
    """Learn where the servers are, and what they can do. Raise `StoreError` for one that is too old, `Unavailable`."""
    await nodes.find()
    address = nodes.place.masters()[0]
    text = (await nodes.at("pages", address, ("INFO", "server"))).decode()
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    if version < (6, 2):
        raise StoreError(f"Redis at {address} is {info['redis_version']}: chatkit needs 6.2 or newer")
    if info.get("redis_mode") == "cluster" and not nodes.place.is_cluster:
        raise StoreError(f"Redis at {address} is a node of a cluster: redis+cluster:// is for those")
    return ServerFeatures(is_sharded=version >= (7, 0))


async def check_waiting(nodes: Router) -> None:
    """See whether the user may wait for replicas: behind the first message, that is stored by then, it is too late."""
    await nodes.at("pages", nodes.place.masters()[0], ("WAIT", 0, 1))
