"""All clients reconnect at once after a restart, each from its own position, and receive what they missed."""

import asyncio
import json
import random
from pathlib import Path

from serving import ServerProcess, serve
from websockets.asyncio.client import connect

from chatkit.core.model import Cursor, Draft
from chatkit.toolkit import open_backend

N_MESSAGES = 6_000
N_CLIENTS = 400


async def fill(store: str) -> str:
    """Write the log that the clients come back to; return its epoch."""
    async with open_backend(store) as backend:
        for start in range(0, N_MESSAGES, 1_000):
            receipts = await backend.append([Draft("storm", "ann", f"{start + n}") for n in range(1_000)])
    return receipts[-1].message.epoch


async def come_back(server: ServerProcess, after: Cursor) -> list[int]:
    """Resume, and return the numbers of all that was owed."""
    url = f"{server.ws_url}/ws/storm?format=json&after={after}"
    async with connect(url, open_timeout=60, ping_timeout=60, compression=None) as socket:
        return [json.loads(await socket.recv())["seq"] for _ in range(N_MESSAGES - after.seq)]


def test_clients_that_reconnect_at_once_get_missed_messages_once_and_in_order(tmp_path: Path) -> None:
    chance = random.Random(1)
    with serve(tmp_path / "rooms.db", "--rate-limit", "0") as server:
        epoch = asyncio.run(fill(server.store))
        places = [chance.randint(N_MESSAGES - 1_500, N_MESSAGES - 1) for _ in range(N_CLIENTS)]

        async def storm() -> list[list[int]]:
            return await asyncio.gather(*(come_back(server, Cursor(epoch, place)) for place in places))

        server.kill9()
        server.start()
        for place, numbers in zip(places, asyncio.run(storm()), strict=True):
            assert numbers == list(range(place + 1, N_MESSAGES + 1))
