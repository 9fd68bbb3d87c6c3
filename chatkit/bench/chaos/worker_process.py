"""ConsumerWorkerProcess: a worker as a child process that is killed, paused and started again. Calls block briefly."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True):
    """What a worker does. `addresses` is a file with the URLs of the running servers, `events` a file descriptor."""

    room: str
    consumer: str
    ordered: bool
    addresses: str
    events: int


class ConsumerWorkerProcess:
    """A worker. Its errors are in the file `log`."""

    def __init__(self, job: Job, log: Path) -> None:
        self.log = log
        self._job = job
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was started and ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the worker."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-m", "chatkit.bench.chaos.worker", msgspec.json.encode(self._job).decode()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._job.events],
                cwd=self.log.parent,
                env={name: value for name, value in os.environ.items() if not name.startswith("CHATKIT_")},
                start_new_session=True,  # Ctrl-C must only reach the benchmark
            )

    def kill(self) -> None:
        """Kill the worker with SIGKILL, even if it is paused. Without one, do nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Stop the worker with SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the worker with SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
