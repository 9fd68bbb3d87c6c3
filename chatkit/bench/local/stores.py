"""Which store a name means. A store's module is imported when it is asked for, not before."""

# ruff: noqa: PLC0415 - imports inside functions are what this module is for

from pathlib import Path
from tempfile import TemporaryDirectory

from chatkit.bench.chaos.plan import StoreName
from chatkit.bench.local.store import LocalStore
from chatkit.errors import BadRequest


def own_store(name: StoreName) -> LocalStore:
    """Return a store that is to be started, and that goes when it is closed."""
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
    """A file in a temporary folder, which every server opens by itself: there is no process to kill."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="chatkit-bench-")
        self.url = f"sqlite:///{Path(self._folder.name) / 'rooms.db'}"

    def start(self) -> None:
        """Do nothing: the first server makes the file."""

    def kill(self) -> None:
        """Refuse."""
        raise BadRequest("a file is not a process that can be killed")

    def pause(self) -> None:
        """Refuse."""
        self.kill()

    def resume(self) -> None:
        """Refuse."""
        self.kill()

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()
