"""ConnectionThread: a thread with its own connection, which makes one call after the other for the event loop.

Knows nothing of what the calls do. The loop hands a call over and awaits its result. The loop may also use the
connection itself for microseconds while the thread has nothing to do (`try_acquire`).
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from chatkit.backends.sqlite.errors import as_ours, is_damage
from chatkit.errors import Unavailable

T = TypeVar("T")
Do: TypeAlias = Callable[[sqlite3.Connection], T]

# An interrupt that comes before SQLite has begun does nothing, so it is sent again until the call has ended.
INTERRUPT_AGAIN_S = 0.02


class _Job(Generic[T]):
    """Something to be done, and the future that its result goes to."""

    __slots__ = ("do", "future")

    def __init__(self, do: Do[T], future: asyncio.Future[T] | None) -> None:
        self.do = do
        self.future = future


class ConnectionThread:
    """One thread, one connection, one queue. `tick` runs between calls and says in how many seconds it is due again."""

    def __init__(
        self,
        name: str,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        tick: Callable[[], float | None] | None = None,
        *,
        on_damage: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self._connect = connect
        self._tick = tick
        self._on_damage = on_damage  # called in the thread, with a sentence, when the file's content is broken
        self._calls: SimpleQueue[_Job[Any] | None] = SimpleQueue()  # None: close
        self._thread = threading.Thread(target=self._work, name=f"chatkit-sqlite-{name}", daemon=True)
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop
        self._opened: asyncio.Future[None]
        self._ended: asyncio.Future[None]
        self._connection: sqlite3.Connection
        self._current: _Job[Any] | None = None
        # Guards _current, so that an interrupt meets the call that it is meant for and not the one after it.
        self._lock = threading.Lock()
        # Guards the connection, and whatever the calls and the tick share: held by the thread at work, or by the loop.
        self._use = threading.Lock()
        self.release = self._use.release

    async def open(self) -> None:
        """Start the thread and connect; raise what connecting raises."""
        self._loop = asyncio.get_running_loop()
        self._opened, self._ended = self._loop.create_future(), self._loop.create_future()
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Close when all that was handed over has been done, and wait for that. Doing it again does nothing."""
        if self._thread.ident is None:
            return
        if not self._is_closing:
            self._is_closing = True
            self._calls.put(None)
        await asyncio.shield(self._ended)

    @property
    def n_calls(self) -> int:
        """About how many calls are under way or wait."""
        return self._calls.qsize() + (self._current is not None)

    async def run(self, do: Do[T]) -> T:
        """Have it done. A caller who is cancelled before it has begun prevents it; after that, it is done wholly."""
        return await self._hand_over(do)

    def try_acquire(self) -> bool:
        """Lend the connection to the caller until `release`, unless the thread is at work, or closed."""
        return not self._is_closing and self._calls.empty() and self._use.acquire(blocking=False)

    async def run_interruptibly(self, do: Do[T]) -> T:
        """Have a reading done. When the caller is cancelled, it ends soon."""
        future = self._hand_over(do)
        try:
            return await future
        except asyncio.CancelledError:
            self._interrupt(future)
            raise

    def post(self, do: Do[object]) -> None:
        """Have something done, from any thread, that nobody waits for; its driver's errors are nobody's."""
        self._calls.put(_Job(do, None))

    def _hand_over(self, do: Do[T]) -> asyncio.Future[T]:
        if self._is_closing:
            raise Unavailable(f"{self._path} has been closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Job(do, future))
        return future

    def _interrupt(self, future: asyncio.Future[T]) -> None:
        with self._lock:
            if self._current is None or self._current.future is not future:
                return  # it has ended, or has not begun and, cancelled, never will
            self._connection.interrupt()
        self._loop.call_later(INTERRUPT_AGAIN_S, self._interrupt, future)

    # What follows runs in the connection's own thread.

    def _work(self) -> None:
        try:
            self._connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - the thread's edge: who awaits the opening must hear of anything
            self._tell(self._opened, error=error)
        else:
            self._tell(self._opened)
            self._serve()
            with suppress(sqlite3.Error):
                self._connection.close()
        self._tell(self._ended)

    def _serve(self) -> None:
        while True:
            wait_s = None
            if self._tick:
                with self._use:
                    wait_s = self._tick()
            try:
                call = self._calls.get(timeout=wait_s)
            except Empty:
                continue
            if call is None:
                return
            self._answer(call)

    def _answer(self, call: _Job[Any]) -> None:
        with self._lock:
            if call.future is not None and call.future.cancelled():
                return
            self._current = call
        result: object = None
        error: BaseException | None = None
        try:
            with self._use:
                result = call.do(self._connection)
        except sqlite3.Error as driver_error:
            error = as_ours(driver_error, self._path)
            error.__cause__ = driver_error
            if self._on_damage is not None and is_damage(driver_error):
                self._on_damage(str(error))
        except BaseException as other:  # noqa: BLE001 - the thread's edge: who awaits the call must hear of anything
            error = other
        with self._lock:
            self._current = None
        if call.future is not None:
            self._tell(call.future, result, error)

    def _tell(self, future: asyncio.Future[Any], result: object = None, error: BaseException | None = None) -> None:
        with suppress(RuntimeError):  # the loop was closed without closing us: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
