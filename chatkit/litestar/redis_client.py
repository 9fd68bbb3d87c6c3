"""From a client of redis-py's to the servers it stands for, and the way in. Sends nothing by it."""

import asyncio
from functools import partial
from typing import Any, TypeAlias

from litestar.exceptions import ImproperlyConfiguredException
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from chatkit.backends.redis import Address, ClusterServers, Login, SentinelServer, SingleServer, Topology, Wire

Client: TypeAlias = "Redis | RedisCluster"


class ClientLogin(Login, frozen=True):
    """The way in that a client's connections take: `model` is one of them, never opened, `guide` one to a sentinel."""

    model: Any = None
    guide: Any = None

    def wire(self, address: Address) -> Wire:
        """Make a connection, not yet open."""
        wire: Any = super().wire(address)
        model = self.model
        wire.credential_provider = model.credential_provider
        wire.client_name = model.client_name
        if isinstance(model, UnixDomainSocketConnection):
            wire._connect = partial(_connect_to_path, wire, model.path)  # noqa: SLF001 - a wire has no other way
        else:
            wire.socket_keepalive = model.socket_keepalive
            wire.socket_keepalive_options = model.socket_keepalive_options
        if isinstance(model, SSLConnection):
            wire.ssl_context = model.ssl_context
        made: Wire = wire
        return made

    def stranger(self) -> "ClientLogin":
        """Return the way in to those who know where the servers are."""
        return _login(self.guide)


async def _connect_to_path(wire: Any, path: str) -> None:
    wire._reader, wire._writer = await asyncio.open_unix_connection(path)  # noqa: SLF001 - as redis-py's own do


def place_of(client: Client) -> tuple[Topology, ClientLogin]:
    """Return where a client's servers are, and the way in. Raise `ImproperlyConfiguredException`."""
    if isinstance(client, RedisCluster):
        nodes = client.startup_nodes
        login = _login(nodes[0].connection_class(**nodes[0].connection_kwargs))
        return ClusterServers([Address(node.host, int(node.port)) for node in nodes]), login
    pool = client.connection_pool
    model: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    if isinstance(pool, SentinelConnectionPool):
        return _by_sentinels(pool, model)
    return SingleServer(_address_of(model)), _login(model)


def _by_sentinels(pool: SentinelConnectionPool, model: AbstractConnection) -> tuple[Topology, ClientLogin]:
    if not pool.is_master:
        raise ImproperlyConfiguredException("this Redis client is one for replicas, which take no events")
    sentinels = [sentinel.connection_pool.make_connection() for sentinel in pool.sentinel_manager.sentinels]
    place = SentinelServer([_address_of(sentinel) for sentinel in sentinels], pool.service_name)
    return place, _login(model, guide=sentinels[0])


def _address_of(model: AbstractConnection) -> Address:
    kind = type(model)
    if kind.__module__.startswith("redis.asyncio."):  # one of somebody else's does what we do not know
        if isinstance(model, UnixDomainSocketConnection):
            return Address(model.path, 0)
        if isinstance(model, Connection):
            return Address(model.host, model.port)
    raise ImproperlyConfiguredException(
        f"a Redis client with connections of {kind.__module__}.{kind.__qualname__} cannot be used: it has to be one of "
        "redis.asyncio, with its own connections"
    )


def _login(model: AbstractConnection, guide: AbstractConnection | None = None) -> ClientLogin:
    return ClientLogin(
        model.username,
        model.password,
        int(model.db or 0),
        isinstance(model, SSLConnection),
        model,
        guide,
    )
