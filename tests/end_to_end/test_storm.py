"""All clients reconnect at once after a restart, each from its own position, and receive what they missed."""

import asyncio
import random
import re
from pathlib import Path

from raw_client import handshake
from serving import ServerProcess, serve

from chatkit.core.model import Cursor, Draft
from chatkit.toolkit import open_backend

N_MESSAGES = 6_000
N_CLIENTS = 400
SEQ = re.compile(rb'"seq":(\d+),')  # of a message, whose body is only a number
END = b"}"  # of a message


async def fill(store: str) -> str:
    """Write the log that the clients come back to; return its epoch."""
    async with open_backend(store) as backend:
        for start in range(0, N_MESSAGES, 1_000):
            receipts = await backend.append([Draft("storm", "ann", f"{start + n}") for n in range(1_000)])
    return receipts[-1].message.epoch


async def come_back(server: ServerProcess, after: Cursor) -> list[int]:
    """Resume, and return the numbers of all that was owed, read without a client's own work for each message."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(handshake(f"/ws/storm?format=json&after={after}"))
    numbers: list[int] = []
    got = b""
    while len(numbers) < N_MESSAGES - after.seq:
        chunk = await reader.read(1 << 18)
        assert chunk, f"the server closed the connection: {got[-200:]!r}"
        whole, end, got = (got + chunk).rpartition(END)
        numbers += map(int, SEQ.findall(whole + end))
    writer.transport.abort()
    assert not got, "more than was owed"
    return numbers


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
