"""Presence and typing: the tables by which the processes on one store exchange them.

Times are those of the wall clock.
"""

import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chatkit.backends.flags import flags_of
from chatkit.backends.presence import PresenceRow
from chatkit.backends.sqlite.schema import transaction
from chatkit.core.model import Member

_RENEW = """
    INSERT INTO process (name, expires_ms, life, version) VALUES (:process, :expires_ms, :life, :n_changes)
    ON CONFLICT (name) DO UPDATE SET expires_ms = excluded.expires_ms, version = version + excluded.version
"""
_BOUND = "UPDATE process SET expires_ms = :latest_ms WHERE expires_ms > :latest_ms"
_JOIN = """
    INSERT INTO member (process, room, name, since_ms, version, flags) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (process, room, name)
    DO UPDATE SET since_ms = excluded.since_ms, version = excluded.version, flags = excluded.flags, is_gone = FALSE
"""
_LEAVE = "UPDATE member SET version = ?, is_gone = TRUE WHERE process = ? AND room = ? AND name = ?"
_FORGET = "DELETE FROM member WHERE process = ? AND version <= ? AND is_gone"
_PRESENT = """
    WITH alive AS (
        SELECT process.name, process.life, process.version, known.value IS NULL AS is_whole,
            coalesce(json_extract(known.value, '$[2]'), -1) AS seen
        FROM process LEFT JOIN json_each(:known) AS known ON json_extract(known.value, '$[0]') = process.name
            AND json_extract(known.value, '$[1]') = process.life
            AND json_extract(known.value, '$[2]') >= process.version - :n_kept
        WHERE process.name <> :process AND expires_ms > :now_ms
    )
    SELECT json_group_array(json_array(
        alive.name, life, alive.version, json(iif(is_whole, 'true', 'false')), room, member.name, since_ms,
        json(iif(is_gone, 'true', 'false')), flags
    )) FROM alive LEFT JOIN member
        ON member.process = alive.name AND member.version > seen AND NOT (is_whole AND is_gone)
"""
MAX_RENEWALS: Final = 4  # times the process's own ttl: no process expires later than that
_N_KEPT: Final = 100  # changes kept, some minutes; a process that has not polled for longer reads all members again
_TYPING_KEPT_MS = 5_000  # longer than a running process takes to poll

_decode_rows = msgspec.json.Decoder(list[PresenceRow]).decode


def announce(
    connection: sqlite3.Connection,
    *,
    process: str,
    joined: Sequence[tuple[str, Member]],
    left: Sequence[tuple[str, Member]],
    ttl_s: float,
) -> None:
    """Renew a process, and apply the changes of its members; see `Backend.announce`. Delete expired processes."""
    now_ms = time.time_ns() // 1_000_000
    expires_ms = now_ms + round(ttl_s * 1000)
    n_changes = 1 if joined or left else 0
    with transaction(connection):
        # A clock that ran ahead for a while wrote times far in the future: they must not keep a process alive.
        connection.execute(_BOUND, {"latest_ms": now_ms + MAX_RENEWALS * round(ttl_s * 1000)})
        expired = connection.execute("SELECT name FROM process WHERE expires_ms <= ?", [now_ms]).fetchall()
        connection.executemany("DELETE FROM member WHERE process = ?", expired)
        connection.executemany("DELETE FROM process WHERE name = ?", expired)
        values = {"process": process, "expires_ms": expires_ms, "life": secrets.token_hex(8), "n_changes": n_changes}
        connection.execute(_RENEW, values)
        (version,) = connection.execute("SELECT version FROM process WHERE name = ?", [process]).fetchone()
        connection.executemany(_LEAVE, [(version, process, room, member.name) for room, member in left])
        members = [(process, room, member.name, member.since_ms, version, flags_of(member)) for room, member in joined]
        connection.executemany(_JOIN, members)
        connection.execute(_FORGET, [process, version - _N_KEPT])


def read_presence(
    connection: sqlite3.Connection, process: str, known: Mapping[str, tuple[str, int]], now_ms: int
) -> list[PresenceRow]:
    """Return the changes in all other processes that are alive, since the versions in `known`."""
    known_states = msgspec.json.encode([(name, *state) for name, state in known.items()]).decode()
    values = {"process": process, "known": known_states, "n_kept": _N_KEPT, "now_ms": now_ms}
    (found,) = connection.execute(_PRESENT, values).fetchone()
    return _decode_rows(found)


def insert_typing(connection: sqlite3.Connection, *, process: str, room: str, sender: str) -> None:
    """Insert a typing notification for the other processes, and delete those that all of them have read."""
    now_ms = time.time_ns() // 1_000_000
    with transaction(connection):
        span_ms = [now_ms - _TYPING_KEPT_MS, now_ms + _TYPING_KEPT_MS]  # later times are of a clock that ran ahead
        connection.execute("DELETE FROM typing WHERE time_ms NOT BETWEEN ? AND ?", span_ms)
        connection.execute(
            "INSERT INTO typing (process, room, sender, time_ms) VALUES (?, ?, ?, ?)", [process, room, sender, now_ms]
        )
