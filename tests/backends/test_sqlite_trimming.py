"""The steps of a trim in SQLite: limited by rows, bytes and rooms, so that an append waits for milliseconds at most."""

import sqlite3
from collections import deque
from itertools import pairwise
from pathlib import Path

from harness import run

from chatkit.backends.sqlite import SqliteBackend
from chatkit.backends.sqlite.checkpoint import CHECKPOINT_BYTES
from chatkit.backends.sqlite.schema import open_reader
from chatkit.backends.sqlite.trimming import (
    MESSAGE_BYTES,
    ROOM_BYTES,
    STEP_BYTES,
    TEXT_WEIGHT,
    RoomTrim,
    plan_trim,
    take_step,
)
from chatkit.core.model import Draft


def fill(path: Path, drafts: list[Draft]) -> sqlite3.Connection:
    async def main() -> None:
        async with SqliteBackend(path) as backend:
            await backend.append(drafts)

    run(main())
    return open_reader(path)


def steps_of(connection: sqlite3.Connection, plan: deque[RoomTrim]) -> list[list[tuple[int, int]]]:
    steps = []
    while plan:
        steps.append(list(take_step(connection, plan).rooms))
    return steps


def test_a_step_has_a_limited_number_of_short_messages(tmp_path: Path) -> None:
    connection = fill(tmp_path / "x.db", [Draft("a", "ann", "x") for _ in range(2_000)])
    steps = steps_of(connection, plan_trim(connection, "a", 10, None))
    ends = [0, *(end for step in steps for _, end in step)]
    assert ends[-1] == 1_990
    sizes = [after - before for before, after in pairwise(ends)]
    assert 200 < max(sizes) <= STEP_BYTES // MESSAGE_BYTES
    assert all(room == 1 for step in steps for room, _ in step)
    connection.close()


def test_a_step_has_a_limited_number_of_bytes(tmp_path: Path) -> None:
    connection = fill(tmp_path / "x.db", [Draft("a", "ann", "x" * 60_000, data="y" * 60_000) for _ in range(40)])
    steps = steps_of(connection, plan_trim(connection, None, 0, None))
    assert [step[-1][1] for step in steps] == list(range(2, 41, 2))
    connection.close()


def test_a_step_has_a_limited_number_of_rooms(tmp_path: Path) -> None:
    connection = fill(tmp_path / "x.db", [Draft(f"room{n}", "ann", "x") for n in range(120)])
    steps = steps_of(connection, plan_trim(connection, None, 0, None))
    assert max(map(len, steps)) <= STEP_BYTES // ROOM_BYTES + 1
    assert sorted(room for step in steps for room, _ in step) == list(range(1, 121))
    connection.close()


def test_a_plan_that_another_process_has_carried_out_ends(tmp_path: Path) -> None:
    connection = fill(tmp_path / "x.db", [Draft("a", "ann", "x")])
    assert steps_of(connection, deque([RoomTrim(7, 0, 1_000)])) == [[(7, 1_000)]]
    connection.close()


def test_a_trim_of_large_messages_lets_the_log_start_again(tmp_path: Path) -> None:
    path, log = tmp_path / "x.db", tmp_path / "x.db-wal"
    fill(path, [Draft("a", "ann", "x" * 60_000) for _ in range(400)]).close()

    async def main() -> int:
        async with SqliteBackend(path) as backend:
            assert await backend.trim("a", keep=0) == 400
            return log.stat().st_size  # SQLite does not make the file shorter when the log starts again

    assert run(main()) < CHECKPOINT_BYTES // TEXT_WEIGHT + 6 * STEP_BYTES
