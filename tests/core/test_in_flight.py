"""The counter of operations in progress."""

import asyncio

from harness import run

from chatkit.core.in_flight import InFlight


def test_waiting_for_idle_returns_when_the_last_operation_has_ended() -> None:
    async def main() -> None:
        in_flight = InFlight()
        await in_flight.wait_idle()
        in_flight.begin()
        in_flight.begin()
        waiting = asyncio.ensure_future(in_flight.wait_idle())
        in_flight.end()
        await asyncio.sleep(0)
        assert not waiting.done()
        in_flight.end()
        await waiting

    run(main())


def test_an_operation_that_fails_or_is_cancelled_has_ended() -> None:
    async def main() -> None:
        in_flight = InFlight()

        async def operate() -> None:
            with in_flight:
                await asyncio.Event().wait()

        operations = [asyncio.ensure_future(operate()) for _ in range(3)]
        await asyncio.sleep(0)
        for operation in operations:
            operation.cancel()
        await in_flight.wait_idle()
        assert await asyncio.gather(*operations, return_exceptions=True)

    run(main())
