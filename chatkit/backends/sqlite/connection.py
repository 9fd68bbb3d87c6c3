"""ConnectionThread: a thread with its own connection, which executes calls of the event loop one after the other.

Knows nothing of the calls' content. The event loop submits a call and awaits its result. It may also use the connection
itself, for microseconds, while the thread is idle (`try_acquire`).
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from chatkit.backends.sqlite.errors import is_damage, to_chatkit_error
from chatkit.errors import StoreError, Unavailable

T = TypeVar("T")
Do: TypeAlias = Callable[[sqlite3.Connection], T]

# An interrupt before SQLite has started the statement has no effect, so it is repeated until the call has ended.
INTERRUPT_RETRY_S = 0.02


class _Job(Generic[T]):
    """A call, and the future that gets its result."""

    __slots__ = ("do", "future")

    def __init__(self, do: Do[T], future: asyncio.Future[T] | None) -> None:
        self.do = do
        self.future = future


class ConnectionThread:
    """One thread with one connection and one queue of calls.

    `tick` runs between calls and returns the seconds until it is due again. `on_damage` is called in the thread, with a
    sentence, when SQLite reports that the file's content is broken.
    """

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
        self._on_damage = on_damage
        self._calls: SimpleQueue[_Job[Any] | None] = SimpleQueue()  # None: close
        self._thread = threading.Thread(target=self._work, name=f"chatkit-sqlite-{name}", daemon=True)
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop
        self._opened: asyncio.Future[None]
        self._ended: asyncio.Future[None]
        self._connection: sqlite3.Connection
        self._current: _Job[Any] | None = None
        # Protects _current, so that an interrupt cannot hit a later call than the one it is meant for.
        self._current_lock = threading.Lock()
        # Protects the connection, and the state that the calls and the tick share: held by the thread while it executes
        # a call, or by the event loop.
        self._connection_lock = threading.Lock()
        self.release = self._connection_lock.release

    async def open(self) -> None:
        """Start the thread and connect; raise the errors of connecting."""
        self._loop = asyncio.get_running_loop()
        self._opened, self._ended = self._loop.create_future(), self._loop.create_future()
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Close the connection after all submitted calls, and wait for that. Closing again does nothing."""
        if self._thread.ident is None:
            return
        if not self._is_closing:
            self._is_closing = True
            self._calls.put(None)
        await asyncio.shield(self._ended)

    @property
    def n_calls(self) -> int:
        """The approximate number of calls that run or wait."""
        return self._calls.qsize() + (self._current is not None)

    async def run(self, do: Do[T]) -> T:
        """Run the call in the thread. If the caller is cancelled, a call that has not started is skipped."""
        return await self._submit(do)

    def try_acquire(self) -> bool:
        """Lock the connection for the event loop until `release`. Return false if the thread is busy or closed."""
        return not self._is_closing and self._calls.empty() and self._connection_lock.acquire(blocking=False)

    def data_version(self) -> int | None:
        """Return SQLite's number for the content of the file, which each commit of another connection changes.

        Called in the event loop. Return None if the thread is busy or closed.
        """
        if not self.try_acquire():
            return None
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:  # another process holds the lock; or the error will be that of the next call
            return None
        finally:
            self.release()

    async def run_interruptibly(self, do: Do[T]) -> T:
        """Run a call that only reads. If the caller is cancelled, the call is interrupted."""
        future = self._submit(do)
        try:
            return await future
        except asyncio.CancelledError:
            self._interrupt(future)
            raise

    def post(self, do: Do[object]) -> None:
        """Submit a call from any thread without waiting for it; its errors of SQLite are dropped."""
        self._calls.put(_Job(do, None))

    def _submit(self, do: Do[T]) -> asyncio.Future[T]:
        if self._is_closing:
            raise Unavailable(f"{self._path} has been closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Job(do, future))
        return future

    def _interrupt(self, future: asyncio.Future[T]) -> None:
        with self._current_lock:
            if self._current is None or self._current.future is not future:
                return  # it has ended, or was cancelled before it started
            self._connection.interrupt()
        self._loop.call_later(INTERRUPT_RETRY_S, self._interrupt, future)

    # The methods below run in the thread.

    def _work(self) -> None:
        try:
            self._connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - the thread's edge: `open` must raise any error
            self._resolve(self._opened, error=error)
        else:
            self._resolve(self._opened)
            self._serve()
            with suppress(sqlite3.Error):
                self._connection.close()
        self._resolve(self._ended)

    def _serve(self) -> None:
        while True:
            wait_s = None
            if self._tick:
                with self._connection_lock:
                    wait_s = self._tick()
            try:
                call = self._calls.get(timeout=wait_s)
            except Empty:
                continue
            if call is None:
                return
            self._execute(call)

    def _execute(self, call: _Job[Any]) -> None:
        with self._current_lock:
            if call.future is not None and call.future.cancelled():
                return
            self._current = call
        result: object = None
        error: BaseException | None = None
        try:
            with self._connection_lock:
                result = call.do(self._connection)
        except sqlite3.Error as driver_error:
            error = to_chatkit_error(driver_error, self._path)
            error.__cause__ = driver_error
            if self._on_damage is not None and is_damage(driver_error):
                self._on_damage(str(error))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as decoding_error:
            error = StoreError(f"{self._path} holds a value that cannot be read: {decoding_error}")
            error.__cause__ = decoding_error
        except BaseException as other:  # noqa: BLE001 - the thread's edge: the caller must get any error
            error = other
        with self._current_lock:
            self._current = None
        if call.future is not None:
            self._resolve(call.future, result, error)

    def _resolve(self, future: asyncio.Future[Any], result: object = None, error: BaseException | None = None) -> None:
        with suppress(RuntimeError):  # the event loop was closed first: nobody waits any more
            self._loop.call_soon_threadsafe(_set_result, future, result, error)


def _set_result(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # it was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
