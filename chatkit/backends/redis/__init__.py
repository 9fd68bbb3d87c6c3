"""A backend that stores rooms in Redis, for processes on many machines."""

from chatkit.backends.redis.backend import RedisBackend, RedisPubSubBackend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.connection import Address, DriverConnection
from chatkit.backends.redis.login import Login
from chatkit.backends.redis.topology import ClusterServers, SentinelServer, SingleServer, Topology

__all__ = [
    "Address",
    "ClusterServers",
    "DriverConnection",
    "KeyNames",
    "Login",
    "RedisBackend",
    "RedisPubSubBackend",
    "SentinelServer",
    "SingleServer",
    "Topology",
]
