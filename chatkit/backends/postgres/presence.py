"""Who is in which room in which process, as processes tell each other through the database. Times are its clock's.

Only what changed goes over the wire: a process counts its changes, and the others ask for those they have not seen. So
ten processes of ten thousand members each are ten rows a second, while nobody comes or goes.
"""

import asyncio
import secrets
from collections.abc import Sequence

from chatkit.backends.postgres.pool import Connection
from chatkit.backends.postgres.store import Store
from chatkit.core.backend import Presence
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


class Here:
    """What one process announced, so that it can be announced again where the database no longer knows it."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(8)
        self._members: dict[Place, int] = {}
        self._fades_at_s = 0.0
        self._is_known = False
        self._lock = asyncio.Lock()  # announcements go out in the order in which they were made

    async def announce(
        self,
        connection: Connection,
        store: Store,
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
        connection: Connection,
        store: Store,
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


class _Elsewhere:
    """What is known of one other process."""

    def __init__(self, life: str) -> None:
        self.life = life
        self.version = 0
        self.members: dict[Place, int] = {}


class Others:
    """Who is in all other processes, as it was last read."""

    def __init__(self) -> None:
        self._processes: dict[str, _Elsewhere] = {}
        self._was_asked = False
        self._lock = asyncio.Lock()  # two answers must not both be taken for what follows on the same state

    async def read(self, connection: Connection, store: Store, process: str) -> Presence | None:
        """Read what changed; see `Backend.present`."""
        async with self._lock:
            known = self._processes
            rows = await connection.fetch(
                store.fill_in(_PRESENT),
                *(process, list(known)),
                *([other.life for other in known.values()], [other.version for other in known.values()]),
            )
            present: dict[str, _Elsewhere] = {}
            has_changed = not self._was_asked
            for row in rows:
                name = row["process"]
                other = present.get(name)
                if other is None:
                    other = present[name] = _Elsewhere(row["life"]) if row["is_whole"] else known[name]
                    has_changed |= row["is_whole"] or other.version != row["version"]
                    other.version = row["version"]
                _take(other.members, (row["room"], row["name"]), row["since_ms"], row["is_gone"])
            has_changed |= any(name not in present for name in known)
            self._processes, self._was_asked = present, True
            return self._presence() if has_changed else None

    def _presence(self) -> Presence:
        return Presence(
            [
                (room, Member(name, since_ms))
                for other in self._processes.values()
                for (room, name), since_ms in other.members.items()
            ]
        )


def _take(members: dict[Place, int], place: Place, since_ms: int | None, is_gone: bool | None) -> None:  # noqa: FBT001
    if since_ms is None:  # the process has no member that is new
        return
    if is_gone:
        members.pop(place, None)
    else:
        members[place] = since_ms
