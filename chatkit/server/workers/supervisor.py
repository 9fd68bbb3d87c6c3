"""Supervisor: the parent of the workers that serve one address together. It serves nobody itself.

It binds the address, so that a port in use is told once and every worker has the same; starts the workers as processes
of their own, so that none inherits what it should not and a restarted one runs what is installed by then; puts another
in the place of one that dies; and ends them all.

All accept from one socket (`door.py`). The alternative is a socket each, over which the system spreads connections
(SO_REUSEPORT): there a paused worker keeps its share of them waiting, and one that ends resets those that it has not
accepted, so that a rolling restart loses some.
"""

import asyncio
import logging
import logging.config
import os
import signal
import socket
from math import inf
from typing import Any, Final

from chatkit.backends import open_backend
from chatkit.backoff import Backoff
from chatkit.errors import BadRequest, ChatkitError
from chatkit.server.banner import application_banner, print_banner, startup_banner, with_token
from chatkit.server.listen import listen
from chatkit.server.log_config import log_config
from chatkit.server.settings import Settings
from chatkit.server.workers.connection_counts import ConnectionCounts
from chatkit.server.workers.control import WorkerConfig
from chatkit.server.workers.process import WorkerProcess, cause
from chatkit.wire.codes import ExitCode

LIVES: Final = 4  # of one place at a time: one says goodbye, one serves, and some are dead and not yet forgotten
LASTED_S: Final = 10.0  # a worker that served so long did not die of how it starts
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 10.0
TRIES: Final = 6  # in a row, over some three seconds, while no worker serves at all: then the supervisor gives up

_logger = logging.getLogger(__name__)


def run(settings: Settings, application: str | None = None) -> int:
    """Serve with `settings.workers` processes until a signal comes; return the exit status.

    Raise `BadRequest` for a store that lives in one process, `OSError` for an address in use, and what keeps the
    workers from starting.
    """
    given = settings.secret
    if application is None:
        settings = with_token(settings)
        _check_shared(settings.backend)
    logging.config.dictConfig(log_config(settings))
    with listen(settings) as listening, ConnectionCounts.create(LIVES * settings.workers) as tally:
        port = listening.getsockname()[1]
        if application is None:
            said = startup_banner(settings, port, is_made=settings.secret != given)
        else:
            said = application_banner(application, settings, port)
        stopped_by = asyncio.run(Supervisor(settings, application, listening, tally).run(said))
    return ExitCode.INTERRUPTED if stopped_by == signal.SIGINT else ExitCode.DONE


def _check_shared(url: str) -> None:
    if not open_backend(url).shared:
        raise BadRequest(f"{url} is one process's own: with more than one worker, rooms are kept where all reach them")


class WorkerSlot:
    """One of the places that workers serve in, and who does; None while there is nobody."""

    def __init__(self) -> None:
        self.hand: WorkerProcess | None = None
        self.lock = asyncio.Lock()  # a restart and a replacement must not both fill the place
        self._filled_at = -inf
        self._n_failures = 0  # in a row
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, jitter=0.0)  # nobody else waits for the same thing

    def fill(self, hand: WorkerProcess, now: float) -> None:
        """Have the worker serve here."""
        self.hand, self._filled_at = hand, now

    def empty(self, now: float) -> None:
        """Have nobody serve here: who did has died."""
        self.hand = None
        if now - self._filled_at > LASTED_S:
            self._n_failures = 0
            self._backoff.reset()

    def wait_s(self) -> float:
        """Count a failure; return how long to wait before the next worker is started: after the first, not at all."""
        self._n_failures += 1
        return 0.0 if self._n_failures == 1 else self._backoff.next_s()

    @property
    def is_hopeless(self) -> bool:
        """Say whether enough was tried."""
        return self._n_failures >= TRIES


class Supervisor:
    """Keeps every place filled, until it is told to end."""

    def __init__(
        self, settings: Settings, application: str | None, listening: socket.socket, tally: ConnectionCounts
    ) -> None:
        self._settings = settings
        self._application = application
        self._listening = listening
        self._tally = tally
        self._places = [WorkerSlot() for _ in range(settings.workers)]
        self._cells = list(range(LIVES * settings.workers))  # of the tally, that no process has
        self._starting = asyncio.Lock()  # two that start at once would leave signals held back for ever
        self._hands: dict[
            WorkerProcess, asyncio.Task[None]
        ] = {}  # every process that may run, and what waits for its end

    async def run(self, said: str) -> int:
        """Start, greet, and keep on; return the signal that ended it. Raise why the workers do not start."""
        self._loop = asyncio.get_running_loop()
        self._ended_by: asyncio.Future[int] = self._loop.create_future()
        self._is_asked = asyncio.Event()  # a restart, by somebody
        self._hear()
        serving = asyncio.create_task(self._serve(said))
        try:
            ends: list[asyncio.Future[Any]] = [serving, self._ended_by]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listening.close()  # else who comes now would wait for nobody
            serving.cancel()
            await asyncio.wait([serving])
            await asyncio.gather(*(hand.end() for hand in tuple(self._hands)))
        if not serving.cancelled():
            serving.result()
        return self._ended_by.result()

    # What it is told

    def _hear(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._end, number)
        had_terminal = has_terminal()
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._hung_up(had_terminal))

    def _end(self, number: int) -> None:
        if not self._ended_by.done():
            self._ended_by.set_result(number)

    def _hung_up(self, had_terminal: bool) -> None:  # noqa: FBT001  # told by a signal
        """Restart, if that is what the signal says; it is also what a terminal says that was closed."""
        if had_terminal and not has_terminal():
            self._end(signal.SIGHUP)
        else:
            self._is_asked.set()

    # What it does

    async def _serve(self, said: str) -> None:
        await asyncio.gather(*(self._fill(place) for place in self._places))
        print_banner(said)
        jobs = [asyncio.create_task(self._keep(place)) for place in self._places]
        jobs.append(asyncio.create_task(self._restart_when_asked()))
        try:
            await asyncio.gather(*jobs)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)

    async def _keep(self, place: WorkerSlot) -> None:
        """Put another worker in the place whenever one ends by itself."""
        while True:
            hand = place.hand
            assert hand is not None  # noqa: S101  # it is filled before, and by every turn of this loop
            status = await hand.gone()
            async with place.lock:
                if place.hand is hand:  # else it was restarted
                    _logger.warning("worker %d ended by %s: another takes its place", hand.pid, cause(status))
                    place.empty(self._loop.time())
                    await self._replace(place)

    async def _replace(self, place: WorkerSlot) -> None:
        """Try until there is a worker. Raise why there is none, if there is none in any place."""
        while place.hand is None:
            await asyncio.sleep(place.wait_s())
            try:
                await self._fill(place)
            except (ChatkitError, OSError) as error:
                if place.is_hopeless and not any(each.hand for each in self._places):
                    raise
                _logger.error("no worker could be started: %s", error)  # noqa: TRY400  # a sentence says it all

    async def _restart_when_asked(self) -> None:
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()  # who asks from here on, may have installed something since: all is done again
            try:
                for place in self._places:
                    await self._renew(place)
            except (ChatkitError, OSError) as error:
                _logger.error("the restart ends here, and the old workers go on: %s", error)  # noqa: TRY400  # as above

    async def _renew(self, place: WorkerSlot) -> None:
        """Put a new worker in the place, and only then end the old one."""
        async with place.lock:
            old = place.hand
            await self._fill(place)
        if old is not None:
            await old.end()

    async def _fill(self, place: WorkerSlot) -> None:
        """Start a worker for the place, and return when it serves there. Raise why it does not."""
        hand = await self._start()
        try:
            await hand.ready()
        except ChatkitError:
            await hand.kill()
            raise
        place.fill(hand, self._loop.time())

    async def _start(self) -> WorkerProcess:
        cell = self._cells.pop()
        try:
            async with self._starting:
                hand = await WorkerProcess.start(self._orders(cell))
        except BaseException:
            self._cells.append(cell)
            raise
        self._hands[hand] = asyncio.create_task(self._forget(hand, cell))
        return hand

    async def _forget(self, hand: WorkerProcess, cell: int) -> None:
        await hand.gone()
        self._tally.clear(cell)
        self._cells.append(cell)
        del self._hands[hand]

    def _orders(self, cell: int) -> WorkerConfig:
        return WorkerConfig(
            settings=self._settings,
            application=self._application,
            listening_fd=self._listening.fileno(),
            tally_fd=self._tally.fd,
            n_cells=LIVES * self._settings.workers,
            cell=cell,
        )


def has_terminal() -> bool:
    """Say whether a terminal rules this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
