"""One of the servers on a store holds the claim to deliver, and another takes it over."""

import pytest
from harness import run

from chatkit.backends.memory import MemoryBackend
from chatkit.errors import Unavailable
from chatkit.webhooks.claim import HELD_S, RENEW_S, TAKE_OVER_S, Claim


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_one_server_holds_the_claim_while_it_renews_it() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend:
            clock = Clock()
            first, second = Claim(backend, clock=clock), Claim(backend, clock=clock)
            for _ in range(10):
                assert await first.renew()
                assert not await second.renew()
                clock.now_s += RENEW_S
            assert first.is_held

    run(go())


def test_another_takes_it_over_after_the_first_has_stopped_and_not_before() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend:
            clock = Clock()
            first, second, third = (Claim(backend, clock=clock) for _ in range(3))
            assert await first.renew()
            for _ in range(20):
                held = [claim for claim in (first, second, third) if claim.is_held]
                assert len(held) <= 1
                await second.renew()
                await third.renew()
                clock.now_s += RENEW_S / 2
                if second.is_held:
                    break
            assert clock.now_s - 1_000 <= TAKE_OVER_S + RENEW_S
            assert (first.is_held, third.is_held) == (False, False)
            assert not await first.renew()

    run(go())


def test_a_server_whose_clock_stood_still_does_not_deliver_any_more() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend:
            clock = Clock()
            paused = Claim(backend, clock=clock)
            assert await paused.renew()
            clock.now_s += HELD_S
            assert not paused.is_held

    run(go())


def test_a_claim_that_was_given_back_is_taken_at_once() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend:
            first, second = Claim(backend, clock=Clock()), Claim(backend, clock=Clock())
            assert await first.renew()
            assert not await second.renew()
            await second.release()  # it does not hold it
            assert [first.is_held, second.is_held] == [True, False]
            await first.release()
            assert [first.is_held, await second.renew()] == [False, True]

    run(go())


def test_a_store_that_does_not_answer_ends_the_claim_in_time() -> None:
    async def go() -> None:
        async with MemoryBackend() as backend:
            clock = Clock()
            claim = Claim(backend, clock=clock)
            assert await claim.renew()

            class Away(MemoryBackend):
                async def get_record(self, kind: str, key: str) -> None:
                    raise Unavailable("the store is away")

            claim._store = Away()
            clock.now_s += RENEW_S
            with pytest.raises(Unavailable):
                await claim.renew()
            assert claim.is_held
            clock.now_s += HELD_S
            assert not claim.is_held

    run(go())
