"""Rooms in Redis, for processes on many machines."""

from chatkit.backends.redis.backend import RedisBackend, RedisPubSubBackend
from chatkit.backends.redis.codec import KeyNames
from chatkit.backends.redis.connection import Address, Wire
from chatkit.backends.redis.login import Login
from chatkit.backends.redis.sentinel import SentinelServer
from chatkit.backends.redis.topology import ClusterServers, SingleServer, Topology

__all__ = [
    "Address",
    "ClusterServers",
    "KeyNames",
    "Login",
    "RedisBackend",
    "RedisPubSubBackend",
    "SentinelServer",
    "SingleServer",
    "Topology",
    "Wire",
]
