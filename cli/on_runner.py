"""OnRunner: the workers of `chatkit on`, one or several for each room, and how they end.

The first signal ends the workers that wait, and lets those that run a command finish. The second one kills.
"""

import asyncio
import hashlib
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chatkit.cli.on_command import CommandResult, MessageCommand, reply_text
from chatkit.cli.on_filter import MessageFilter, RoomPatterns
from chatkit.cli.on_report import OnReport
from chatkit.cli.on_source import FollowedMessages, FollowedRoom, Messages
from chatkit.core.model import Gap, Message
from chatkit.errors import (
    BadReference,
    BadRequest,
    Banned,
    ChatkitError,
    Forbidden,
    KeyConflict,
    NotFound,
    RateLimited,
    RoomRenamed,
    Unavailable,
)
from chatkit.wire.codes import ExitCode
from chatkit.wire.protocol import message_json

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client

LEASE_S: Final = 10.0  # after this time, the messages of a process that was killed come again
LOOK_S: Final = 2.0  # between two looks for new rooms
SETTLE_S: Final = 5.0  # for what is settled after the first signal
MAX_LOOPS: Final = 200  # each has a thread and a connection
DEFAULT_RETRIES: Final = 5  # as of a new consumer


_REFUSALS: Final = (BadRequest, Forbidden, Banned, NotFound, RoomRenamed)  # of one room


class OnOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `chatkit on` does; see its help. Without a `consumer`, it keeps no place."""

    consumer: str | None = None
    after: str = "end"
    n_workers: int = 1
    retries: int | None = None
    changes: bool = False
    reply: bool = False


class OnRunner:
    """Runs a command for the messages of rooms that match a filter."""

    def __init__(
        self,
        source: "Client | StoreClient",
        rooms: RoomPatterns,
        options: OnOptions,
        *,
        which: MessageFilter,
        command: MessageCommand,
        report: OnReport,
    ) -> None:
        self._source = source
        self._rooms = rooms
        self._options = options
        self._filter = which
        self._command = command
        self._report = report
        self._slots = asyncio.Semaphore(options.n_workers)  # commands that may run at the same time, in all rooms
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None] | None] = set()  # those of `_tasks` whose command runs
        self._started: set[str] = set()  # rooms that have workers
        self._signal: signal.Signals | None = None
        self._error: BaseException | None = None

    async def run(self) -> ExitCode:
        """Run until a signal ends it, and return the exit code. Raise the first error of a worker."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            for room in self._rooms.names:
                self._start(room, is_new=False)
            if self._rooms.has_patterns:
                self._add(self._look_for_rooms())
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= done
                for task in done:
                    self._on_end(task)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
        if self._error is not None:
            raise self._error
        if self._signal is signal.SIGINT:
            return ExitCode.INTERRUPTED
        return ExitCode.MESSAGES_MISSING if self._report.has_gap else ExitCode.DONE

    # Workers and their end

    def _start(self, room: str, *, is_new: bool) -> None:
        """Start the workers of a room. One that `is_new` came after this command."""
        n_workers = self._options.n_workers
        if len(self._tasks) + n_workers > MAX_LOOPS:
            self._report.notice(f"{room} is left out: {MAX_LOOPS} workers are the most, and it needs {n_workers}")
            return
        self._started.add(room)
        followed = None if self._options.consumer else FollowedRoom(self._source, room, from_start=is_new)
        is_listed = room in self._rooms.names
        for _ in range(n_workers):
            self._add(self._work(room, lambda: self._messages(room, followed, is_new=is_new), is_listed=is_listed))

    def _add(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._error is None:
            self._error = error
            self._end_idle()

    def _on_signal(self, number: signal.Signals) -> None:
        if self._signal is None:
            self._signal = signal.Signals(number)
            self._end_idle()
            return
        self._command.kill()
        for task in self._tasks:
            task.cancel()

    def _end_idle(self) -> None:
        for task in self._tasks - self._busy:
            task.cancel()

    @property
    def _is_ending(self) -> bool:
        return self._signal is not None or self._error is not None

    async def _look_for_rooms(self) -> None:
        is_new = False  # those of the first look
        while True:
            try:
                for view in await self._source.rooms():
                    if view.room not in self._started and self._rooms.matches(view.room):
                        self._start(view.room, is_new=is_new)
                is_new = True
            except (Unavailable, RateLimited):
                if not is_new:
                    raise
            await asyncio.sleep(LOOK_S)

    # Messages

    def _messages(self, room: str, followed: FollowedRoom | None, *, is_new: bool) -> Messages:
        options = self._options
        if followed is not None:
            retries = DEFAULT_RETRIES if options.retries is None else options.retries
            return FollowedMessages(followed, self._matches, retries, self._report.given_up)
        return self._source.consume(
            room,
            as_=options.consumer or "",
            after="start" if is_new else options.after,
            lease_s=LEASE_S,
            retries=options.retries,
            ordered=options.n_workers == 1,
            changes=options.changes,
            where=self._filter.matches,
        )

    def _matches(self, message: Message) -> bool:
        is_wanted = self._options.changes or (message.act is None and not message.redacted)
        return is_wanted and self._filter.matches(message)

    async def _work(self, room: str, open_messages: Callable[[], Messages], *, is_listed: bool) -> None:
        try:
            async with open_messages() as messages:
                async for item in messages:
                    if isinstance(item, Gap):
                        self._report.gap(room, item)
                        continue
                    async with self._slots:
                        await self._handle(item, messages)
                    if self._is_ending:
                        return
        except _REFUSALS as error:
            if is_listed:
                raise
            self._report.notice(f"{room} is left out: {error}")  # it was found by a pattern

    async def _handle(self, message: Message, messages: Messages) -> None:
        """Run the command for a message, and report a failure."""
        task = asyncio.current_task()
        self._busy.add(task)
        try:
            result = await self._run(message)
        finally:
            self._busy.discard(task)
        self._report.result(message, result)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S if self._is_ending else None):
                if result.reason is not None:
                    await messages.retry(result.reason)
                elif self._is_ending:
                    await messages.ack()

    async def _run(self, message: Message) -> CommandResult:
        key = self._key_of(message)
        env = {
            "CHATKIT_ROOM": message.room,
            "CHATKIT_SEQ": str(message.seq),
            "CHATKIT_SENDER": message.sender,
            "CHATKIT_KEY": key,
        }
        result = await self._command.run(message_json(message) + b"\n", env)
        body, is_cut = reply_text(result.output) if self._options.reply else ("", False)
        if result.reason is None and body:
            try:
                await self._reply(message, body, key)
            except ChatkitError as error:
                return msgspec.structs.replace(result, reason=f"the reply was not stored: {error}")
            if is_cut:
                self._report.cut(message)
        return result

    async def _reply(self, message: Message, body: str, key: str) -> None:
        target = message.seq if message.act is None or message.of is None else message.of
        # A conflict is a reply that was stored by an earlier run; without the message, there is nothing to answer.
        with suppress(KeyConflict, BadReference):
            await self._source.reply(message.room, target, body, key=key)

    def _key_of(self, message: Message) -> str:
        """Return the key of what a run for this message stores: the same when the message comes again."""
        name = f"{self._options.consumer or ''}:{message.room}:{message.epoch}:{message.seq}"
        return f"on-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
