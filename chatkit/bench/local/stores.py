"""The store for each store name. A store's module is imported only when it is used."""

# ruff: noqa: PLC0415 - imports inside functions are what this module is for

from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.bench.chaos.plan import StoreName
from chatkit.bench.local.store import LocalStore
from chatkit.errors import BadRequest


def local_store(name: StoreName) -> LocalStore:
    """Return a store of this type, not started yet; closing it removes it."""
    match name:
        case "sqlite":
            return LocalSqlite()
        case "redis":
            from chatkit.bench.local.redis import RedisServer

            return RedisServer()
        case "redis-cluster":
            from chatkit.bench.local.redis import RedisCluster

            return RedisCluster()
        case "postgresql":
            from chatkit.bench.local.postgres import PostgresServer

            return PostgresServer()


class LocalSqlite(LocalStore):
    """A file in a temporary folder that every server opens by itself. There is no process to kill."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="chatkit-bench-")
        self.url = f"sqlite:///{Path(self._folder.name) / 'rooms.db'}"

    def start(self) -> None:
        """Return at once, because the first server creates the file."""

    def kill(self) -> None:
        raise BadRequest("a file is not a process that can be killed")

    def pause(self) -> None:
        self.kill()

    def resume(self) -> None:
        self.kill()

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()
