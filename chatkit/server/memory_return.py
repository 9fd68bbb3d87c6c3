"""Returns freed memory to the system after a burst of load, while the server is quiet.

The GNU C library returns only what is free at the end of its heap, so that the free pages between used ones stay.
`malloc_trim` returns them, in 0.1 ms for each MiB. No thread can allocate memory in this time, so it is not called if
too much is free. Other C libraries do without.
"""

import asyncio
import ctypes
import time
from typing import Any, Final

from chatkit.server.process_measures import resident_bytes

INTERVAL_S: Final = 10.0
QUIET: Final = 0.1  # of a processor, in the interval before
MIN_BYTES: Final = 4 << 20  # of growth since the last time: less is not worth the time
MAX_FREE_BYTES: Final = 256 << 20  # returned in 26 ms, which a quiet server can spare


class _Mallinfo2(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in _names.split()]


async def return_memory() -> None:
    """Return freed memory from time to time, until this is cancelled; do nothing without the GNU C library."""
    libc = glibc()
    if libc is None:
        return
    kept_bytes = resident_bytes() or 0
    while True:
        before_s = time.process_time()
        await asyncio.sleep(INTERVAL_S)
        if time.process_time() - before_s < QUIET * INTERVAL_S and (resident_bytes() or 0) > kept_bytes + MIN_BYTES:
            trim(libc)
            kept_bytes = resident_bytes() or 0


def glibc() -> Any:
    """Return the GNU C library of this process, version 2.33 or later, or None."""
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes = (ctypes.c_size_t,)
        libc.mallinfo2.restype = _Mallinfo2
    except (AttributeError, OSError, TypeError):
        return None
    return libc


def trim(libc: Any, max_free_bytes: int = MAX_FREE_BYTES) -> None:
    """Return the free pages to the system, unless that takes too long."""
    if libc.mallinfo2().fordblks <= max_free_bytes:
        libc.malloc_trim(0)
