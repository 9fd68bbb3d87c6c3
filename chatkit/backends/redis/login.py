"""How connections log in to Redis, and which features the server must have."""

from typing import Self

import msgspec

from chatkit.backends.redis.connection import (
    CONNECT_S,
    READ_BYTES,
    Address,
    DriverConnection,
    PlainConnection,
    TlsConnection,
)
from chatkit.backends.redis.router import Router
from chatkit.errors import StoreError


class Login(msgspec.Struct, frozen=True):
    """User, password, database and transport of a connection. No message shows them."""

    user: str | None = None
    password: str | None = None
    database: int = 0
    is_secure: bool = False

    def make_connection(self, address: Address) -> DriverConnection:
        """Make a connection of the driver, not yet open."""
        make = TlsConnection if self.is_secure else PlainConnection
        return make(
            host=address.host,
            port=address.port,
            username=self.user,
            password=self.password,
            db=self.database,
            protocol=3,  # answers and push messages on one connection
            decode_responses=False,
            socket_timeout=None,  # RedisConnection detects a dead server itself: silence alone is not an error
            socket_connect_timeout=CONNECT_S,
            socket_read_size=READ_BYTES,
            health_check_interval=0,
            driver_info=None,
            maint_notifications_config=None,
        )

    def discovery_login(self) -> Self:
        """Return the login for servers that only know the topology: the same transport, without a user."""
        return type(self)(is_secure=self.is_secure)


class ServerFeatures(msgspec.Struct, frozen=True):
    """The features of a server."""

    is_sharded: bool


async def check_server(router: Router) -> ServerFeatures:
    """Discover the servers and return their features. Raise `Unavailable`, or `StoreError` for a server too old."""
    await router.discover()
    address = router.topology.masters()[0]
    text = (await router.call_at("pages", address, ("INFO", "server"))).decode()
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = tuple(int(part) for part in info["redis_version"].split(".")[:2])
    if version < (6, 2):
        raise StoreError(f"Redis at {address} is {info['redis_version']}: chatkit needs 6.2 or newer")
    if info.get("redis_mode") == "cluster" and not router.topology.is_cluster:
        raise StoreError(f"Redis at {address} is a node of a cluster: use redis+cluster://")
    return ServerFeatures(is_sharded=version >= (7, 0))


async def check_waiting(router: Router) -> None:
    """Check that the user may run WAIT. After the first append it would be too late: the message is stored by then."""
    await router.call_at("pages", router.topology.masters()[0], ("WAIT", 0, 1))
