"""The schema of a store in a PostgreSQL database: knowing it for ours, making it, bringing it up to date.

Knows no messages. What stands in braces in a statement, its names, is put in here.
"""

from importlib.resources import files

import asyncpg
import msgspec

from chatkit.backends.postgres.connection import PostgresConnection
from chatkit.backends.postgres.errors import DUPLICATE, state_of
from chatkit.errors import NotAStore, StoreError, StoreTooNew

MIGRATIONS = ("1.sql", "2.sql")  # script N brings a store from version N - 1 to N
CHECK_ALL = '["c"]'  # the notice on which everybody looks at every room they watch
LOCK_ID = 0x63686B74  # "chkt": among all advisory locks of a database, those of chatkit

# By the tables: to_regclass and its like may answer from a cache that does not know yet what another process has made.
_FIND = """
    SELECT current_setting('server_encoding') AS encoding, EXISTS (
        SELECT FROM pg_namespace WHERE nspname = $1
    ) AS has_schema, EXISTS (
        SELECT FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
        WHERE nspname = $1 AND proname = 'version' AND prorettype = 'integer'::regtype
    ) AS is_store, EXISTS (
        SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = $1 AND relname IN ('meta', 'room', 'message')
    ) AS has_tables
"""
_FIND_TRIGRAMS = """
    SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
    WHERE extname = 'pg_trgm'
"""
# What the index holds is what a search asks for: see pages.py.
FOLDED = """coalesce(folded, lower(body COLLATE "C"))"""


class PostgresSchema(msgspec.Struct, frozen=True):
    """A schema of the database. Its name needs no quoting but for words that SQL reserves."""

    name: str
    place: str
    make: bool = True  # where there is none yet

    @property
    def schema(self) -> str:
        """The schema's name, as it stands in statements."""
        return f'"{self.name}"'

    @property
    def channel(self) -> str:
        """Where all processes on this store notify each other. A channel's name has at most 63 bytes."""
        return f"chatkit:{self.name}"

    def fill_in(self, sql: str) -> str:
        """Put the names into a statement."""
        return sql.replace("{schema}", self.schema).replace("{channel}", self.channel)

    def has_no_epoch(self) -> NotAStore:
        """Make the error of a store whose one row about itself is missing, which its triggers prevent."""
        return NotAStore(f"{self.place}: the schema {self.name} does not say its epoch")

    async def open(self, connection: PostgresConnection) -> None:
        """Make the schema, or bring it up to date, where that is due. However many processes come: one does it."""
        if await self._version(connection) == len(MIGRATIONS):
            return
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK_ID, self.name)
            version = await self._version(connection)  # again: another process may have done it meanwhile
            if version == 0 and not self.make:
                raise NotAStore(f"{self.place}: the schema {self.name} holds no store: serving or publishing makes one")
            if version < len(MIGRATIONS):
                await self._migrate(connection, version)

    async def _version(self, connection: PostgresConnection) -> int:
        """Return the store's version, 0 where there is none yet; raise where it is not ours, or not for us."""
        found = await connection.fetchrow(_FIND, self.name)
        if found is None or found["encoding"] != "UTF8":
            encoding = "unknown" if found is None else found["encoding"]
            raise StoreError(f"{self.place}: the database's encoding is {encoding}, and has to be UTF8")
        if not found["is_store"]:
            if found["has_tables"]:
                raise NotAStore(f"{self.place}: the schema {self.name} is another program's")
            return 0
        version = int(await connection.fetchval(self.fill_in("SELECT {schema}.version()")))
        if version > len(MIGRATIONS):
            known = len(MIGRATIONS)
            raise StoreTooNew(
                f"{self.place}: the schema {self.name} is of version {version}, and this chatkit knows {known}: "
                "upgrade chatkit"
            )
        return version

    async def _migrate(self, connection: PostgresConnection, version: int) -> None:
        found = await connection.fetchrow(_FIND, self.name)
        if found is not None and not found["has_schema"]:  # to make one that exists needs the right to make one
            await connection.execute(self.fill_in("CREATE SCHEMA {schema}"))
        for script in MIGRATIONS[version:]:
            await connection.execute(self.fill_in((files(__package__) / "migrations" / script).read_text("utf-8")))
        if version == 0:
            await self._index_trigrams(connection)
        await connection.execute("SELECT pg_notify($1, $2)", self.channel, CHECK_ALL)

    async def _index_trigrams(self, connection: PostgresConnection) -> None:
        """Make the index for searches, where pg_trgm is there or may be created; without it, rooms are scanned."""
        for _ in range(2):  # a second time where another store of this database created it at this moment
            try:
                async with connection.transaction():
                    await self._try_to_index(connection)
            except asyncpg.PostgresError as error:
                if state_of(error) in DUPLICATE:
                    continue
                # Not allowed, not installed, or no schema to put it in.
                if state_of(error)[:2] not in {"42", "0A", "58", "3F"}:
                    raise
            return

    async def _try_to_index(self, connection: PostgresConnection) -> None:
        trigrams = await connection.fetchval(_FIND_TRIGRAMS)
        if trigrams is None:
            await connection.execute("CREATE EXTENSION pg_trgm")
            trigrams = await connection.fetchval(_FIND_TRIGRAMS)
        await connection.execute(
            self.fill_in("CREATE INDEX message_trigrams ON {schema}.message")
            + f" USING gin (({FOLDED}) {trigrams}.gin_trgm_ops)"
        )
