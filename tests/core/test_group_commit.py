"""Group commit: batches in order, an answer for each, and no end to publishing."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from harness import draft, run, turns, until

from chatkit.core import group_commit
from chatkit.core.group_commit import Committer
from chatkit.core.model import Draft, Message, Receipt
from chatkit.errors import ChatkitError, StoreError, Unavailable


class Store:
    """Numbers drafts; `gate` holds it up, `failure` makes it fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.told: list[str] = []
        self.failed: list[ChatkitError] = []
        self.release = asyncio.Event()
        self.release.set()
        self.failure: Exception | None = None
        self.bad_room = ""  # no batch with it can be taken
        self.n_turns = 0  # of the loop that an append takes
        self.inject: Callable[[Sequence[Receipt]], None] | None = None
        self.committer = Committer(self.append, self._committed, self.failed.append)
        self.outcomes: list[Receipt | ChatkitError] = []

    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        await self.release.wait()
        await turns(self.n_turns)
        if self.failure is not None:
            raise self.failure
        if any(one.room == self.bad_room for one in drafts):
            raise StoreError("this room is something else")
        self.batches.append([one.body for one in drafts])
        return [Receipt(Message(one.room, "e", 1, 0, one.sender, one.body)) for one in drafts]

    def _committed(self, receipts: Sequence[Receipt]) -> None:
        if self.inject is not None:
            self.inject(receipts)
        self.told += [receipt.message.body for receipt in receipts]

    def submit(self, *bodies: object) -> None:
        for body in bodies:
            self.committer.submit(draft(body), self.outcomes.append)

    @property
    def answered(self) -> list[str]:
        return [outcome.message.body if isinstance(outcome, Receipt) else outcome.code for outcome in self.outcomes]


def with_store(test: Callable[[Store], object]) -> None:
    """Run a test beside a committer at work."""

    async def main() -> None:
        store = Store()
        working = asyncio.ensure_future(store.committer.run())
        try:
            await test(store)  # type: ignore[misc]
        finally:
            working.cancel()
            await asyncio.wait([working])
            assert working.cancelled(), "the committer ended by itself"

    run(main())


def test_drafts_submitted_during_a_commit_are_the_next_batch() -> None:
    async def test(store: Store) -> None:
        store.release.clear()
        store.submit(1)
        await turns()
        store.submit(2, 3)
        await turns()
        store.release.set()
        await turns()
        assert store.batches == [["1"], ["2", "3"]]
        assert store.answered == store.told == ["1", "2", "3"]

    with_store(test)


def test_a_batch_is_bounded_and_order_is_kept() -> None:
    async def test(store: Store) -> None:
        bodies = [str(n) for n in range(3 * group_commit.MAX_BATCH + 5)]
        store.submit(*bodies)
        await store.committer.drain()
        assert max(map(len, store.batches)) == group_commit.MAX_BATCH
        assert store.answered == store.told == bodies

    with_store(test)


def test_readers_are_notified_before_publishers_are_answered() -> None:
    async def test(store: Store) -> None:
        seen: list[int] = []
        store.inject = lambda _: seen.append(len(store.outcomes))
        store.submit(1, 2)
        await turns()
        assert seen == [0]

    with_store(test)


def test_publishers_that_never_pause_are_answered() -> None:
    async def test(store: Store) -> None:
        for n in range(400):
            store.submit(n)
            await asyncio.sleep(0)
        assert len(store.outcomes) > 300

    with_store(test)


@pytest.mark.parametrize(
    "failure", [Unavailable("away"), StoreError("broken"), OSError("unknown"), ValueError("a bug")]
)
def test_a_failed_batch_fails_its_drafts_and_later_ones_are_committed(failure: Exception) -> None:
    async def test(store: Store) -> None:
        store.failure = failure
        store.submit(1, 2)
        await turns()
        expected = failure.code if isinstance(failure, ChatkitError) else "unavailable"
        assert store.answered == [expected] * 2
        assert len(store.failed) == 1
        store.failure = None
        store.submit(3)
        await turns()
        assert store.answered[2:] == store.told == ["3"]

    with_store(test)


def test_an_error_in_one_callback_does_not_stop_the_others() -> None:
    async def test(store: Store) -> None:
        def refuse(_: Receipt | ChatkitError) -> None:
            raise ZeroDivisionError

        for failure in (None, Unavailable("away")):
            store.failure = failure
            store.submit(1)
            store.committer.submit(draft(2), refuse)
            store.submit(3)
            await turns()
        assert store.answered == ["1", "3", "unavailable", "unavailable"]

    with_store(test)


def test_an_error_in_notifying_readers_does_not_stop_the_answers() -> None:
    async def test(store: Store) -> None:
        def refuse(_: Sequence[Receipt]) -> None:
            raise ZeroDivisionError

        store.inject = refuse
        store.submit(1)
        await turns()
        assert store.answered == ["1"]

    with_store(test)


def test_a_settle_may_submit() -> None:
    async def test(store: Store) -> None:
        store.committer.submit(draft(1), lambda _: store.submit(2))
        await turns()
        assert store.answered == ["2"]

    with_store(test)


def test_draining_commits_accepted_drafts_and_refuses_new_ones() -> None:
    async def test(store: Store) -> None:
        store.release.clear()
        store.submit(1)
        draining = asyncio.ensure_future(store.committer.drain())
        await turns()
        assert not draining.done()
        with pytest.raises(Unavailable):
            store.submit(2)
        store.release.set()
        await draining
        assert store.answered == ["1"]
        await store.committer.drain()

    with_store(test)


def test_abandoning_a_store_that_hangs_answers_every_publisher() -> None:
    async def main() -> None:
        store = Store()
        working = asyncio.ensure_future(store.committer.run())
        store.release.clear()
        store.submit(1)
        await turns()
        store.submit(2)
        store.committer.abandon()
        assert store.answered == ["unavailable"]
        working.cancel()
        await asyncio.wait([working])
        assert store.answered == ["unavailable"] * 2
        await store.committer.drain()

    run(main())


def test_pending_drafts_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_PENDING", 10)

    async def test(store: Store) -> None:
        store.release.clear()
        store.submit(0)
        await turns()
        store.submit(*range(1, 11))
        with pytest.raises(Unavailable):
            store.submit(11)
        store.release.set()
        await turns()
        store.submit(12)
        await turns()
        assert store.answered == [*map(str, range(11)), "12"]

    with_store(test)


def test_pending_drafts_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_PENDING_BYTES", 100)

    async def test(store: Store) -> None:
        store.release.clear()
        store.submit("x" * 90)
        await turns()
        store.submit("x" * 60)
        with pytest.raises(Unavailable):
            store.committer.submit(draft("", data="x" * 50), store.outcomes.append)
        store.submit("x" * 40)
        store.release.set()
        await turns()
        store.submit("x" * 90)
        await turns()
        assert list(map(len, store.told)) == [90, 60, 40, 90]
        store.failure = Unavailable("away")
        store.submit("x" * 90)
        await turns()
        store.failure = None
        store.submit("x" * 90)
        await turns()
        assert len(store.told) == 5

    with_store(test)


def test_a_batch_is_bounded_in_bytes_and_one_message_always_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_BATCH_BYTES", 100)

    async def test(store: Store) -> None:
        store.submit(*("x" * size for size in (60, 40, 1, 200, 99, 1, 2)))
        await turns()
        assert [list(map(len, batch)) for batch in store.batches] == [[60, 40], [1], [200], [99, 1], [2]]

    with_store(test)


def test_a_store_error_in_one_room_fails_only_that_room() -> None:
    async def test(store: Store) -> None:
        store.bad_room = "bad"
        for n, room in enumerate(("a", "bad", "b", "a", "bad")):
            store.committer.submit(draft(n, room), store.outcomes.append)
        await turns()
        assert store.batches == [["0", "3"], ["2"]]
        assert sorted(store.answered) == ["0", "2", "3", "bad-store", "bad-store"]

    with_store(test)


@pytest.mark.parametrize("steps", range(20))
def test_cancelling_the_commit_of_single_rooms_answers_every_publisher_once(steps: int) -> None:
    async def main() -> None:
        store = Store()
        store.bad_room, store.n_turns = "bad", 2
        for n, room in enumerate(("a", "bad", "b", "c")):
            store.committer.submit(draft(n, room), store.outcomes.append)
        working = asyncio.ensure_future(store.committer.run())
        await turns(steps)
        working.cancel()
        await asyncio.wait([working])
        store.committer.abandon()
        assert len(store.outcomes) == 4

    run(main())


def test_if_the_store_becomes_unavailable_between_single_rooms_the_rest_is_refused() -> None:
    async def test(store: Store) -> None:
        store.bad_room, store.n_turns = "bad", 2
        for n, room in enumerate(("a", "bad", "b")):
            store.committer.submit(draft(n, room), store.outcomes.append)
        await until(lambda: store.outcomes)
        store.failure = Unavailable("away")
        await turns(30)
        assert store.answered == ["0", "unavailable", "unavailable"]

    with_store(test)


@pytest.mark.parametrize("steps", range(12))
def test_cancelling_at_any_time_answers_every_publisher_once(steps: int) -> None:
    async def main() -> None:
        store = Store()
        store.submit(1, 2)
        working = asyncio.ensure_future(store.committer.run())
        await turns(steps)
        working.cancel()
        await asyncio.wait([working])
        store.committer.abandon()
        assert len(store.outcomes) == 2

    run(main())
