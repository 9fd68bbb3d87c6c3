"""PostgresSchema: the schema of a store in a database: how it is recognised, created and upgraded.

Knows nothing of messages. Statements name the schema and the channel in braces; `fill_in` replaces these names.
"""

from importlib.resources import files

import asyncpg
import msgspec

from chatkit.backends.postgres.connection import PostgresConnection
from chatkit.backends.postgres.errors import DUPLICATE, state_of
from chatkit.errors import NotAStore, StoreError, StoreTooNew

MIGRATIONS = (
    "1.sql",
    "2.sql",
    "3.sql",
    "4.sql",
    "5.sql",
    "6.sql",
    "7.sql",
    "8.sql",
)  # script N upgrades a store from version N - 1 to N
RESYNC = '["c"]'  # the payload after which each process compares all rooms that it watches
LOCK_ID = 0x63686B74  # "chkt": separates chatkit's advisory locks from others in the database

# Reads the catalog: to_regclass may answer from a cache that lacks objects which another process has just created.
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
# The expression of the index, which a search must repeat: see page_statement.py.
_FOLDED = """coalesce({table}folded, lower({table}body COLLATE "C"))"""


def folded_text(table: str = "") -> str:
    """Return the expression for the folded body of a row, of a table that a statement names so."""
    return _FOLDED.replace("{table}", table and f"{table}.")


class PostgresSchema(msgspec.Struct, frozen=True):
    """A schema of the database. Its name needs no quoting except for SQL's reserved words.

    `display_url` names the database in errors. If `make` is true, a missing store is created.
    """

    name: str
    display_url: str
    make: bool = True

    @property
    def schema(self) -> str:
        """The quoted name of the schema."""
        return f'"{self.name}"'

    @property
    def channel(self) -> str:
        """The channel on which all processes on this store notify each other. A channel's name has at most 63 bytes."""
        return f"chatkit:{self.name}"

    def fill_in(self, sql: str) -> str:
        """Return the statement with the names of the schema and the channel."""
        return sql.replace("{schema}", self.schema).replace("{channel}", self.channel)

    def missing_epoch_error(self) -> NotAStore:
        """Return the error for a store whose row of `meta` is missing, which its triggers prevent."""
        return NotAStore(f"{self.display_url}: the schema {self.name} has no epoch")

    async def open(self, connection: PostgresConnection) -> None:
        """Create or upgrade the schema if needed. Of many concurrent processes, only one does it."""
        if await self._version(connection) == len(MIGRATIONS):
            return
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOCK_ID, self.name)
            version = await self._version(connection)  # again: another process may have migrated the store
            if version == 0 and not self.make:
                raise NotAStore(
                    f"{self.display_url}: the schema {self.name} holds no store: serving or publishing creates one"
                )
            if version < len(MIGRATIONS):
                await self._migrate(connection, version)

    async def _version(self, connection: PostgresConnection) -> int:
        """Return the store's version, or 0 if the schema holds no store; raise `StoreError` if it cannot be used."""
        found = await connection.fetchrow(_FIND, self.name)
        if found is None or found["encoding"] != "UTF8":
            encoding = "unknown" if found is None else found["encoding"]
            raise StoreError(f"{self.display_url}: the database's encoding is {encoding}, but must be UTF8")
        if not found["is_store"]:
            if found["has_tables"]:
                raise NotAStore(f"{self.display_url}: the schema {self.name} is another program's")
            return 0
        version = int(await connection.fetchval(self.fill_in("SELECT {schema}.version()")))
        if version > len(MIGRATIONS):
            known = len(MIGRATIONS)
            raise StoreTooNew(
                f"{self.display_url}: the schema {self.name} has version {version}, but this chatkit supports only "
                f"{known}: upgrade chatkit"
            )
        return version

    async def _migrate(self, connection: PostgresConnection, version: int) -> None:
        found = await connection.fetchrow(_FIND, self.name)
        if found is not None and not found["has_schema"]:  # CREATE would need a permission even if the schema exists
            await connection.execute(self.fill_in("CREATE SCHEMA {schema}"))
        for script in MIGRATIONS[version:]:
            await connection.execute(self.fill_in((files(__package__) / "migrations" / script).read_text("utf-8")))
        if version == 0:
            await self._index_trigrams(connection)
        await connection.execute("SELECT pg_notify($1, $2)", self.channel, RESYNC)

    async def _index_trigrams(self, connection: PostgresConnection) -> None:
        """Create the index for searches if pg_trgm is or can be installed; without it, searches scan the room."""
        for _ in range(2):  # a second time if another store of this database has just created the extension
            try:
                async with connection.transaction():
                    await self._create_index(connection)
            except asyncpg.PostgresError as error:
                if state_of(error) in DUPLICATE:
                    continue
                # No permission, not installed, or no schema for it.
                if state_of(error)[:2] not in {"42", "0A", "58", "3F"}:
                    raise
            return

    async def _create_index(self, connection: PostgresConnection) -> None:
        trigrams = await connection.fetchval(_FIND_TRIGRAMS)
        if trigrams is None:
            await connection.execute("CREATE EXTENSION pg_trgm")
            trigrams = await connection.fetchval(_FIND_TRIGRAMS)
        await connection.execute(
            self.fill_in("CREATE INDEX message_trigrams ON {schema}.message")
            + f" USING gin (({folded_text()}) {trigrams}.gin_trgm_ops)"
        )
