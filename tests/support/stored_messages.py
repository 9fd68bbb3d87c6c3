"""What a server holds, read and written by its API in the process of the test: faster than by a command."""

import secrets

from chatkit.client.endpoint import Endpoint
from chatkit.client.http import HttpClient

PAGE = 1_000


def publish(url: str, room: str, body: str, name: str) -> None:
    with HttpClient(Endpoint.parse(url, name)) as calls:
        calls.publish(room, body, key=secrets.token_hex(8))


def bodies_of(url: str, room: str) -> list[str]:
    """Return the bodies of all messages of a room; those that were redacted are empty."""
    bodies: list[str] = []
    seq = 0
    with HttpClient(Endpoint.parse(url)) as calls:
        while messages := calls.history(room, after=seq, limit=PAGE).messages:
            bodies += [message.body for message in messages]
            seq = messages[-1].seq
    return bodies
