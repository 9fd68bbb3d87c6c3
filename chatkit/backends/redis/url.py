"""Parses a Redis URL (servers, user, database, options) and makes its backend. No message repeats a password."""

from urllib.parse import SplitResult, unquote

from chatkit.backends.redis.backend import DEFAULT_PREFIX, RedisBackend, RedisPubSubBackend
from chatkit.backends.redis.connection import Address
from chatkit.backends.redis.login import Login
from chatkit.backends.redis.topology import ClusterServers, SentinelServer, SingleServer, Topology
from chatkit.core.backend import Backend
from chatkit.errors import BadBackendURL

PORT, SENTINEL_PORT = 6379, 26379  # the default ports of Redis and its sentinels
PUBSUB_PREFIX = "chatkit-pubsub:"  # differs from that of rooms with a history: one room cannot be both
MAX_PREFIX_CHARS = 64  # it is part of every key
MAX_REPLICAS = 100


def make_redis(parts: SplitResult, options: dict[str, str]) -> Backend:
    """Make the backend of `redis://`, `rediss://`, `redis+cluster://` or `redis+sentinel://`."""
    topology, login = _servers(parts)
    replicas = options.get("wait", "0")
    if not (replicas.isascii() and replicas.isdigit() and int(replicas[:9]) <= MAX_REPLICAS):
        raise BadBackendURL(f"{parts.scheme}://?wait= must be a number of replicas, not {replicas!r}")
    return RedisBackend(topology, login, prefix=_prefix(parts, options, DEFAULT_PREFIX), replicas=int(replicas))


def make_redis_pubsub(parts: SplitResult, options: dict[str, str]) -> Backend:
    """Make the backend of `redis+pubsub://`."""
    topology, login = _servers(parts)
    return RedisPubSubBackend(topology, login, prefix=_prefix(parts, options, PUBSUB_PREFIX))


def _prefix(parts: SplitResult, options: dict[str, str], default: str) -> str:
    prefix = options.get("prefix", default)
    if not 1 <= len(prefix) <= MAX_PREFIX_CHARS or not prefix.isprintable() or set(prefix) & set("{}"):
        raise BadBackendURL(
            f"{parts.scheme}://?prefix= must be 1 to {MAX_PREFIX_CHARS} printable characters without braces, "
            f"not {prefix!r}"
        )
    return prefix


def _servers(parts: SplitResult) -> tuple[Topology, Login]:
    user, addresses = _authority(parts)
    path = [unquote(part) for part in parts.path.split("/")[1:] if part]
    kind = parts.scheme.partition("+")[2]
    service = ""
    if kind == "sentinel":
        if not path:
            raise BadBackendURL("redis+sentinel:// needs the service's name: redis+sentinel://host:26379/name")
        service = path.pop(0)
    if kind == "cluster" and path:
        raise BadBackendURL("redis+cluster:// accepts no database: a cluster has only one")
    if kind in {"", "pubsub"} and len(addresses) > 1:
        raise BadBackendURL(
            f"{parts.scheme}:// accepts one server: use redis+cluster:// or redis+sentinel:// for several"
        )
    login = Login(*user, _database(parts, path), parts.scheme == "rediss")
    match kind:
        case "cluster":
            return ClusterServers(addresses), login
        case "sentinel":
            return SentinelServer(addresses, service), login
        case _:
            return SingleServer(addresses[0]), login


def _database(parts: SplitResult, path: list[str]) -> int:
    text = path[0] if path else "0"
    if len(path) > 1 or not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise BadBackendURL(f"{parts.scheme}://…/{'/'.join(path)} is not a database: use a number, as in /0")
    return int(text)


def _authority(parts: SplitResult) -> tuple[tuple[str | None, str | None], list[Address]]:
    """Parse `user:password@host:port,host:port`."""
    login, at, servers = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    port = SENTINEL_PORT if parts.scheme == "redis+sentinel" else PORT
    addresses = [_address(parts, text, port) for text in servers.split(",")]
    credentials = (unquote(user) or None, unquote(password) or None) if at else (None, None)
    return credentials, addresses


def _address(parts: SplitResult, text: str, default_port: int) -> Address:
    host, bracket, rest = text.partition("]") if text.startswith("[") else ("", "", text)
    name, colon, port = rest.partition(":")
    if bracket and name:
        raise BadBackendURL(f"{parts.scheme}://{text} has no valid host")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise BadBackendURL(f"{parts.scheme}://{text} has no valid port")
    return Address((host[1:] if bracket else unquote(name)) or "localhost", int(port) if colon else default_port)
