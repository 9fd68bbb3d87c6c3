"""Freed memory is returned to the system, unless there is so much that the server would stand still."""

from chatkit.server.memory_return import MIN_BYTES, glibc, trim
from chatkit.server.process_measures import resident_bytes

BLOCK_BYTES = 60_000  # below the size from which the C library uses memory of its own for a block
N_BLOCKS = 1_000


def fragment() -> list[bytes]:
    """Fill the heap with blocks, free every second one, and return the others."""
    return [bytes([number % 2]) * BLOCK_BYTES for number in range(N_BLOCKS)][::2]


def test_free_pages_between_used_ones_are_returned() -> None:
    libc = glibc()
    assert libc is not None  # of Debian
    kept = fragment()
    before = resident_bytes()
    assert before is not None
    trim(libc, 0)  # of too much free memory, nothing is returned
    assert (resident_bytes() or 0) > before - MIN_BYTES
    trim(libc, 1 << 40)
    assert (resident_bytes() or 0) < before - N_BLOCKS * BLOCK_BYTES // 4
    assert len(kept) == N_BLOCKS // 2
