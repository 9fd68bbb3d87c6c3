"""The bodies of the HTTP API of consumers, which the server writes and the client reads."""

from typing import Self

import msgspec

from chatkit.core.consumer import ConsumerStatus, Taken
from chatkit.wire.protocol import WireGap, WireMessage


class ConsumerView(msgspec.Struct, frozen=True):
    """A consumer as it is now.

    Everything up to `cursor` is settled. `lag` is the number of messages that are not, of which `leased` are with
    workers and `waiting` come again. `failed` is the number of messages that were given up, and `missed` that of the
    messages that retention removed before a worker took them.
    """

    room: str
    name: str
    owner: str
    cursor: str
    lag: int
    leased: int
    waiting: int
    failed: int
    missed: int
    retries: int
    ordered: bool

    @classmethod
    def of(cls, status: ConsumerStatus) -> Self:
        """Make the view of a consumer."""
        return cls(**msgspec.structs.asdict(status) | {"cursor": str(status.cursor)})


class ConsumerList(msgspec.Struct, frozen=True):
    """Consumers, in the order of rooms and names."""

    consumers: list[ConsumerView]


class ConsumerRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a consumer starts or is moved to, and its settings.

    `after` is `start`, `end` or a cursor. With `only_if_missing`, a consumer that exists stays where it is. What is
    left out does not change; a new consumer starts at the end, is not ordered, and has 5 retries.
    """

    after: str | None = None
    only_if_missing: bool = False
    retries: int | None = None
    ordered: bool | None = None


class TakenView(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages that a worker has taken, in the order of the log, and the lease that settles them.

    Without a lease, there was nothing to take. `cursor` is the position after the messages. The messages in the `gap`
    cannot be read; it comes again until its lease is acknowledged.
    """

    messages: list[WireMessage]
    lease: str | None = None
    cursor: str | None = None
    gap: WireGap | None = None

    @classmethod
    def of(cls, taken: Taken) -> Self:
        """Make the view of what was taken."""
        return cls(
            [WireMessage.of_message(message) for message in taken.messages],
            taken.lease,
            str(taken.messages[-1].cursor) if taken.messages else None,
            None if taken.gap is None else WireGap.of(taken.gap),
        )


class LeaseRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The messages of a lease to acknowledge or to give back: all of them, or those with the numbers `seqs`."""

    lease: str
    seqs: list[int] | None = None


class RetryRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The messages of a lease that have failed: all of them, or those with the numbers `seqs`.

    They come again after `delay_s` seconds. The `reason` is shown where they are given up.
    """

    lease: str
    seqs: list[int] | None = None
    delay_s: float = 0.0
    reason: str = ""


class ExtendRequest(msgspec.Struct, frozen=True):
    """The lease that is to run out `lease_s` seconds from now."""

    lease: str
    lease_s: float
