"""MemoryBackend and its limits, and NotificationQueue, which merges notifications."""

import asyncio

from chatkit.backends import open_backend
from chatkit.backends.notifications import MAX_MESSAGES, NotificationQueue
from chatkit.core.backend import Disconnected, MessageRedacted, Notification, Reconnected, RoomAdvanced
from chatkit.core.model import Draft, Message


def drafts(count: int, room: str = "a") -> list[Draft]:
    return [Draft(room, "ann", str(n), key=f"{room}{n}") for n in range(count)]


def advanced(room: str, first: int, last: int) -> RoomAdvanced:
    return RoomAdvanced(room, last, [Message(room, "e", seq, 0, "ann", "") for seq in range(first, last + 1)])


def put_and_read(*notifications: Notification) -> list[Notification]:
    """Return what is read from a closed queue that got these notifications."""

    async def main() -> list[Notification]:
        queue = NotificationQueue()
        for item in notifications:
            queue.put([item])
        queue.close()
        return [item async for item in queue.read()]

    return asyncio.run(main())


def test_a_notification_of_a_new_log_survives_merging() -> None:
    deleted, redacted = RoomAdvanced("a", 0, epoch="f"), MessageRedacted("a", 1)
    assert put_and_read(advanced("a", 1, 3), deleted) == [deleted]
    assert put_and_read(RoomAdvanced("a", 3), deleted) == [RoomAdvanced("a", 3, epoch="f")]
    assert put_and_read(advanced("a", 1, 3), redacted, deleted) == [deleted]
    assert put_and_read(redacted, deleted) == [redacted, deleted]
    other = MessageRedacted("b", 1)
    assert put_and_read(advanced("a", 1, 3), other, deleted, redacted) == [deleted, other, redacted]


def test_a_room_keeps_a_thousand_messages_by_default() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend:
            await backend.append(drafts(1_500))
            page = await backend.read("a", after=0, limit=5_000)
            assert (page.head.first, page.head.last, len(page.messages)) == (501, 1_500, 1_000)

    asyncio.run(main())


def test_keep_limits_each_room_and_its_keys() -> None:
    async def main() -> None:
        async with open_backend("memory://?keep=3") as backend:
            await backend.append([*drafts(5), *drafts(2, "b")])
            assert [m.body for m in (await backend.read("a")).messages] == ["2", "3", "4"]
            assert [m.body for m in (await backend.read("b")).messages] == ["0", "1"]
            again = await backend.append(drafts(5))
            assert [receipt.repeat for receipt in again] == [False, False, True, True, True]

    asyncio.run(main())


def test_history_is_kept_after_the_last_reader_leaves() -> None:
    async def main() -> None:
        async with open_backend("memory://") as backend:
            await backend.watch("a")
            await backend.append(drafts(3))
            await backend.unwatch("a")
            assert len((await backend.read("a")).messages) == 3

    asyncio.run(main())


def test_each_backend_has_its_own_epoch() -> None:
    async def main() -> None:
        async with open_backend("memory://") as one, open_backend("memory://") as two:
            assert (await one.read("a")).head.epoch != (await two.read("a")).head.epoch

    asyncio.run(main())


def test_notifications_of_one_room_are_merged_while_nobody_reads() -> None:
    assert put_and_read(advanced("a", 1, 2), advanced("b", 1, 1), advanced("a", 3, 4)) == [
        advanced("a", 1, 4),
        advanced("b", 1, 1),
    ]


def test_repeated_notifications_change_nothing() -> None:
    assert put_and_read(advanced("a", 1, 4), advanced("a", 3, 4), RoomAdvanced("a", 2)) == [advanced("a", 1, 4)]


def test_merged_notifications_never_have_holes() -> None:
    assert put_and_read(advanced("a", 1, 2), advanced("a", 5, 6)) == [advanced("a", 5, 6)]
    assert put_and_read(advanced("a", 1, 2), RoomAdvanced("a", 9)) == [RoomAdvanced("a", 9)]


def test_a_redaction_never_precedes_its_message() -> None:
    assert put_and_read(advanced("a", 1, 2), MessageRedacted("a", 2), advanced("a", 3, 3)) == [
        advanced("a", 1, 3),
        MessageRedacted("a", 2),
    ]


def test_a_reconnection_followed_by_another_loss_is_not_delivered() -> None:
    assert put_and_read(Disconnected("x"), Reconnected(), Disconnected("y")) == [Disconnected("y")]
    assert put_and_read(Disconnected("x"), RoomAdvanced("a", 1), Reconnected()) == [
        Disconnected("x"),
        RoomAdvanced("a", 1),
        Reconnected(),
    ]


def test_unread_notifications_are_bounded() -> None:
    notifications = put_and_read(*(advanced("a", n, n) for n in range(1, 3 * MAX_MESSAGES)), advanced("b", 1, 5))
    assert [(item.room, item.last) for item in notifications if isinstance(item, RoomAdvanced)] == [
        ("a", 3 * MAX_MESSAGES - 1),
        ("b", 5),
    ]
    assert sum(len(item.messages) for item in notifications if isinstance(item, RoomAdvanced)) <= MAX_MESSAGES


def test_a_waiting_reader_is_woken_and_a_cancelled_one_loses_nothing() -> None:
    async def main() -> None:
        queue = NotificationQueue()
        given_up = asyncio.ensure_future(anext(queue.read()))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        waiting = asyncio.ensure_future(anext(queue.read()))
        await asyncio.sleep(0)
        queue.put([RoomAdvanced("a", 1)])
        assert await waiting == RoomAdvanced("a", 1)

    asyncio.run(main())
