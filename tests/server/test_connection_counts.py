"""What workers know of each other's connections."""

import os

from chatkit.server.workers.connection_counts import STALE_AFTER_NS, ConnectionCounts


def test_a_process_sees_what_the_others_have_and_not_itself() -> None:
    with ConnectionCounts.create(3) as tally, _seen_from(tally, 0) as zero, _seen_from(tally, 1) as one:
        assert zero.fewest_of_others(1) is None  # as on a machine that has just booted
        assert zero.fewest_of_others(STALE_AFTER_NS) is None
        zero.write(7, STALE_AFTER_NS)
        one.write(3, STALE_AFTER_NS)
        assert (zero.fewest_of_others(STALE_AFTER_NS), one.fewest_of_others(STALE_AFTER_NS)) == (3, 7)
        assert tally.fewest_of_others(STALE_AFTER_NS) == 3


def test_the_cell_of_one_that_died_is_not_counted() -> None:
    with ConnectionCounts.create(2) as tally, _seen_from(tally, 0) as zero, _seen_from(tally, 1) as one:
        one.write(3, STALE_AFTER_NS)
        tally.clear(1)
        assert zero.fewest_of_others(STALE_AFTER_NS) is None


def test_who_did_not_count_for_a_while_or_left_is_not_counted() -> None:
    with ConnectionCounts.create(2) as tally, _seen_from(tally, 0) as zero, _seen_from(tally, 1) as one:
        one.write(3, STALE_AFTER_NS)
        assert zero.fewest_of_others(2 * STALE_AFTER_NS - 1) == 3
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) is None
        one.write(4, 2 * STALE_AFTER_NS)
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) == 4
        one.leave()
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) is None


def _seen_from(tally: ConnectionCounts, cell: int) -> ConnectionCounts:
    """Open the same memory as another process would."""
    return ConnectionCounts(os.dup(tally.fd), tally._n_cells, cell)
