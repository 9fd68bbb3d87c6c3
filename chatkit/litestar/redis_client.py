"""Reads servers and login from a client of redis-py. Sends nothing through the client."""

from typing import Any, TypeAlias

from litestar.exceptions import ImproperlyConfiguredException
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool

from chatkit.backends.redis import (
    Address,
    ClusterServers,
    DriverConnection,
    Login,
    SentinelServer,
    SingleServer,
    Topology,
)

Client: TypeAlias = "Redis | RedisCluster"


class ClientLogin(Login, frozen=True):
    """The login of a client's connections.

    `model` is one of these connections, never opened; `sentinel_model` is a connection to a sentinel.
    """

    model: Any = None
    sentinel_model: Any = None

    def make_connection(self, address: Address) -> DriverConnection:
        """Make a connection of the driver, not yet open."""
        connection: Any = super().make_connection(address)
        model = self.model
        connection.credential_provider = model.credential_provider
        connection.client_name = model.client_name
        if isinstance(model, UnixDomainSocketConnection):
            connection.use_unix_socket(model.path)
        else:
            connection.socket_keepalive = model.socket_keepalive
            connection.socket_keepalive_options = model.socket_keepalive_options
        if isinstance(model, SSLConnection):
            connection.ssl_context = model.ssl_context
        made: DriverConnection = connection
        return made

    def discovery_login(self) -> "ClientLogin":
        """Return the login for the sentinels."""
        return _login(self.sentinel_model)


def topology_of(client: Client) -> tuple[Topology, ClientLogin]:
    """Return a client's servers and its login. Raise `ImproperlyConfiguredException` for an unsupported client."""
    if isinstance(client, RedisCluster):
        nodes = client.startup_nodes
        login = _login(nodes[0].connection_class(**nodes[0].connection_kwargs))
        return ClusterServers([Address(node.host, int(node.port)) for node in nodes]), login
    pool = client.connection_pool
    model: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's
    if isinstance(pool, SentinelConnectionPool):
        return _sentinel_topology(pool, model)
    return SingleServer(_address_of(model)), _login(model)


def _sentinel_topology(pool: SentinelConnectionPool, model: AbstractConnection) -> tuple[Topology, ClientLogin]:
    if not pool.is_master:
        raise ImproperlyConfiguredException("this Redis client connects to replicas, which accept no events")
    sentinels = [sentinel.connection_pool.make_connection() for sentinel in pool.sentinel_manager.sentinels]
    topology = SentinelServer([_address_of(sentinel) for sentinel in sentinels], pool.service_name)
    return topology, _login(model, sentinels[0])


def _address_of(model: AbstractConnection) -> Address:
    kind = type(model)
    if kind.__module__.startswith("redis.asyncio."):  # another class may connect in a way that is unknown here
        if isinstance(model, UnixDomainSocketConnection):
            return Address(model.path, 0)
        if isinstance(model, Connection):
            return Address(model.host, model.port)
    raise ImproperlyConfiguredException(
        f"a Redis client with connections of {kind.__module__}.{kind.__qualname__} cannot be used: it must be "
        "a client of redis.asyncio with redis-py's own connection classes"
    )


def _login(model: AbstractConnection, sentinel_model: AbstractConnection | None = None) -> ClientLogin:
    return ClientLogin(
        model.username,
        model.password,
        int(model.db or 0),
        isinstance(model, SSLConnection),
        model,
        sentinel_model,
    )
