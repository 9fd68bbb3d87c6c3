"""How many calls a published message costs, from the read of the socket to the last write.

The bounds are what the code needs today. They may only fall.
"""

from math import inf
from pathlib import Path

import msgspec
import pytest
from call_count import counting
from harness import run, turns, until
from memory_connection import MemoryConnection

from chatkit.backends.sqlite import writer
from chatkit.backends.urls import open_backend
from chatkit.core.hub import Hub
from chatkit.websocket.frames import TEXT, client_frame

BATCH = 64  # frames that one read of the socket returns
MAX_TRIES = 40

# Calls of Python's functions and of C's, of one message alone and for each message of a batch.
# To write the time of a millisecond that is not the one before is one of them, so a fast machine makes one less.
BOUNDS = {
    ("text", "memory"): ((71, 58), (10.0, 14.8)),
    ("text", "sqlite"): ((75, 68), (5.2, 15.0)),
    ("json", "memory"): ((86, 66), (18.1, 23.9)),
    ("json", "sqlite"): ((90, 76), (13.3, 24.0)),
}


def frames(protocol: str, count: int) -> bytes:
    """Return what the client sends: bodies, or `publish` commands that ask for an acknowledgement."""
    command = [{"op": "publish", "body": "a message", "ref": n} for n in range(count)]
    payloads = [b"a message"] * count if protocol == "text" else [msgspec.json.encode(each) for each in command]
    return b"".join(client_frame(TEXT, payload) for payload in payloads)


async def calls_of_a_read(
    client: MemoryConnection, protocol: str, count: int, enough: tuple[float, float] = (inf, inf)
) -> tuple[float, float]:
    """Return the calls for each message of a read: the fewest of some tries, because timers call as well.

    Few enough calls end the tries.
    """
    data = frames(protocol, count)
    of_python = of_c = inf
    for _ in range(MAX_TRIES):
        client.transport.writes.clear()
        with counting() as calls:
            client.connection.data_received(data)
            await until(lambda: len(client.transport.texts) == (count if protocol == "text" else 2 * count))
        await turns(4)  # the round of the fan-out
        of_python, of_c = min(of_python, calls.of_python / count), min(of_c, calls.of_c / count)
        if of_python <= enough[0] and of_c <= enough[1]:
            break
    return of_python, of_c


@pytest.mark.parametrize(("protocol", "store"), BOUNDS)
@pytest.mark.usefixtures("no_pauses")
def test_a_published_message_makes_few_calls(
    protocol: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SLOW_S", inf)  # a slow disk must not move the commits to a thread
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path}/rooms.db"

    async def test() -> None:
        async with open_backend(url) as backend, Hub(backend) as hub:
            client = MemoryConnection(hub, is_json=protocol == "json")
            await client.join("ops")
            for count in (1, BATCH):  # so that every cache is filled
                await calls_of_a_read(client, protocol, count)
            for count, bounds in zip((1, BATCH), BOUNDS[protocol, store], strict=True):
                found = await calls_of_a_read(client, protocol, count, bounds)
                assert found == (min(found[0], bounds[0]), min(found[1], bounds[1]))

    run(test())
