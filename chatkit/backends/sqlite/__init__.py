"""The SQLite backend: rooms in one file, for the processes of one machine."""

from chatkit.backends.sqlite.backend import SqliteBackend
from chatkit.backends.sqlite.schema import Synchronous

__all__ = ["SqliteBackend", "Synchronous"]
