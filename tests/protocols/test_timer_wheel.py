"""The timer wheel that all connections share."""

import pytest
from protocol_app import Clock, run_on_clock

from chatkit.protocols.shared import TimerWheel


class Alarm:
    """Records when its timer fires, and sets the timer again if `again_s` is given."""

    def __init__(self, wheel: TimerWheel, clock: Clock, *, again_s: float = 0) -> None:
        self.wheel = wheel
        self.clock = clock
        self.again_s = again_s
        self.due_tick = 0
        self.rang_at: list[float] = []

    def on_timer(self) -> None:
        self.rang_at.append(self.clock.time())
        if self.again_s:
            self.wheel.set(self, self.again_s)


def test_each_timer_of_the_wheel_fires_at_its_own_time() -> None:
    async def test(clock: Clock) -> None:
        wheel, began = TimerWheel(clock), clock.time()
        repeating, later, moved, cleared = (Alarm(wheel, clock, again_s=again) for again in (20, 0, 0, 0))
        wheel.set(later, 5)  # and behind it comes one that is set, and sets itself, for a later time
        wheel.set(repeating, 1)
        wheel.set(moved, 2)
        wheel.set(moved, 8)
        wheel.set(cleared, 3)
        wheel.clear(cleared)
        wheel.clear(cleared)
        await clock.skip(30)
        rang = [[moment - began for moment in alarm.rang_at] for alarm in (repeating, later, moved, cleared)]
        assert rang == [pytest.approx([1, 21], abs=0.3), pytest.approx([5], abs=0.3), pytest.approx([8], abs=0.3), []]
        assert not cleared.due_tick

    run_on_clock(test)
