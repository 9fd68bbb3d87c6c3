"""Reading a room's past by position, with its gaps."""

import pytest
from harness import draft, run

from chatkit.backends.memory import MemoryBackend
from chatkit.core import page_size
from chatkit.core.backend import Filter
from chatkit.core.history import HistoryPage, read_history
from chatkit.core.model import Cursor, Draft, Gap


async def store(n: int = 10, keep: int | None = None) -> MemoryBackend:
    backend = MemoryBackend()
    if n:
        await backend.append([draft(seq) for seq in range(1, n + 1)])
    if keep is not None:
        await backend.trim(keep=keep)
    return backend


def numbers(past: HistoryPage) -> list[int]:
    return [message.seq for message in past.messages]


def test_reading_continues_from_the_newest_page_at_the_head() -> None:
    async def main() -> None:
        backend = await store()
        past = await read_history(backend, "ops", limit=3)
        assert (numbers(past), past.gap, past.cursor.seq) == ([8, 9, 10], None, 10)
        past = await read_history(backend, "ops", limit=3, where=Filter(search="2"))
        assert (numbers(past), past.cursor.seq) == ([2], 10)

    run(main())


def test_pages_join_forwards_and_backwards() -> None:
    async def main() -> None:
        backend = await store()
        seen: list[int] = []
        after = Cursor(backend._epoch, 0)
        while not (past := await read_history(backend, "ops", after=after, limit=3)).complete:
            seen += numbers(past)
            after = past.cursor
        assert [*seen, *numbers(past)] == list(range(1, 11))
        assert past.cursor.seq == 10
        seen = []
        before = 11
        while before > 1:
            past = await read_history(backend, "ops", before=before, limit=3)
            seen[:0] = numbers(past)
            before = seen[0]
        assert seen == list(range(1, 11))
        assert past.complete

    run(main())


def test_a_page_over_the_byte_limit_is_shortened_and_its_cursor_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_size, "MAX_PAGE_BYTES", 100)

    async def main() -> None:
        backend = MemoryBackend()
        bodies = ["x" * 40, "x" * 40, "\u20ac" * 20, "x" * 300, "x"]
        await backend.append([*map(draft, bodies), Draft("ops", "ann", "", ["x" * 90]), *map(draft, bodies)])
        pages: list[list[int]] = []
        after = Cursor(backend._epoch, 0)
        while after.seq < 11:
            past = await read_history(backend, "ops", after=after, limit=100)
            pages.append(numbers(past))
            assert past.complete is (11 in pages[-1])
            after = past.cursor
        assert pages == [[1, 2], [3], [4], [5, 6], [7, 8], [9], [10], [11]]
        newest = await read_history(backend, "ops", limit=100)
        assert (numbers(newest), newest.complete, newest.cursor.seq) == ([11], False, 11)
        assert numbers(await read_history(backend, "ops", before=10, limit=100)) == [8, 9]

    run(main())


def test_the_cursor_of_a_page_between_two_positions_is_its_end() -> None:
    async def main() -> None:
        backend = await store()
        past = await read_history(backend, "ops", after=3, before=Cursor(backend._epoch, 6), limit=10)
        assert (numbers(past), past.cursor.seq, past.gap) == ([4, 5], 5, None)

    run(main())


def test_trimmed_messages_are_a_gap() -> None:
    async def main() -> None:
        backend = await store(keep=4)
        past = await read_history(backend, "ops", after=2, limit=10)
        assert (past.gap, numbers(past)) == (Gap(2, 7, "trimmed"), [7, 8, 9, 10])
        past = await read_history(backend, "ops", after=6, limit=10)
        assert past.gap is None
        backend = await store(keep=0)
        past = await read_history(backend, "ops", after=2, limit=10)
        assert (past.gap, numbers(past), past.cursor.seq) == (Gap(2, 11, "trimmed"), [], 10)
        past = await read_history(backend, "ops", after=10, limit=10)
        assert (past.gap, past.cursor.seq) == (None, 10)

    run(main())


@pytest.mark.parametrize("seq", [0, 4, 10])
def test_a_cursor_of_another_epoch_gives_a_gap_and_the_whole_log(seq: int) -> None:
    async def main() -> None:
        backend = await store(keep=8)
        past = await read_history(backend, "ops", after=Cursor("other", seq), limit=3)
        assert (past.gap, numbers(past)) == (Gap(seq, 3, "epoch"), [3, 4, 5])
        assert past.cursor == Cursor(backend._epoch, 5)

    run(main())


def test_a_cursor_ahead_of_the_log_belongs_to_a_lost_log() -> None:
    async def main() -> None:
        backend = await store(3)
        past = await read_history(backend, "ops", after=Cursor(backend._epoch, 7), limit=9)
        assert (past.gap, numbers(past)) == (Gap(7, 1, "epoch"), [1, 2, 3])

    run(main())


def test_reading_backwards_from_another_epoch_reads_the_newest() -> None:
    async def main() -> None:
        past = await read_history(await store(), "ops", before=Cursor("other", 4), limit=3)
        assert (past.gap, numbers(past), past.cursor.seq) == (None, [8, 9, 10], 10)

    run(main())


def test_an_empty_room_is_empty() -> None:
    async def main() -> None:
        backend = await store(0)
        for after, before in ((None, None), (0, None), (None, 5), (0, 9)):
            past = await read_history(backend, "ops", after=after, before=before, limit=3)
            assert (past.gap, numbers(past), past.cursor.seq, past.complete) == (None, [], 0, True)

    run(main())
