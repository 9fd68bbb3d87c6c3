"""The PostgreSQL backend: rooms in a database, for processes on many machines."""

from chatkit.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
