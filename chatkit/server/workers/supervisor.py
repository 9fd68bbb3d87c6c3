"""Supervisor: the parent of the workers that serve one address. It serves no connections itself.

It binds the address, so that a port in use is reported once; starts the workers as separate processes, so that they
inherit nothing unwanted and a restarted one runs the version installed by then; replaces a worker that dies; and stops
them all.

All workers accept from one socket (`acceptor.py`). The alternative is one socket each, over which the kernel spreads
connections (SO_REUSEPORT): there, a paused worker keeps its share of the connections waiting, and one that stops resets
the connections that it has not accepted, so that a rolling restart would lose some.
"""

import asyncio
import logging
import logging.config
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final

from chatkit.backends import open_backend
from chatkit.backoff import Backoff
from chatkit.end_signals import ENDS_ON, ignore_signals
from chatkit.errors import BadRequest, ChatkitError
from chatkit.server.banner import application_banner, print_banner, startup_banner
from chatkit.server.first_token import make_first_token_of_store
from chatkit.server.limit_table import LimitTable
from chatkit.server.listen import listen
from chatkit.server.log_config import log_config
from chatkit.server.metrics import Snapshots
from chatkit.server.settings import Settings
from chatkit.server.snapshot import Snapshot
from chatkit.server.workers.connection_counts import ConnectionCounts
from chatkit.server.workers.control import WorkerConfig
from chatkit.server.workers.process import WorkerProcess, cause
from chatkit.wire.codes import ExitCode

CELLS_PER_WORKER: Final = 4  # one worker stops, one serves, and some are dead and not reaped yet
STABLE_AFTER_S: Final = 10.0  # a worker that served this long did not fail at its start
FIRST_WAIT_S: Final = 0.1
MAX_WAIT_S: Final = 10.0
MAX_ATTEMPTS: Final = 6  # failures in a row, over about 3 s, while no worker serves: then the supervisor gives up

_logger = logging.getLogger(__name__)


def run(settings: Settings, application: str | None = None) -> int:
    """Serve with `settings.workers` processes until a signal stops them; return the exit status.

    Raise `BadRequest` for a store that lives in one process, `OSError` for an address in use, and the error
    that keeps the workers from starting.
    """
    if application is None:
        _check_shared(settings.backend)
    logging.config.dictConfig(log_config(settings))
    with (
        listen(settings) as listening,
        ConnectionCounts.create(CELLS_PER_WORKER * settings.workers) as counts,
        LimitTable.create(CELLS_PER_WORKER * settings.workers) as limits,
    ):
        port = listening.getsockname()[1]
        if application is None:
            first_token = asyncio.run(make_first_token_of_store(settings))
            banner = startup_banner(settings, port, first_token=first_token)
        else:
            banner = application_banner(application, settings, port)
        stopped_by = asyncio.run(Supervisor(settings, application, listening, counts, limits).run(banner))
        ignore_signals((*ENDS_ON, signal.SIGHUP))
    return ExitCode.INTERRUPTED if stopped_by == signal.SIGINT else ExitCode.DONE


def _check_shared(url: str) -> None:
    if not open_backend(url).shared:
        raise BadRequest(
            f"{url} belongs to one process: with more than one worker, rooms need a store that all of them can reach"
        )


class WorkerSlot:
    """A slot for one worker. `worker` is the process that fills it, or None while the slot is empty."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None
        self.lock = asyncio.Lock()  # a restart and a replacement must not both fill the slot
        self._filled_at = -inf
        self._n_failures = 0  # in a row
        self._backoff = Backoff(FIRST_WAIT_S, MAX_WAIT_S, jitter=0.0)  # no other process retries at the same time

    def fill(self, worker: WorkerProcess, now: float) -> None:
        self.worker, self._filled_at = worker, now

    def empty(self, now: float) -> None:
        """Empty the slot, because its worker has died."""
        self.worker = None
        if now - self._filled_at > STABLE_AFTER_S:
            self._n_failures = 0
            self._backoff.reset()

    async def snapshot(self) -> Snapshot | None:
        """Return the worker's snapshot; None if there is no worker, or if it does not answer in time."""
        return None if self.worker is None else await self.worker.exchange.snapshot()

    def wait_s(self) -> float:
        """Count a failure; return how long to wait before the next start. After the first failure there is no wait."""
        self._n_failures += 1
        return 0.0 if self._n_failures == 1 else self._backoff.next_s()

    @property
    def has_given_up(self) -> bool:
        """Return whether there were too many failures in a row."""
        return self._n_failures >= MAX_ATTEMPTS


class Supervisor:
    """Keeps every slot filled until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        application: str | None,
        listening: socket.socket,
        counts: ConnectionCounts,
        limits: LimitTable,
    ) -> None:
        self._settings = settings
        self._application = application
        self._listening = listening
        self._counts = counts
        self._limits = limits
        self._slots = [WorkerSlot() for _ in range(settings.workers)]
        self._cells = list(range(CELLS_PER_WORKER * settings.workers))  # cells of the counts that no process uses
        self._starting = asyncio.Lock()  # two concurrent starts would leave signals blocked
        # Every process that may run, and the task that reaps it.
        self._workers: dict[WorkerProcess, asyncio.Task[None]] = {}
        self._exchanges: set[asyncio.Task[None]] = set()  # each ends with its worker
        self._is_ending = False

    async def run(self, banner: str) -> int:
        """Start the workers, print the banner, and serve; return the signal that stopped it."""
        self._loop = asyncio.get_running_loop()
        self._stop_signal: asyncio.Future[int] = self._loop.create_future()
        self._restart_requested = asyncio.Event()  # by SIGHUP
        self._install_signal_handlers()
        serving = asyncio.create_task(self._serve(banner))
        try:
            ends: list[asyncio.Future[Any]] = [serving, self._stop_signal]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_ending = True
            self._listening.close()  # otherwise new connections would wait in vain
            serving.cancel()
            await asyncio.wait([serving])
            await asyncio.gather(*(worker.stop() for worker in tuple(self._workers)))
            await asyncio.gather(*self._exchanges)
        if not serving.cancelled():
            serving.result()
        return self._stop_signal.result()

    # Signals

    def _install_signal_handlers(self) -> None:
        # Not by the event loop: while it removes a handler, and after its end, a signal would have its default effect.
        def handle(number: signal.Signals, handler: Callable[[], None]) -> None:
            signal.signal(number, lambda *_: self._is_ending or self._loop.call_soon_threadsafe(handler))

        for number in ENDS_ON:
            handle(number, partial(self._stop, number))
        handle(signal.SIGHUP, partial(self._on_hangup, has_terminal()))

    def _stop(self, number: int) -> None:
        if not self._stop_signal.done():
            self._stop_signal.set_result(number)

    def _on_hangup(self, had_terminal: bool) -> None:  # noqa: FBT001  # a signal handler
        """Restart the workers on SIGHUP, or stop if the signal came because the terminal was closed."""
        if had_terminal and not has_terminal():
            self._stop(signal.SIGHUP)
        else:
            self._restart_requested.set()

    # Workers

    async def _serve(self, banner: str) -> None:
        await asyncio.gather(*(self._fill(slot) for slot in self._slots))
        print_banner(banner)
        jobs = [asyncio.create_task(self._supervise_slot(slot)) for slot in self._slots]
        jobs.append(asyncio.create_task(self._restart_on_request()))
        try:
            await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)

    async def _supervise_slot(self, slot: WorkerSlot) -> None:
        """Replace the slot's worker whenever it ends by itself."""
        while True:
            worker = slot.worker
            assert worker is not None  # noqa: S101  # the slot is filled before, and by every iteration of this loop
            status = await worker.wait_ended()
            async with slot.lock:
                if slot.worker is worker:  # otherwise it was restarted
                    _logger.warning("worker %d ended by %s: a new one is started", worker.pid, cause(status))
                    slot.empty(self._loop.time())
                    await self._replace(slot)

    async def _replace(self, slot: WorkerSlot) -> None:
        """Start workers until one serves. Raise the error if no slot has a worker."""
        while slot.worker is None:
            await asyncio.sleep(slot.wait_s())
            try:
                await self._fill(slot)
            except (ChatkitError, OSError) as error:
                if slot.has_given_up and not any(each.worker for each in self._slots):
                    raise
                _logger.error("no worker could be started: %s", error)  # noqa: TRY400  # the traceback adds nothing

    async def _restart_on_request(self) -> None:
        while True:
            await self._restart_requested.wait()
            self._restart_requested.clear()  # a request from here on may follow an upgrade: restart all again
            try:
                for slot in self._slots:
                    await self._restart_slot(slot)
            except (ChatkitError, OSError) as error:
                _logger.error("the restart was stopped, and the old workers continue: %s", error)  # noqa: TRY400  # as above

    async def _restart_slot(self, slot: WorkerSlot) -> None:
        """Fill the slot with a new worker, and only then stop the old one."""
        async with slot.lock:
            old = slot.worker
            await self._fill(slot)
        if old is not None:
            await old.stop()

    async def _fill(self, slot: WorkerSlot) -> None:
        """Start a worker for the slot, and return when it serves. Raise the error that keeps it from starting."""
        worker = await self._start()
        try:
            await worker.ready()
        except ChatkitError:
            await worker.kill()
            raise
        slot.fill(worker, self._loop.time())
        exchange = asyncio.create_task(worker.exchange.run(self._gather_snapshots))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)

    async def _gather_snapshots(self) -> Snapshots:
        """Return the snapshots of all workers, by the numbers of their slots: a new worker continues the old one's."""
        return dict(enumerate(await asyncio.gather(*(slot.snapshot() for slot in self._slots))))

    async def _start(self) -> WorkerProcess:
        cell = self._cells.pop()
        try:
            async with self._starting:
                worker = await WorkerProcess.start(self._config(cell))
        except BaseException:
            self._cells.append(cell)
            raise
        self._workers[worker] = asyncio.create_task(self._reap(worker, cell))
        return worker

    async def _reap(self, worker: WorkerProcess, cell: int) -> None:
        await worker.wait_ended()
        self._counts.clear(cell)
        self._cells.append(cell)
        del self._workers[worker]

    def _config(self, cell: int) -> WorkerConfig:
        return WorkerConfig(
            settings=self._settings,
            application=self._application,
            listening_fd=self._listening.fileno(),
            counts_fd=self._counts.fd,
            n_cells=CELLS_PER_WORKER * self._settings.workers,
            cell=cell,
            limits_fd=self._limits.fd,
        )


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
