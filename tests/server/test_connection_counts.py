"""Connection counts in memory that the workers share."""

import os

from chatkit.server.workers.connection_counts import STALE_AFTER_NS, ConnectionCounts


def test_a_process_sees_the_counts_of_the_others_but_not_its_own() -> None:
    with ConnectionCounts.create(3) as counts, _seen_from(counts, 0) as zero, _seen_from(counts, 1) as one:
        assert zero.fewest_of_others(1) is None  # as on a machine that has just booted
        assert zero.fewest_of_others(STALE_AFTER_NS) is None
        zero.write(7, STALE_AFTER_NS)
        one.write(3, STALE_AFTER_NS)
        assert (zero.fewest_of_others(STALE_AFTER_NS), one.fewest_of_others(STALE_AFTER_NS)) == (3, 7)
        assert counts.fewest_of_others(STALE_AFTER_NS) == 3


def test_the_cleared_cell_of_a_dead_process_is_not_counted() -> None:
    with ConnectionCounts.create(2) as counts, _seen_from(counts, 0) as zero, _seen_from(counts, 1) as one:
        one.write(3, STALE_AFTER_NS)
        counts.clear(1)
        assert zero.fewest_of_others(STALE_AFTER_NS) is None


def test_a_process_that_left_or_stopped_counting_is_not_counted() -> None:
    with ConnectionCounts.create(2) as counts, _seen_from(counts, 0) as zero, _seen_from(counts, 1) as one:
        one.write(3, STALE_AFTER_NS)
        assert zero.fewest_of_others(2 * STALE_AFTER_NS - 1) == 3
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) is None
        one.write(4, 2 * STALE_AFTER_NS)
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) == 4
        one.leave()
        assert zero.fewest_of_others(2 * STALE_AFTER_NS) is None


def _seen_from(counts: ConnectionCounts, cell: int) -> ConnectionCounts:
    """Open the same memory, as another process does."""
    return ConnectionCounts(os.dup(counts.fd), counts._n_cells, cell)
