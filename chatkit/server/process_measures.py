"""What the operating system knows of this process: its memory, processor time and open files.

The process reads its own values. A service that may not see the rest of /proc, as the units of `examples/deploy` set
it, has them nevertheless.
"""

import resource
import time
from pathlib import Path
from typing import Final

import msgspec

STATM: Final = Path("/proc/self/statm")
OPEN_FILES: Final = Path("/proc/self/fd")
_STARTED_S: Final = time.time()


class ProcessMeasures(msgspec.Struct, frozen=True):
    """The values of one process. `started_s` is in Unix seconds; what the system does not offer is None."""

    started_s: float
    cpu_s: float
    max_files: int
    resident_bytes: int | None
    n_files: int | None


def measure_process() -> ProcessMeasures:
    """Return the present values. With many open files, this takes milliseconds: call it in a thread."""
    return ProcessMeasures(
        started_s=_STARTED_S,
        cpu_s=time.process_time(),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        resident_bytes=resident_bytes(),
        n_files=sum(1 for _ in OPEN_FILES.iterdir()) if OPEN_FILES.exists() else None,
    )


def resident_bytes() -> int | None:
    """Return how much memory this process uses now, or None if the system does not say so."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize() if STATM.exists() else None
