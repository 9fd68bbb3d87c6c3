"""Opening a PostgreSQL store: its URL, the creation of the schema, and the errors."""

import asyncio
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import stores
from postgres_backends import schema_of, sql

from chatkit.backends import open_backend
from chatkit.backends.conformance.suite import drafts_in, texts
from chatkit.backends.postgres.errors import to_chatkit_error
from chatkit.backends.urls import without_password
from chatkit.bench.local import postgres
from chatkit.bench.local.postgres import PostgresServer
from chatkit.errors import BadBackendURL, NotAStore, StoreError, StoreTooNew, Unavailable


def test_ten_backends_create_one_store_concurrently() -> None:
    url = stores.postgres()

    async def one(n: int) -> str:
        async with open_backend(url) as backend:
            (receipt,) = await backend.append(drafts_in("a", n))
            return receipt.message.epoch

    async def main() -> None:
        assert len(set(await asyncio.gather(*(one(n) for n in range(10))))) == 1
        async with open_backend(url) as backend:
            assert sorted(await texts(backend, "a")) == [str(n) for n in range(10)]

    asyncio.run(main())


def test_stores_created_concurrently_in_one_database_all_get_their_index() -> None:
    server = stores.postgres_server()

    async def main(url: str) -> None:
        await asyncio.gather(*(open_close(f"{url}?schema=s{n}") for n in range(6)))

    async def open_close(url: str) -> None:
        async with open_backend(url):
            pass

    for n in range(4):
        server.run_sql(f"CREATE DATABASE crowded{n}")
        asyncio.run(main(server.url.replace("/postgres", f"/crowded{n}")))
        found = "SELECT count(*) FROM pg_indexes WHERE indexname = 'message_trigrams'"
        assert server.run_sql(found, f"crowded{n}") == "6"


def test_an_error_of_the_server_has_one_line_and_is_unavailable_if_temporary() -> None:
    async def raised_by(raising: str) -> Exception:
        connection = await asyncpg.connect(stores.postgres_server().url)
        try:
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.execute(f"DO $$ BEGIN RAISE '%', 'why' USING {raising}; END $$")
        finally:
            await connection.close()
        return to_chatkit_error(caught.value, "the database")

    full = asyncio.run(raised_by("ERRCODE = '54000'"))  # the error of a full queue of NOTIFY
    assert isinstance(full, Unavailable)
    broken = asyncio.run(raised_by("ERRCODE = '23514', DETAIL = 'Failing row contains (a body)'"))
    assert str(broken) == "the database cannot be used: why"


def test_a_store_of_a_newer_version_is_rejected() -> None:
    url = stores.postgres()

    async def main() -> None:
        async with open_backend(url):
            pass
        sql("CREATE OR REPLACE FUNCTION {}.version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 99'", url)
        with pytest.raises(StoreTooNew, match=f"{schema_of(url)} has version 99, .* upgrade chatkit"):
            await open_backend(url).__aenter__()

    asyncio.run(main())


def test_another_programs_tables_are_rejected_and_unchanged() -> None:
    url = stores.postgres()
    sql("CREATE SCHEMA {}; CREATE TABLE {}.message (id integer)", url)

    async def main() -> None:
        with pytest.raises(NotAStore, match="another program's"):
            await open_backend(url).__aenter__()

    asyncio.run(main())
    assert sql("SELECT count(*) FROM {}.message", url) == "0"


def test_a_database_whose_encoding_is_not_utf8_is_rejected() -> None:
    server = stores.postgres_server()
    sql("CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0")

    async def main() -> None:
        with pytest.raises(StoreError, match="encoding is LATIN1, but must be UTF8"):
            await open_backend(server.url.replace("/postgres", "/narrow")).__aenter__()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (("/postgres", "/nowhere"), StoreError, "there is no such database"),
        (("chatkit@", "nobody_of_this_name:s3cret@"), StoreError, "the user or the password is not accepted"),
        (("127.0.0.1", "127.0.0.9"), Unavailable, "cannot be reached"),
        (("?schema", "?sslmode=perhaps&schema"), BadBackendURL, "sslmode"),
        (("/postgres", ":x/postgres"), BadBackendURL, "no valid host and port"),
        (("?schema", "?no_such_setting=1&schema"), StoreError, "no_such_setting"),
    ],
)
def test_the_error_names_the_fault_without_the_password(
    change: tuple[str, str], kind: type[Exception], words: str
) -> None:
    async def main() -> None:
        with pytest.raises(kind) as caught:
            await open_backend(stores.postgres().replace(*change)).__aenter__()
        assert words in str(caught.value)
        assert "s3cret" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("schema=", "at most 48 of a-z"),
        ("schema=Upper", "at most 48 of a-z"),
        ("schema=x%22y", "at most 48 of a-z"),
        (f"schema={'x' * 49}", "at most 48 of a-z"),
        ("schema=a&schema=b", "more than once"),
        ("pool=0", "whole number of at least 1"),
        ("pool=many", "whole number of at least 1"),
        ("statement_cache_size=-1", "whole number of at least 0"),
    ],
)
def test_the_error_names_the_fault_of_an_option(query: str, words: str) -> None:
    with pytest.raises(BadBackendURL, match=words):
        open_backend(f"postgresql://localhost/x?{query}")


@pytest.mark.parametrize("rest", ["/x#y", "/x?pool=0", "[/x"])
def test_the_error_of_a_malformed_url_contains_no_password(rest: str) -> None:
    with pytest.raises(BadBackendURL) as caught:
        open_backend(f"postgresql://ann:s3#c/r@t:@localhost{rest}")
    assert "s3#" not in str(caught.value)
    assert "r@t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:p:/@#@db/x?pool=1", "postgresql://ann:***@db/x?pool=1"),
        ("redis://:secret@h1:1,h2:2/0", "redis://:***@h1:1,h2:2/0"),
        ("postgresql://ann@db/x?user=y&password=z&pool=1", "postgresql://ann@db/x?user=y&password=***&pool=1"),
        ("postgresql://ann@db/x?sslpassword=z&pool=1", "postgresql://ann@db/x?sslpassword=***&pool=1"),
        ("sqlite:////var/a:b/rooms.db", "sqlite:////var/a:b/rooms.db"),
        ("postgresql://h1:1,h2:2/x", "postgresql://h1:1,h2:2/x"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_options_of_a_url_are_used() -> None:
    url = stores.postgres().replace("postgresql://", "postgres://")
    url += "&pool=1&statement_cache_size=0&application_name=some%20name&sslmode=disable"

    async def main() -> None:
        async with open_backend(url) as backend:
            await asyncio.gather(*(backend.append(drafts_in("a", n)) for n in range(10)))
            await asyncio.gather(*(backend.read("a") for _ in range(10)))
            assert int(sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'some name'")) > 1

    asyncio.run(main())


def test_the_error_names_a_missing_driver() -> None:
    code = (
        "import sys; sys.modules['asyncpg'] = None\n"
        "from chatkit.backends import open_backend\n"
        "try: open_backend('postgresql://localhost/x')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "BadBackendURL postgresql:// needs a driver: pip install 'chatkit[postgres]'\n"


def test_the_error_names_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN_FOLDER", tmp_path)
    with pytest.raises(Unavailable, match="apt-get install postgresql"):
        PostgresServer()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "redis", "rediss", "redis+cluster", "redis+pubsub"])
@pytest.mark.parametrize(
    ("rest", "char"), [("ann:fir/st@db/0", "/"), ("ann:fir?st@db/0", "?"), ("ann:fir@st@db/0", "@")]
)
def test_the_error_of_an_unescaped_password_does_not_contain_it(scheme: str, rest: str, char: str) -> None:
    with pytest.raises(BadBackendURL, match=f"'\\{char}' (is written )?as %") as caught:
        open_backend(f"{scheme}://{rest}")
    assert "fir" not in str(caught.value)
