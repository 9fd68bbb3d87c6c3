"""Who is in which room in which process, and who is writing, as processes tell each other through the store.

Times are the wall clock's.
"""

import sqlite3
import time
from collections.abc import Sequence

from chatkit.backends.sqlite.store import transaction
from chatkit.core.model import Member

_RENEW = """
    INSERT INTO process (name, expires_ms) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms
"""
_JOIN = """
    INSERT INTO member (process, room, name, since_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (process, room, name) DO UPDATE SET since_ms = excluded.since_ms
"""
_TYPING_KEPT_MS = 5_000  # longer than any process that runs takes to look


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


def tell_typing(connection: sqlite3.Connection, *, process: str, room: str, sender: str) -> None:
    """Leave word for the other processes that somebody is writing, and take away what all have seen."""
    now_ms = time.time_ns() // 1_000_000
    with transaction(connection):
        connection.execute("DELETE FROM typing WHERE time_ms < ?", [now_ms - _TYPING_KEPT_MS])
        connection.execute(
            "INSERT INTO typing (process, room, sender, time_ms) VALUES (?, ?, ?, ?)", [process, room, sender, now_ms]
        )
