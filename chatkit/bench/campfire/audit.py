"""The audit of acknowledged posts: each must be in the room's history with its exact number and body."""

from collections.abc import Iterable, Sequence

import msgspec

from chatkit.client import Client
from chatkit.client.endpoint import Endpoint
from chatkit.core.model import Gap
from chatkit.errors import ChatkitError


class Acknowledgement(msgspec.Struct, frozen=True):
    """One post: the number and body in the server's answer, and the body that was sent."""

    seq: int
    answered: str
    sent: str


class AuditFaults(msgspec.Struct, frozen=True):
    """Counts of messages that are not stored as they were acknowledged.

    `lost` messages were acknowledged with a number that the history does not have. `changed` ones have another body in
    the answer or in the history than was sent. Messages that are `stored_twice` come again under the same or another
    number, and no post that the load made was answered with an `unacknowledged` one.
    """

    lost: int = 0
    changed: int = 0
    stored_twice: int = 0
    unacknowledged: int = 0

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))


def audit(acknowledged: Sequence[Acknowledgement], history: Iterable[tuple[int, str]]) -> AuditFaults:
    """Compare all acknowledgements of a room with its history: pairs of number and body. All sent bodies differ."""
    stored: dict[int, str] = {}
    bodies: set[str] = set()
    stored_twice = 0
    for seq, body in history:
        stored_twice += seq in stored or body in bodies
        stored.setdefault(seq, body)
        bodies.add(body)
    seqs, sent = {each.seq for each in acknowledged}, {each.sent for each in acknowledged}
    return AuditFaults(
        lost=sum(each.seq not in stored for each in acknowledged),
        changed=sum(
            each.answered != each.sent or stored.get(each.seq, each.sent) != each.sent for each in acknowledged
        ),
        stored_twice=stored_twice,
        unacknowledged=sum(seq not in seqs and body not in sent for seq, body in stored.items()),
    )


async def read_history(endpoint: Endpoint, room: str) -> list[tuple[int, str]]:
    """Return the number and body of every message of a room. Raise `ChatkitError` if the server has deleted some."""
    history = []
    async with Client(endpoint.url, token=endpoint.token) as client:
        async for item in client.scroll(room, raw=True):
            if isinstance(item, Gap):
                raise ChatkitError(
                    "the server has deleted messages of the benchmark's room, so that they cannot be compared: let it"
                    " keep more"
                )
            history.append((item.seq, item.body))
    return history
