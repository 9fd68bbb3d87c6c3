"""The PostgreSQL classes: ways to connect, and a restart of the database."""

from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import stores
from channel_backends import fresh, go_on_after_a_restart, started
from channels import run
from copied_postgres import CopiedPostgresServer
from litestar.exceptions import ImproperlyConfiguredException

from chatkit.backends import open_backend
from chatkit.errors import ChatkitError, Unavailable
from chatkit.litestar import AsyncPgChannelsBackend, ChannelsPlugin, PsycoPgChannelsBackend
from chatkit.litestar.postgres_dsn import url_of


def dsn(schema: str) -> str:
    return f"{stores.postgres_server().url}?schema={schema}"


async def check(*backends: Any) -> None:
    """Check that backends on one store receive each other's events."""
    async with started(*backends):
        for backend in backends:
            await backend.subscribe(["foo"])
        await backends[0].publish(b"something", ["foo"])
        for backend in backends:
            assert await anext(backend.stream_events()) == ("foo", b"something")


# Connecting


def test_a_dsn_or_a_connection_factory_is_required() -> None:
    with pytest.raises(ImproperlyConfiguredException, match="dsn or make_connection"):
        AsyncPgChannelsBackend()  # type: ignore[call-overload]


def test_both_classes_share_channels_on_one_database() -> None:
    name = fresh()
    run(check(AsyncPgChannelsBackend(dsn(name)), PsycoPgChannelsBackend(dsn(name))))


def test_a_channel_is_a_room_in_its_own_schema() -> None:
    async def main() -> None:
        url = stores.postgres_server().url
        backend = AsyncPgChannelsBackend(url)
        async with started(backend), open_backend(f"{url}?schema=litestar_channels") as rooms:
            await backend.publish("größe".encode(), ["ops"])
            assert [message.body for message in (await rooms.read("ops", limit=1)).messages] == ["größe"]

    run(main())


@pytest.mark.parametrize(
    "conninfo",
    [
        "host={host} port={port} user={user} dbname={database}",
        "  host = '{host}'  port={port}\nuser='{user}' dbname='{database}' connect_timeout=3 application_name='it\\'s'",
        "postgres://{user}@{host}:{port}/{database}?application_name=x",
    ],
)
def test_connection_strings_of_libpq_are_accepted(conninfo: str) -> None:
    parts = urlsplit(stores.postgres_server().url)
    filled = conninfo.format(host=parts.hostname, port=parts.port, user=parts.username, database=parts.path[1:])
    run(check(PsycoPgChannelsBackend(filled)))


@pytest.mark.parametrize(
    ("conninfo", "url"),
    [
        ("", "postgresql://?"),
        (r"password=a\'\\b host=/tmp", "postgresql://?password=a%27%5Cb&host=%2Ftmp"),
        (r"password='a \'b\' &=?' user=''", "postgresql://?password=a%20%27b%27%20%26%3D%3F&user="),
        ("host=a keepalives=1 keepalives_idle=5", "postgresql://?host=a"),
    ],
)
def test_connection_strings_are_parsed_as_libpq_parses_them(conninfo: str, url: str) -> None:
    assert url_of(conninfo) == url


@pytest.mark.parametrize("conninfo", ["host", "host=a s3cret", "password='s3cret", "mysql://s3cret@host/db", "=s3cret"])
def test_an_invalid_connection_string_is_rejected_without_repeating_it(conninfo: str) -> None:
    with pytest.raises(ImproperlyConfiguredException, match="a connection string must be") as caught:
        PsycoPgChannelsBackend(conninfo)
    assert "s3cret" not in str(caught.value)


def test_the_applications_own_connections_are_used() -> None:
    async def main() -> None:
        url = stores.postgres_server().url
        made: list[Any] = []

        async def make_connection() -> Any:
            made.append(await asyncpg.connect(url, server_settings={"search_path": "pg_catalog"}))
            return made[-1]

        await check(
            AsyncPgChannelsBackend(make_connection=make_connection),
            AsyncPgChannelsBackend(make_connection=make_connection),
        )
        assert len(made) >= 4
        assert all(connection.is_closed() for connection in made)

    run(main())


def test_failed_connections_raise_unavailable() -> None:
    async def make_connection() -> Any:
        raise OSError("nobody there")

    async def main() -> None:
        with pytest.raises(Unavailable, match="nobody there"):
            await AsyncPgChannelsBackend(make_connection=make_connection).on_startup()
        with pytest.raises(ChatkitError) as caught:
            await PsycoPgChannelsBackend("host=127.0.0.1 port=1 password=s3cret").on_startup()
        assert "s3cret" not in str(caught.value)

    run(main())


# Faults


def test_delivery_continues_after_a_restart_of_postgresql() -> None:
    with CopiedPostgresServer() as server:

        async def main() -> None:
            one, two = (ChannelsPlugin(AsyncPgChannelsBackend(server.url), channels=["foo"]) for _ in range(2))
            await go_on_after_a_restart(server, one, two)

        run(main())
