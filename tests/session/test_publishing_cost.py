"""How many calls a published message costs, from the read of the socket to the last write.

The bounds are what the code needs today. They may only fall.
"""

from pathlib import Path

import msgspec
import pytest
from call_count import OwnCalls, counting
from harness import run, turns
from memory_connection import MemoryConnection

from chatkit.backends.urls import open_backend
from chatkit.core.hub import Hub
from chatkit.websocket.frames import TEXT, client_frame

N_TURNS = 40  # of the loop: more than a commit and a round of the fan-out need
BATCH = 64  # frames that one read of the socket returns

# Calls of Python's functions and of C's, of one message alone and for each message of a batch.
BOUNDS = {
    ("text", "memory"): ((64, 62), (14.8, 20.7)),
    ("text", "sqlite"): ((72, 74), (13.6, 21.2)),
    ("json", "memory"): ((77, 65), (27.8, 23.7)),
    ("json", "sqlite"): ((86, 77), (26.6, 24.2)),
}


def frames(protocol: str, count: int) -> bytes:
    """Return what the client sends: bodies, or `publish` commands that ask for an acknowledgement."""
    command = [{"op": "publish", "body": "a message", "ref": n} for n in range(count)]
    payloads = [b"a message"] * count if protocol == "text" else [msgspec.json.encode(each) for each in command]
    return b"".join(client_frame(TEXT, payload) for payload in payloads)


async def calls_of_a_read(client: MemoryConnection, protocol: str, count: int) -> OwnCalls:
    data = frames(protocol, count)
    client.transport.writes.clear()
    with counting() as calls:
        client.connection.data_received(data)
        await turns(N_TURNS)
    assert len(client.transport.texts) == (count if protocol == "text" else 2 * count)
    return calls


@pytest.mark.parametrize(("protocol", "store"), BOUNDS)
@pytest.mark.usefixtures("no_pauses")
def test_a_published_message_makes_few_calls(protocol: str, store: str, tmp_path: Path) -> None:
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/rooms.db"

    async def test() -> None:
        async with open_backend(url) as backend, Hub(backend) as hub:
            client = MemoryConnection(hub, is_json=protocol == "json")
            await client.join("ops")
            for count in (1, BATCH, 1):  # so that every cache is filled
                client.connection.data_received(frames(protocol, count))
                await turns(N_TURNS)
            alone = await calls_of_a_read(client, protocol, 1)
            batch = await calls_of_a_read(client, protocol, BATCH)
            of_one, of_each = BOUNDS[protocol, store]
            assert (alone.of_python, alone.of_c) == (min(alone.of_python, of_one[0]), min(alone.of_c, of_one[1]))
            each = batch.of_python / BATCH, batch.of_c / BATCH
            assert each == (min(each[0], of_each[0]), min(each[1], of_each[1]))

    run(test())
