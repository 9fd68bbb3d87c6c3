"""Who is in which room in which process, as processes tell each other through the database. Times are its clock's.

Only what changed goes over the wire: a process counts its changes, and the others ask for those they have not seen. So
ten processes of ten thousand members each are ten rows a second, while nobody comes or goes.
"""

import asyncio
import secrets
from collections.abc import Sequence
from math import inf

from chatkit.backends.postgres.connection import ConnectionPool, PostgresConnection
from chatkit.backends.postgres.schema import PostgresSchema
from chatkit.backends.presence import PresenceRow, RemotePresence
from chatkit.core.backend import PresenceChange
from chatkit.core.model import Member

Place = tuple[str, str]  # a room, and a name in it

_ANNOUNCE = (
    "SELECT set_config('synchronous_commit', 'off', true), {schema}.announce($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)
_PRESENT = """
    SELECT process.name AS process, process.life, process.version, known.version IS NULL AS is_whole,
        member.room, member.name, member.since_ms, member.is_gone
    FROM {schema}.process LEFT JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS known (name, life, version)
    ON known.name = process.name AND known.life = process.life AND known.version >= process.forgotten
    LEFT JOIN {schema}.member ON member.process = process.name AND member.version > coalesce(known.version, 0)
        AND NOT (known.version IS NULL AND member.is_gone)
    WHERE process.name <> $1 AND expires > clock_timestamp()
"""


class OwnPresence:
    """What one process announced, so that it can be announced again where the database no longer knows it."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(8)
        self._members: dict[Place, int] = {}
        self._fades_at_s = -inf
        self._is_known = False
        self._lock = asyncio.Lock()  # announcements go out in the order in which they were made

    async def announce(
        self,
        connection: PostgresConnection,
        store: PostgresSchema,
        process: str,
        *,
        joined: Sequence[tuple[str, Member]],
        left: Sequence[tuple[str, Member]],
        ttl_s: float,
    ) -> None:
        """Tell the database; see `Backend.announce`."""
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if now_s > self._fades_at_s:  # all that was announced has faded
                self._members, self._is_known = {}, False
            members = self._members | {(room, member.name): member.since_ms for room, member in joined}
            for room, member in left:
                members.pop((room, member.name), None)
            changes = {(room, member.name): member.since_ms for room, member in joined}
            gone = [(room, member.name) for room, member in left]
            if not (
                self._is_known and await self._send(connection, store, process, joined=changes, left=gone, ttl_s=ttl_s)
            ):
                # Under another name: what others know of the last life is not to be mixed with this one.
                self._life = secrets.token_hex(8)
                await self._send(connection, store, process, joined=members, left=(), ttl_s=ttl_s, is_whole=True)
            self._members, self._is_known, self._fades_at_s = members, True, now_s + ttl_s

    async def _send(
        self,
        connection: PostgresConnection,
        store: PostgresSchema,
        process: str,
        *,
        joined: dict[Place, int],
        left: Sequence[Place],
        ttl_s: float,
        is_whole: bool = False,
    ) -> bool:
        row = await connection.fetchrow(
            store.fill_in(_ANNOUNCE),
            *(process, self._life, is_whole, ttl_s),
            *([room for room, _ in joined], [name for _, name in joined], list(joined.values())),
            *([room for room, _ in left], [name for _, name in left]),
        )
        return row is not None and bool(row["announce"])


class PresencePoller:
    """Asks what changed at all other processes."""

    def __init__(self) -> None:
        self._others = RemotePresence()
        self._lock = asyncio.Lock()  # two answers must not both be taken for what follows on the same state

    async def ask(
        self, pool: ConnectionPool, store: PostgresSchema, process: str, timeout_s: float
    ) -> list[PresenceChange]:
        """Read it; see `Backend.present`."""
        async with self._lock:
            known = self._others.known
            lives, versions = [life for life, _ in known.values()], [version for _, version in known.values()]
            values = (process, list(known), lives, versions)
            statement = store.fill_in(_PRESENT)
            rows = await pool.run(lambda connection: connection.fetch(statement, *values), timeout_s=timeout_s)
            # Only now: nothing can keep it from the caller any more.
            return self._others.update([PresenceRow(*row.values()) for row in rows])
