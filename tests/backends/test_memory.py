"""MemoryBackend: what it keeps, what it forgets; and the inbox that its news wait in."""

import asyncio

from chatkit.backends import open_backend
from chatkit.backends.notifications import MAX_MESSAGES, NotificationQueue
from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced
from chatkit.core.model import Draft, Message


def drafts(count: int, room: str = "a") -> list[Draft]:
    return [Draft(room, "ann", str(n), key=f"{room}{n}") for n in range(count)]


def grown(room: str, first: int, last: int) -> RoomAdvanced:
    return RoomAdvanced(room, last, [Message(room, "e", seq, 0, "ann", "") for seq in range(first, last + 1)])


def drained(*news: Notification) -> list[Notification]:
    """Put news into an inbox, close it, and read it."""

    async def main() -> list[Notification]:
        inbox = NotificationQueue()
        for item in news:
            inbox.put([item])
        inbox.close()
        return [item async for item in inbox.read()]

    return asyncio.run(main())


def test_a_room_is_bounded_by_default() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend:
            await backend.append(drafts(1_500))
            page = await backend.read("a", after=0, limit=5_000)
            assert (page.head.first, page.head.last, len(page.messages)) == (501, 1_500, 1_000)

    asyncio.run(main())


def test_keep_bounds_each_room_and_the_keys_with_it() -> None:
    async def main() -> None:
        async with open_backend("memory://?keep=3") as backend:
            await backend.append([*drafts(5), *drafts(2, "b")])
            assert [m.body for m in (await backend.read("a")).messages] == ["2", "3", "4"]
            assert [m.body for m in (await backend.read("b")).messages] == ["0", "1"]
            again = await backend.append(drafts(5))
            assert [receipt.repeat for receipt in again] == [False, False, True, True, True]

    asyncio.run(main())


def test_history_stays_when_the_last_reader_leaves() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend:
            await backend.watch("a")
            await backend.append(drafts(3))
            await backend.unwatch("a")
            assert len((await backend.read("a")).messages) == 3

    asyncio.run(main())


def test_each_backend_has_an_epoch_of_its_own() -> None:
    async def main() -> None:
        async with open_backend("memory://") as one, open_backend("memory://") as two:
            assert (await one.read("a")).head.epoch != (await two.read("a")).head.epoch

    asyncio.run(main())


def test_news_of_one_room_are_folded_while_nobody_reads() -> None:
    assert drained(grown("a", 1, 2), grown("b", 1, 1), grown("a", 3, 4)) == [grown("a", 1, 4), grown("b", 1, 1)]


def test_news_that_were_told_before_change_nothing() -> None:
    assert drained(grown("a", 1, 4), grown("a", 3, 4), RoomAdvanced("a", 2)) == [grown("a", 1, 4)]


def test_folded_news_never_have_holes() -> None:
    assert drained(grown("a", 1, 2), grown("a", 5, 6)) == [grown("a", 5, 6)]
    assert drained(grown("a", 1, 2), RoomAdvanced("a", 9)) == [RoomAdvanced("a", 9)]


def test_a_redaction_never_comes_before_the_message() -> None:
    assert drained(grown("a", 1, 2), MessageRedacted("a", 2), grown("a", 3, 3)) == [
        grown("a", 1, 3),
        MessageRedacted("a", 2),
    ]


def test_a_link_that_broke_again_is_not_told_to_be_mended() -> None:
    assert drained(Disconnected("x"), Reconnected(), Disconnected("y")) == [Disconnected("y")]
    assert drained(Disconnected("x"), RoomAdvanced("a", 1), Reconnected()) == [
        Disconnected("x"),
        RoomAdvanced("a", 1),
        Reconnected(),
    ]


def test_news_that_nobody_reads_are_bounded() -> None:
    news = drained(*(grown("a", n, n) for n in range(1, 3 * MAX_MESSAGES)), grown("b", 1, 5))
    assert [(item.room, item.last) for item in news if isinstance(item, RoomAdvanced)] == [
        ("a", 3 * MAX_MESSAGES - 1),
        ("b", 5),
    ]
    assert sum(len(item.messages) for item in news if isinstance(item, RoomAdvanced)) <= MAX_MESSAGES


def test_a_reader_who_waits_is_woken_and_one_who_gave_up_loses_nothing() -> None:
    async def main() -> None:
        inbox = NotificationQueue()
        given_up = asyncio.ensure_future(anext(inbox.read()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        waiting = asyncio.ensure_future(anext(inbox.read()))
        await asyncio.sleep(0)
        inbox.put([RoomAdvanced("a", 1)])
        assert await waiting == RoomAdvanced("a", 1)

    asyncio.run(main())
