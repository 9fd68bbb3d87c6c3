"""From a redis URL to its backend: servers, user, database and options. No sentence here repeats a password."""

from urllib.parse import SplitResult, unquote

from chatkit.backends.redis.backend import DEFAULT_PREFIX, RedisBackend, RedisPubSubBackend
from chatkit.backends.redis.connection import Address
from chatkit.backends.redis.login import Login
from chatkit.backends.redis.sentinel import SentinelServer
from chatkit.backends.redis.topology import ClusterServers, SingleServer, Topology
from chatkit.core.backend import Backend
from chatkit.errors import BadBackendURL

PORT, SENTINEL_PORT = 6379, 26379  # what Redis and its sentinels listen at by default
PUBSUB_PREFIX = "chatkit-pubsub:"  # not that of rooms with a history: one room cannot be both
MAX_PREFIX_CHARS = 64  # it stands in every key
MAX_REPLICAS = 100


def make_redis(parts: SplitResult, options: dict[str, str]) -> Backend:
    """Make the backend of `redis://`, `rediss://`, `redis+cluster://` or `redis+sentinel://`."""
    place, login = _servers(parts)
    replicas = options.get("wait", "0")
    if not (replicas.isascii() and replicas.isdigit() and int(replicas[:9]) <= MAX_REPLICAS):
        raise BadBackendURL(f"{parts.scheme}://?wait= is a number of replicas, not {replicas!r}")
    return RedisBackend(place, login, prefix=_prefix(parts, options, DEFAULT_PREFIX), replicas=int(replicas))


def make_redis_pubsub(parts: SplitResult, options: dict[str, str]) -> Backend:
    """Make the backend of `redis+pubsub://`."""
    place, login = _servers(parts)
    return RedisPubSubBackend(place, login, prefix=_prefix(parts, options, PUBSUB_PREFIX))


def _prefix(parts: SplitResult, options: dict[str, str], default: str) -> str:
    prefix = options.get("prefix", default)
    if not 1 <= len(prefix) <= MAX_PREFIX_CHARS or not prefix.isprintable() or set(prefix) & set("{}"):
        raise BadBackendURL(
            f"{parts.scheme}://?prefix= is 1 to {MAX_PREFIX_CHARS} printable characters without braces, not {prefix!r}"
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
        raise BadBackendURL("redis+cluster:// takes no database: a cluster has but one")
    if kind in {"", "pubsub"} and len(addresses) > 1:
        raise BadBackendURL(f"{parts.scheme}:// takes one server: several are redis+cluster:// or redis+sentinel://")
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
        raise BadBackendURL(f"{parts.scheme}://…/{'/'.join(path)} is no database: it is a number, as in /0")
    return int(text)


def _authority(parts: SplitResult) -> tuple[tuple[str | None, str | None], list[Address]]:
    """Read `user:password@host:port,host:port`."""
    login, at, servers = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    port = SENTINEL_PORT if parts.scheme == "redis+sentinel" else PORT
    addresses = [_address(parts, text, port) for text in servers.split(",")]
    words = (unquote(user) or None, unquote(password) or None) if at else (None, None)
    return words, addresses


def _address(parts: SplitResult, text: str, default_port: int) -> Address:
    host, bracket, rest = text.partition("]") if text.startswith("[") else ("", "", text)
    name, colon, port = rest.partition(":")
    if bracket and name:
        raise BadBackendURL(f"{parts.scheme}://{text} has no host that can be read")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
        raise BadBackendURL(f"{parts.scheme}://{text} has no port that can be")
    return Address((host[1:] if bracket else unquote(name)) or "localhost", int(port) if colon else default_port)
