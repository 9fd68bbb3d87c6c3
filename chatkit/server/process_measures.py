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
    has_proc = STATM.exists()
    return ProcessMeasures(
        started_s=_STARTED_S,
        cpu_s=time.process_time(),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        resident_bytes=int(STATM.read_text().split()[1]) * resource.getpagesize() if has_proc else None,
        n_files=sum(1 for _ in OPEN_FILES.iterdir()) if has_proc else None,
    )
