"""Consuming: the loop over a consumer's messages, as a method of a client of a server or of a store."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from chatkit.client.signals import ConnectionWatcher
from chatkit.core.model import Cursor, Message, check_readable_room

if TYPE_CHECKING:
    from chatkit.client.consumer_calls import ConsumerCalls
    from chatkit.client.consumption import Consumption


class Consuming(ABC):
    """Has `consume`. `watcher` and `give_up_after_s` are as for `Client`."""

    def __init__(self, watcher: ConnectionWatcher, give_up_after_s: float | None = None) -> None:
        self._watches = watcher
        self._gives_up_after_s = give_up_after_s
        self._consumptions: WeakSet[Consumption] = WeakSet()

    @abstractmethod
    def _consumer_calls(self, room: str, name: str) -> "ConsumerCalls":
        """Return the calls of a worker of a consumer."""

    def consume(
        self,
        room: str,
        *,
        as_: str,
        after: str | Cursor = "end",
        limit: int | None = None,
        lease_s: float = 30.0,
        retries: int | None = None,
        ordered: bool = True,
        changes: bool = False,
        where: Callable[[Message], bool] | None = None,
    ) -> "Consumption":
        """Iterate over the messages of a room for a consumer, whose position the server keeps.

        Each message is handled at least once, also if the program was away or is killed:

            async for message in client.consume("ops", as_="indexer"):
                await index(message)

        A message is acknowledged when the body of the loop has ended and the next one is asked for. Messages whose body
        takes less than 2 ms are acknowledged together, within 50 ms. While the body works, the server lends the message
        to this loop, and it is lent again and again. If the program is killed, the message comes again when that ends:
        after at most `lease_s` seconds.

        If an error or a `break` leaves the loop, the current message has failed: it comes again after a delay, which
        grows with each failure. Those that were not begun are given back. If the task is cancelled, the current message
        is given back as well, and this is not a failure. A loop inside `async with` gives back at the end of that
        block; otherwise, it does at the end of the client's block, or when Python closes the loop's generator:

            async with client.consume("ops", as_="indexer") as messages:
                async for message in messages:
                    try:
                        await index(message)
                    except IndexingError as error:
                        await messages.retry(str(error))  # it comes again, and the loop goes on

        A message that has failed more than `retries` times is reported in the room `ROOM.failed`. A `Gap` is yielded
        where messages are missing; it is acknowledged like a message. If the server is away, the loop waits. If the
        message's time ran out nevertheless, the loop goes on with what the server gives next, and another worker may
        handle the message, too.

        Args:
            room: Name of the room.
            as_: Name of the consumer: 1 to 64 letters, digits, `-`, `_` and `.`. Several programs with the same name
                share its messages. It is made if it does not exist, and belongs to this client's name.
            after: Where a new consumer begins: `end`, `start`, or a cursor. One that exists continues where it was.
            limit: Number of messages that are taken at once: at most 1,000. By default 100, or 10 if not `ordered`.
            lease_s: Time in seconds after which the messages of a killed program come again: at least 0.1. It is
                extended while the body works, so this does not limit the body.
            retries: How often a message comes again after a failure; None keeps the consumer's, which is 5 at first.
            ordered: Whether one program at a time gets messages, in the order of the log, and a message that has failed
                holds back those behind it. Otherwise, several programs share the messages.
            changes: Whether to yield edits, reactions and other changes of messages, and redacted messages, too.
            where: Function that returns whether a message is yielded. Others are acknowledged without it.

        Raises:
            BadName: If `room` is not the name of a room.
            BadRequest: If another parameter is not valid, or the server's store keeps no history.
            Forbidden: If the consumer belongs to somebody else, or the client has no name that is bound to a token.
            NotFound: If the client may not read the room, or the consumer is deleted.

        """
        from chatkit.client.consumption import Consumption, consume_options  # noqa: PLC0415 - most programs have none

        options = consume_options(
            after=str(after),
            limit=limit,
            lease_s=lease_s,
            retries=retries,
            ordered=ordered,
            changes=changes,
            where=where,
            give_up_after_s=self._gives_up_after_s,
        )
        consumption = Consumption(self._consumer_calls(check_readable_room(room), as_), options, self._watches)
        self._consumptions.add(consumption)
        return consumption

    async def _end_consumptions(self, error: BaseException | None) -> None:
        """Give back what the loops have taken. `error` is what ended the client's block, and the loop of its task."""
        for consumption in list(self._consumptions):
            await consumption.close(error if consumption.is_of_this_task else asyncio.CancelledError())
