"""Rooms in PostgreSQL, for processes on many machines."""

from chatkit.backends.postgres.backend import PostgresBackend

__all__ = ["PostgresBackend"]
