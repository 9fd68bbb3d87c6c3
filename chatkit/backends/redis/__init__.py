"""Rooms in Redis, for processes on many machines."""

from chatkit.backends.redis.backend import RedisBackend, RedisPubSubBackend
from chatkit.backends.redis.connection import Address
from chatkit.backends.redis.login import Login

__all__ = ["Address", "Login", "RedisBackend", "RedisPubSubBackend"]
