"""The search in many rooms: each hit once, the newest first, also when its time ends before all rooms are searched."""

from base64 import urlsafe_b64encode
from collections.abc import Collection, Sequence

import pytest
from faulty_backend import Faults
from harness import run
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.backends.memory import MemoryBackend
from chatkit.core import search, slices
from chatkit.core.backend import Backend, Filter, MentionPosition
from chatkit.core.model import Message
from chatkit.core.name_range import EVERY_NAME
from chatkit.core.room_pages import RoomListPage, read_room_page
from chatkit.core.search import START, Rest, RoomsFrom, SearchPosition, search_rooms
from chatkit.errors import BadCursor

ROOMS = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def long_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no search end early unless a test says so: what is not searched in time comes in another order."""
    monkeypatch.setattr(slices, "SEARCH_S", 60.0)


class ScreeningBackend(MemoryBackend):
    """Finds exactly the rooms that have a match."""

    async def find_rooms(self, rooms: Sequence[str], where: Filter) -> Collection[str]:
        return [room for room in rooms if (await self.read(room, where=where, limit=1, folded=True)).messages]


class Countdown(slices.Deadline):
    """A deadline that is over when it has been asked for the time so many times."""

    n_calls = 0

    @property
    def left_s(self) -> float:
        Countdown.n_calls -= 1
        return float(Countdown.n_calls)


def rooms_of(backend: Backend, rooms: Collection[str] = ROOMS) -> RoomsFrom:
    async def rooms_from(start: str) -> RoomListPage:
        page = await read_room_page(backend, (EVERY_NAME,), start)
        return RoomListPage([info for info in page.infos if info.room in rooms], page.following)

    return rooms_from


async def fill(backend: MemoryBackend, written: list[tuple[str, bool]], start_ms: int = 1_000) -> None:
    """Store messages at one millisecond after the other; some have the text."""
    for n, (room, is_hit) in enumerate(written):
        seq = (await backend.read(room)).head.last + 1
        await backend.load([Message(room, "", seq, start_ms + n, "ann", "Deploy" if is_hit else "other")])


def position_of(message: Message) -> MentionPosition:
    return MentionPosition(message.time_ms, message.room, message.seq)


def test_the_newest_hits_come_first_page_by_page() -> None:
    async def main() -> None:
        backend = MemoryBackend()
        await fill(backend, [(ROOMS[n % 4], n % 3 > 0) for n in range(30)])
        every, end = await search_rooms(backend, rooms_of(backend), "DEPLOY", at=START, limit=100)
        assert ([position_of(each) for each in every], len(every), end) == (
            sorted(map(position_of, every), reverse=True), 20, None,
        )  # fmt: skip
        pages: list[Message] = []
        at: SearchPosition | None = START
        while at is not None:
            page, at = await search_rooms(backend, rooms_of(backend), "deploy", at=at, limit=3)
            at = None if at is None else SearchPosition.parse(str(at))
            pages += page
        assert pages == every
        some, _ = await search_rooms(backend, rooms_of(backend, "acd"), "deploy", at=START, limit=100)
        assert {message.room for message in some} == {"a", "c", "d"}
        assert await search_rooms(backend, rooms_of(backend), "nothing like it", at=START, limit=3) == ([], None)

    run(main())


@settings(max_examples=200, deadline=None)
@given(
    written=st.lists(st.tuples(st.sampled_from(ROOMS), st.booleans()), max_size=40),
    later=st.lists(st.tuples(st.sampled_from((*ROOMS, "bb")), st.booleans()), max_size=10),
    limit=st.integers(1, 6),
    first=st.integers(1, 6),
    n_calls=st.integers(0, 15),
)
def test_a_search_whose_time_ends_finds_each_message_once_while_others_are_written(
    written: list[tuple[str, bool]], later: list[tuple[str, bool]], limit: int, first: int, n_calls: int
) -> None:
    async def main() -> None:
        backend = ScreeningBackend()
        await fill(backend, written)
        wanted = {(room, n) for n, (room, is_hit) in enumerate(written) if is_hit}
        found: list[Message] = []
        at: SearchPosition | None = START
        n_pages = 0
        while at is not None:
            Countdown.n_calls = n_calls
            rooms_from = rooms_of(backend, (*ROOMS, "bb"))
            page, at = await search_rooms(backend, rooms_from, "deploy", at=at, limit=limit)
            at = None if at is None else SearchPosition.parse(str(at))
            assert len(page) <= limit
            assert page == sorted(page, key=position_of, reverse=True)
            found += page
            if n_pages < len(later):
                await fill(backend, [later[n_pages]], 5_000 + n_pages)
            n_pages += 1
            assert n_pages < 500
        positions = [(each.room, each.seq) for each in found]
        assert len(positions) == len(set(positions))
        assert {(each.room, each.time_ms - 1_000) for each in found if each.time_ms < 5_000} == wanted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "FIRST_SLICE", first)
        patch.setattr(search, "FIRST_SLICE", first)
        patch.setattr(search, "ROOM_MESSAGES", 0)
        patch.setattr(search, "Deadline", Countdown)
        run(main())


def test_rooms_without_a_match_are_examined_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 1_000.0)

    async def main() -> None:
        backend = Faults(ScreeningBackend())
        assert isinstance(backend.inner, MemoryBackend)
        rooms = [f"room{n}" for n in range(2_500)]
        await fill(backend.inner, [(room, room == "room1234") for room in rooms])
        n_before = backend.calls["read"]
        page, at = await search_rooms(backend, rooms_of(backend, rooms), "deploy", at=START, limit=10)
        assert ([each.room for each in page], at) == (["room1234"], None)
        assert backend.calls["read"] - n_before < 10
        assert backend.calls["find_rooms"] < 40

    run(main())


@pytest.mark.parametrize("seconds", [0.0, 1_000.0])
def test_many_rooms_are_searched_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", seconds)
    monkeypatch.setattr(search, "MAX_RANKED", 4)
    rooms = [f"room{n}" for n in range(8)]

    async def rooms_from(start: str) -> RoomListPage:
        return await read_room_page(backend, (EVERY_NAME,), start, 2)

    async def main() -> None:
        assert isinstance(backend.inner, MemoryBackend)
        await fill(backend.inner, [(room, n % 3 == 0) for n, room in enumerate([*rooms, *rooms])])
        at: SearchPosition | None = START
        seen: list[Message] = []
        while at is not None:
            n_before = backend.calls["rooms"]
            page, at = await search_rooms(backend, rooms_from, "deploy", at=at, limit=2)
            assert backend.calls["rooms"] - n_before <= (8 if seconds else 4)
            at = None if at is None else SearchPosition.parse(str(at))
            assert all(each.room <= later.room for each in seen for later in page)
            seen += page
        assert sorted(each.time_ms - 1_000 for each in seen) == [0, 3, 6, 9, 12, 15]

    backend = Faults(ScreeningBackend())
    run(main())


def test_an_ended_search_continues_with_the_other_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 0.0)

    async def main() -> None:
        backend = MemoryBackend()
        await fill(backend, [("a", True), ("b", True), ("c", True), ("b", True)])
        page, at = await search_rooms(backend, rooms_of(backend), "deploy", at=START, limit=1)
        seen = [(each.room, each.seq) for each in page]
        assert seen == [("b", 2)]
        while at is not None:
            page, at = await search_rooms(backend, rooms_of(backend), "deploy", at=at, limit=1)
            seen += [(each.room, each.seq) for each in page]
        assert sorted(seen) == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]

    run(main())


def test_a_page_takes_a_bounded_time_however_many_messages_are_newer_than_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SEARCH_S", 0.0)
    monkeypatch.setattr(slices, "FIRST_SLICE", 10)

    async def main() -> None:
        backend = Faults()
        assert isinstance(backend.inner, MemoryBackend)
        await fill(backend.inner, [("a", True), ("b", True), *[("a", False)] * 100])
        at: SearchPosition | None = SearchPosition(rest=Rest(1_001, None, 1_001, "b", None))
        seen, n_pages = [], 0
        while at is not None:
            n_before = backend.calls["read"]
            page, at = await search_rooms(backend, rooms_of(backend), "deploy", at=at, limit=10)
            assert backend.calls["read"] - n_before < 10
            at = None if at is None else SearchPosition.parse(str(at))
            seen += [each.room for each in page]
            n_pages += 1
        assert sorted(seen) == ["a", "b"]
        assert n_pages > 10

    run(main())


DEEP = "~" + urlsafe_b64encode(b"[null,null," + b"[" * 1_400).decode()  # ignored values, nested too deep to skip


@pytest.mark.parametrize(
    "text", ["~", "~!", "~W10=", "~" + "A" * 3_000, "~bnVsbA==", "1:2", "~W251bGwsbnVsbF0=", "~\udce4", DEEP]
)
def test_a_position_that_no_search_made_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        SearchPosition.parse(text)
