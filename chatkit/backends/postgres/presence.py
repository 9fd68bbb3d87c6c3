"""Presence: the tables by which the processes on one store exchange it. Times are those of the database's clock.

Only changes are transferred: each process counts its changes, and the others ask for the changes since the version that
they know. So ten processes of ten thousand members each cost ten rows a second while no member joins or leaves.
"""

import asyncio
import secrets
from collections.abc import Sequence
from math import inf

from chatkit.backends.flags import flags_of
from chatkit.backends.postgres.connection import ConnectionPool, PostgresConnection
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.presence import PresenceRow, RemotePresence
from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member

MemberKey = tuple[str, str]  # a room, and a name in it

_ANNOUNCE = (
    "SELECT set_config('synchronous_commit', 'off', true), {schema}.announce($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
)
_PRESENT = """
    SELECT process.name AS process, process.life, process.version, known.version IS NULL AS is_whole,
        member.room, member.name, member.since_ms, member.is_gone, member.flags
    FROM {schema}.process LEFT JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS known (name, life, version)
    ON known.name = process.name AND known.life = process.life AND known.version >= process.forgotten
    LEFT JOIN {schema}.member ON member.process = process.name AND member.version > coalesce(known.version, 0)
        AND NOT (known.version IS NULL AND member.is_gone)
    WHERE process.name <> $1 AND expires > clock_timestamp()
"""


class OwnPresence:
    """What one process has announced, so that it can be announced again if the database has lost it."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(8)
        self._members: dict[MemberKey, Member] = {}
        self._expires_at_s = -inf
        self._is_stored = False
        self._lock = asyncio.Lock()  # keeps the announcements in order

    async def announce(
        self,
        connection: PostgresConnection,
        schema: PostgresSchema,
        process: str,
        *,
        joined: Sequence[tuple[str, Member]],
        left: Sequence[tuple[str, Member]],
        ttl_s: float,
    ) -> None:
        """Announce the changes; see `Backend.announce`."""
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if now_s > self._expires_at_s:  # everything that was announced has expired
                self._members, self._is_stored = {}, False
            members = self._members | {(room, member.name): member for room, member in joined}
            for room, member in left:
                members.pop((room, member.name), None)
            changes = {(room, member.name): member for room, member in joined}
            gone = [(room, member.name) for room, member in left]
            if not (
                self._is_stored
                and await self._send(connection, schema, process, joined=changes, left=gone, ttl_s=ttl_s)
            ):
                # A new life: other processes must not merge what they know of the old one with this one.
                self._life = secrets.token_hex(8)
                await self._send(connection, schema, process, joined=members, left=(), ttl_s=ttl_s, is_whole=True)
            self._members, self._is_stored, self._expires_at_s = members, True, now_s + ttl_s

    async def _send(
        self,
        connection: PostgresConnection,
        schema: PostgresSchema,
        process: str,
        *,
        joined: dict[MemberKey, Member],
        left: Sequence[MemberKey],
        ttl_s: float,
        is_whole: bool = False,
    ) -> bool:
        row = await connection.fetchrow(
            schema.fill_in(_ANNOUNCE),
            *(process, self._life, is_whole, ttl_s),
            *([room for room, _ in joined], [name for _, name in joined]),
            *([member.since_ms for member in joined.values()], [flags_of(member) for member in joined.values()]),
            *([room for room, _ in left], [name for _, name in left]),
        )
        return row is not None and bool(row["announce"])


class PresencePoller:
    """Reads the changes of all other processes, for one process."""

    def __init__(self) -> None:
        self._remote = RemotePresence()
        self._lock = asyncio.Lock()  # two polls must not start from the same known state

    async def poll(
        self, pool: ConnectionPool, schema: PostgresSchema, process: str, timeout_s: float
    ) -> list[PresenceChange]:
        """Return the changes; see `Backend.poll_presence`."""
        async with self._lock:
            known = self._remote.known
            lives, versions = [life for life, _ in known.values()], [version for _, version in known.values()]
            values = (process, list(known), lives, versions)
            statement = schema.fill_in(_PRESENT)
            rows = await pool.run(lambda connection: connection.fetch(statement, *values), timeout_s=timeout_s)
            # Updated last, when the result can no longer be lost: there is no await after this line.
            return self._remote.update([PresenceRow(*row.values()) for row in rows])
