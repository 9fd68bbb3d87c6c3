"""Searches in slices: they find what one read of the whole log finds, and end when their time is over."""

from typing import Any

import pytest
from harness import run
from hypothesis import given, settings
from hypothesis import strategies as st

from chatkit.backends.memory import MemoryBackend
from chatkit.core import slices
from chatkit.core.backend import Filter, Page
from chatkit.core.history import read_history
from chatkit.core.message_state import Act
from chatkit.core.model import Cursor, Draft, Message
from chatkit.core.slices import Deadline, search_room

NEEDLE = Filter(search="x")


async def store(bodies: list[str], edits: list[int], dropped: int) -> MemoryBackend:
    backend = MemoryBackend()
    await backend.append([Draft("ops", "ann", body) for body in bodies])
    changes = [Draft("ops", "ann", "x", of=edited, act=Act.EDIT) for edited in edits if 0 < edited <= len(bodies)]
    if changes:
        await backend.append(changes)
    await backend.trim("ops", keep=max(len(bodies) + len(changes) - dropped, 0))
    return backend


async def follow(backend: MemoryBackend, *, is_forward: bool, limit: int, seconds: float) -> list[Message]:
    """Search page by page, and return all hits in the order of reading."""
    found: list[Message] = []
    at = 0 if is_forward else None
    while True:
        page, reached = await search_room(
            backend,
            "ops",
            NEEDLE,
            after=at if is_forward else None,
            before=None if is_forward else at,
            limit=limit,
            folded=True,
            deadline=Deadline(seconds),
        )
        found += page.messages if is_forward else page.messages[::-1]
        if page.complete:
            assert reached is None
            return found
        if reached is not None:
            assert at is None or (reached > at if is_forward else reached < at)
        at = reached if reached is not None else found[-1].seq


@settings(max_examples=200, deadline=None)
@given(
    bodies=st.lists(st.sampled_from(["x", "y"]), max_size=30),
    edits=st.lists(st.integers(1, 30), max_size=3),
    dropped=st.integers(0, 10),
    is_forward=st.booleans(),
    limit=st.integers(1, 5),
    seconds=st.sampled_from([0.0, 10.0]),
    first=st.integers(1, 7),
)
def test_slices_find_what_one_read_finds(
    bodies: list[str], edits: list[int], dropped: int, is_forward: bool, limit: int, seconds: float, first: int
) -> None:
    async def main() -> None:
        backend = await store(bodies, edits, dropped)
        whole = (await backend.read("ops", where=NEEDLE, limit=100, folded=True)).messages
        found = await follow(backend, is_forward=is_forward, limit=limit, seconds=seconds)
        assert found == (list(whole) if is_forward else list(whole[::-1]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "FIRST_SLICE", first)
        run(main())


def test_an_ended_search_names_the_number_that_it_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "FIRST_SLICE", 10)
    monkeypatch.setattr(slices, "SEARCH_S", 0.0)

    async def main() -> None:
        backend = await store(["x", *["y"] * 29], [], 0)
        newest = await read_history(backend, "ops", where=NEEDLE)
        assert (newest.messages, newest.complete, newest.reached, newest.cursor.seq) == ([], False, 21, 30)
        older = await read_history(backend, "ops", before=21, where=NEEDLE)
        assert (older.messages, older.complete, older.reached) == ([], False, 11)
        oldest = await read_history(backend, "ops", before=11, where=NEEDLE)
        assert ([each.seq for each in oldest.messages], oldest.complete, oldest.reached) == ([1], True, None)
        forward = await read_history(backend, "ops", after=Cursor(newest.head.epoch, 1), where=NEEDLE)
        assert (forward.messages, forward.complete, forward.reached, forward.cursor.seq) == ([], False, 11, 11)

    run(main())


def test_a_search_of_a_log_that_starts_again_searches_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "FIRST_SLICE", 10)

    class Restarting(MemoryBackend):
        """A store whose log starts again before the third read."""

        n_reads = 0

        async def read(self, room: str, **which: Any) -> Page:
            self.n_reads += 1
            if self.n_reads == 3:
                await self.delete_room(room)
                await self.append([Draft(room, "ann", "x")])
            return await super().read(room, **which)

    async def main() -> None:
        backend = Restarting()
        await backend.append([Draft("ops", "ann", "y") for _ in range(30)])
        page, reached = await search_room(backend, "ops", NEEDLE, deadline=Deadline(10))
        assert ([each.seq for each in page.messages], page.complete, reached) == ([1], True, None)

    run(main())
