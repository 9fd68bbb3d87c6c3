"""Who is in which room in which process, as processes tell each other through the store. Times are the wall clock's."""

import sqlite3
import time
from collections.abc import Sequence

from chatkit.backends.sqlite_store import transaction
from chatkit.core.model import Member

_RENEW = """
    INSERT INTO process (name, expires_ms) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms
"""
_JOIN = """
    INSERT INTO member (process, room, name, since_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (process, room, name) DO UPDATE SET since_ms = excluded.since_ms
"""


def announce(
    connection: sqlite3.Connection,
    *,
    process: str,
    joined: Sequence[tuple[str, Member]],
    left: Sequence[tuple[str, Member]],
    ttl_s: float,
) -> None:
    """Renew a process, and change who is in it; see `Backend.announce`. Processes that faded are forgotten."""
    now_ms = time.time_ns() // 1_000_000
    with transaction(connection):
        connection.execute("DELETE FROM process WHERE expires_ms <= ?", [now_ms])
        connection.execute("DELETE FROM member WHERE process NOT IN (SELECT name FROM process)")
        connection.execute(_RENEW, [process, now_ms + round(ttl_s * 1000)])
        connection.executemany(
            "DELETE FROM member WHERE process = ? AND room = ? AND name = ?",
            [(process, room, member.name) for room, member in left],
        )
        connection.executemany(_JOIN, [(process, room, member.name, member.since_ms) for room, member in joined])
