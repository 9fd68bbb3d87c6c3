"""The first token: made when a server that others can reach starts on a store that holds no token."""

import asyncio
from typing import Final

from chatkit.backends import open_backend
from chatkit.core import access_records
from chatkit.core.access import EVERYTHING, Credential, Identity
from chatkit.core.audit import SERVER_NAME
from chatkit.core.hub import Hub
from chatkit.errors import VersionConflict
from chatkit.server.settings import Settings

NAME: Final = "admin"
N_LOOKS: Final = 20  # for the token of another server, which is made in milliseconds
LOOK_INTERVAL_S: Final = 0.1
CLAIM: Final = b"{}"  # the value of the record; only its version counts


def may_need_token(settings: Settings) -> bool:
    """Return whether nobody could use a server with these settings without a token in its store."""
    return not (settings.is_open or settings.open_grants or settings.secret is not None)


async def make_first_token(settings: Settings, hub: Hub) -> str | None:
    """Make a token with every right if nobody could use the server otherwise; return its secret, which is kept nowhere.

    The token is in the store, so it is made at the first start only.
    """
    if not may_need_token(settings):
        return None
    claim = await hub.records.get_record(access_records.FIRST_TOKEN, NAME)
    # If there is a claim, another server may be making the token at this moment.
    for _ in range(1 if claim is None else N_LOOKS):
        if await hub.records.scan_records(access_records.TOKEN):
            return None
        if claim is not None:
            await asyncio.sleep(LOOK_INTERVAL_S)
    try:  # of the servers that start at the same time, only one makes the token
        await hub.records.put_record(
            access_records.FIRST_TOKEN, NAME, CLAIM, expected_version=0 if claim is None else claim.version
        )
    except VersionConflict:
        return None
    server = Identity(SERVER_NAME, is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
    return (await hub.administration.add_token(server, NAME, EVERYTHING)).secret


async def make_first_token_of_store(settings: Settings) -> str | None:
    """Do the same before any server has opened the store."""
    if not may_need_token(settings):
        return None
    async with open_backend(settings.backend) as backend, Hub(backend) as hub:
        return await make_first_token(settings, hub)
