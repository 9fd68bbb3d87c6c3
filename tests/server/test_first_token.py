"""The first token is made if nobody could use the server without it, and only once."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from raw_client import run

from chatkit.core.access import Grant, Right
from chatkit.server.app import open_app
from chatkit.server.first_token import make_first_token, make_first_token_of_store
from chatkit.server.settings import Settings


@pytest.mark.parametrize(
    ("given", "is_made"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"trust_proxies": ("127.0.0.1",)}, True),
        ({}, False),
        ({"host": "0.0.0.0", "secret": "eight-or-more"}, False),
        ({"host": "0.0.0.0", "open_grants": (Grant("*", (Right.READ,)),)}, False),
    ],
)
def test_a_first_token_is_made_if_nobody_could_use_the_server_and_only_once(
    tmp_path: Path, given: dict[str, Any], is_made: bool
) -> None:
    async def test() -> None:
        settings = Settings(backend=f"sqlite:///{tmp_path}/rooms.db", **given)
        async with open_app(settings) as app:
            hub = app.state.admission.hub
            made = await make_first_token(settings, hub)
            assert (made is not None) is is_made
            if made is not None:
                admin = hub.access.authenticate(made, "192.0.2.1", hub.now_ms())
                hub.access.check(admin, Right.ADMIN, None, hub.now_ms())
                assert admin.name == "admin"
        assert await make_first_token_of_store(settings) is None

    run(test())


def test_of_servers_that_start_at_the_same_time_one_makes_the_first_token(tmp_path: Path) -> None:
    async def test() -> None:
        settings = Settings(host="0.0.0.0", backend=f"sqlite:///{tmp_path}/rooms.db")
        made = await asyncio.gather(*(make_first_token_of_store(settings) for _ in range(4)))
        assert len([secret for secret in made if secret is not None]) == 1

    run(test())
