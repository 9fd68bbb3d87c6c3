"""Keep one WebSocket connected, and send and receive over it what a client asks for.

After a reconnection, rooms continue from their cursors and unanswered messages are sent again with their keys, so that
nothing is lost with a connection. Knows nothing of HTTP.
"""

import asyncio
import itertools
import time
from collections import deque
from typing import Final, NoReturn

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from chatkit.backoff import RECONNECT_FACTOR, Backoff
from chatkit.client.answer_deadline import AnswerDeadline
from chatkit.client.endpoint import Endpoint
from chatkit.client.follower import FollowState, LiveEvent, RoomFollower
from chatkit.client.outbox import Entry, Outbox
from chatkit.client.signals import ConnectionLost, ConnectionRestored, ConnectionWatcher
from chatkit.client.validation import read_event
from chatkit.client.websocket import closed_error, open_websocket
from chatkit.core.model import ANONYMOUS
from chatkit.errors import ChatkitError, RateLimited, RoomRenamed, Unavailable
from chatkit.wire.protocol import (
    AckEvent,
    AnyCommand,
    AnyEvent,
    ErrorEvent,
    GapEvent,
    JoinCommand,
    JoinedEvent,
    LeaveCommand,
    LeftEvent,
    MessageEvent,
    PresenceEvent,
    PublishCommand,
    RedactedEvent,
    Ref,
    RestoredEvent,
    RoomEvent,
    TypingEvent,
    WireLimits,
    encode,
)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 10.0  # before an attempt to connect
MAX_INVALID: Final = 3  # invalid events, on one connection after another: such a server will not recover
MAX_SILENT: Final = 3  # connections, one after another, on which the server left a command unanswered
STALL_S: Final = 1.0  # the longest wait for a reader whose buffer is full: the other readers wait with it
TURN_EVENTS: Final = 100  # received before readers run; otherwise, one burst in the socket's buffer could fill theirs
REJOIN_S: Final = 1.0  # after a join that was refused for now
STORE_RETRY_S: Final = 0.5  # after a publish that the store could not commit: nobody notices such a delay


class PersistentConnection:
    """One connection at a time, while `run` runs. The synchronous methods never raise."""

    def __init__(
        self, endpoint: Endpoint, *, ping_s: float, give_up_after_s: float | None, watcher: ConnectionWatcher
    ) -> None:
        self.name = endpoint.name or ANONYMOUS
        self.limits = WireLimits(0, 0)
        self.follows: dict[str, RoomFollower] = {}
        self.error: Exception | None = None  # why it ended; it is never used again then
        self._endpoint = endpoint
        self._ping_s = ping_s
        self._give_up_after_s = give_up_after_s
        self._watcher = watcher
        self._outbox = Outbox()
        self._controls: deque[AnyCommand] = deque()  # commands other than publish: sent first, lost with the connection
        self._refs = itertools.count(1)
        self._store_backoff = Backoff(STORE_RETRY_S)
        self._store_lost_at: float | None = None  # set while the server is connected, but could not commit
        self._n_invalid = 0  # invalid events since a connection lasted for long
        self._n_silent = 0  # connections that ended by the deadline since the last answer
        self._deadline = AnswerDeadline()
        self._silence: Unavailable | None = None  # set when the deadline is over
        self._wake = asyncio.Event()  # wakes the sender: there is something to send, or an answer has arrived
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # done at the first connection

    async def ready(self) -> None:
        """Wait for the first connection; raise its error if it fails."""
        await asyncio.shield(self._ready)

    def follow(self, follow: RoomFollower) -> None:
        """Join a room, now and after every reconnection."""
        self.follows[follow.room] = follow
        self._join(follow)

    def unfollow(self, follow: RoomFollower) -> None:
        """Leave a room."""
        if self.follows.get(follow.room) is follow:
            del self.follows[follow.room]
            self._deadline.forget(follow.join_ref)
            self._leave(follow)

    def resume(self, follow: RoomFollower) -> None:
        """Join a parked room again: its reader has emptied the buffer."""
        if follow.state is FollowState.PARKED:
            self._join(follow)

    def publish(self, command: PublishCommand, *, has_own_key: bool, follow_rename: bool = False) -> Entry:
        """Queue a message; return its entry, which has the answer."""
        ref = next(self._refs)
        command = msgspec.structs.replace(command, ref=ref)
        entry = Entry(ref, self.name, command, has_own_key=has_own_key, follow_rename=follow_rename)
        self._outbox.add(entry)
        self._wake.set()
        return entry

    def send(self, command: AnyCommand) -> None:
        """Queue a command that may be lost with the connection."""
        self._controls.append(command)
        self._wake.set()

    async def run(self) -> None:
        """Stay connected until cancelled, or until the server refuses for good."""
        try:
            await self._keep_connected()
        except ChatkitError as error:
            self._end(error)
        finally:
            self._end(Unavailable("the client was closed"))

    async def _keep_connected(self) -> None:
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, factor=RECONNECT_FACTOR)
        lost_at: float | None = None
        while True:
            connected_at = None
            try:
                socket, welcome = await open_websocket(self._endpoint, self._ping_s)
                connected_at = time.monotonic()
                self._connected(welcome.name, welcome.limits, is_back=lost_at is not None)
                lost_at = None
                await self._exchange(socket)
            except (Unavailable, RateLimited) as error:
                now = time.monotonic()
                if not self._ready.done():
                    raise
                if connected_at is not None and now - connected_at >= LONGEST_WAIT_S:
                    backoff.reset()  # a connection that was closed at once counts as a failure
                    self._n_invalid = 0
                if self._n_invalid >= MAX_INVALID or self._n_silent >= MAX_SILENT:
                    raise
                if lost_at is None:
                    lost_at = now
                    self._lost(str(error))
                if self._give_up_after_s is not None and now - lost_at >= self._give_up_after_s:
                    raise
            await asyncio.sleep(backoff.next_s())

    def _connected(self, name: str, limits: WireLimits, *, is_back: bool) -> None:
        self.name = name
        self.limits = limits
        self._store_lost_at = None
        self._controls.clear()
        self._deadline.clear()
        self._silence = None
        self._outbox.connected(limits, time.monotonic())
        for follow in self.follows.values():
            if is_back:
                follow.notify(ConnectionRestored())
            if follow.state is not FollowState.PARKED:
                self._join(follow)
        if is_back:
            self._watcher(ConnectionRestored())
        if not self._ready.done():
            self._ready.set_result(None)
        self._wake.set()

    def _lost(self, reason: str) -> None:
        for follow in self.follows.values():
            if follow.state is not FollowState.PARKED:
                follow.state = FollowState.OUT
            follow.notify(ConnectionLost(reason))
        self._watcher(ConnectionLost(reason))

    def _end(self, error: Exception) -> None:
        if self.error is not None:
            return
        self.error = error
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # marks it as retrieved: possibly nothing waits for it any more
        for follow in self.follows.values():
            follow.end(error)
        for entry in self._outbox.clear():
            entry.refuse(error)

    async def _exchange(self, socket: ClientConnection) -> NoReturn:
        reason: ChatkitError
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(socket))
                try:
                    await self._receive(socket)
                except ConnectionClosed as error:
                    reason = self._silence or closed_error(error)
                except Unavailable as error:  # of an invalid event: nothing after it can be relied upon
                    self._n_invalid += 1
                    reason = error
                sender.cancel()
        finally:
            await socket.close()
        raise reason

    async def _receive(self, socket: ClientConnection) -> NoReturn:
        for count in itertools.count(1):
            frame = await socket.recv(decode=False)
            event = read_event(frame)
            if event is not None:
                follow = self._dispatch(event, len(frame))
                if follow is not None and follow.is_overrun and not await follow.drained(STALL_S):
                    self._park(follow)
            if count % TURN_EVENTS == 0:
                await asyncio.sleep(0)
        raise AssertionError("itertools.count does not end")

    async def _send(self, socket: ClientConnection) -> None:
        try:
            while self._deadline.remaining_s(time.monotonic()) != 0:
                self._wake.clear()
                while self._controls:
                    command = self._controls.popleft()
                    await socket.send(encode(command), text=True)
                    if isinstance(command, JoinCommand) and isinstance(command.ref, int):
                        self._deadline.sent(command.ref, time.monotonic())
                due = self._outbox.next(time.monotonic())
                if isinstance(due, bytes):
                    self._deadline.sent(self._outbox.last_ref, time.monotonic())
                    await socket.send(due, text=True)
                else:
                    await self._sleep(due)
            self._n_silent += 1
            self._silence = self._deadline.error()
            await socket.close()
        except ConnectionClosed:
            return  # the receiver gets the same error and reports it

    async def _sleep(self, max_s: float | None) -> None:
        """Wait until there may be something to send, or until the deadline for an answer."""
        limits_s = [each for each in (max_s, self._deadline.remaining_s(time.monotonic())) if each is not None]
        try:
            async with asyncio.timeout(min(limits_s, default=None)):
                await self._wake.wait()
        except TimeoutError:
            return

    def _dispatch(self, event: AnyEvent, size: int) -> RoomFollower | None:
        match event:
            case (
                MessageEvent()
                | GapEvent()
                | JoinedEvent()
                | PresenceEvent()
                | TypingEvent()
                | RedactedEvent()
                | RoomEvent()
            ):
                return self._deliver(event, size)
            case AckEvent():
                self._accept(event)
            case ErrorEvent():
                self._refuse(event)
            case RestoredEvent():
                self._mark_store_restored()
            case LeftEvent():
                self._end_follow(event)
            case _:
                pass  # the answers to commands that this client sends over HTTP
        return None

    def _answered(self, ref: Ref | None) -> None:
        if isinstance(ref, int) and self._deadline.answered(ref, time.monotonic()):
            self._n_silent = 0

    def _deliver(self, event: JoinedEvent | LiveEvent, size: int) -> RoomFollower | None:
        if isinstance(event, JoinedEvent):
            self._answered(event.ref)
        follow = self.follows.get(event.room)
        if follow is not None:
            follow.receive(event, size)
        return follow

    def _end_follow(self, event: LeftEvent) -> None:
        """Stop the reader of a room that the client may not read any more."""
        error = event.cause()
        if error is not None and (follow := self.follows.get(event.room)) is not None:
            self._lose(follow, error)

    def _lose(self, follow: RoomFollower, error: ChatkitError) -> None:
        """Stop a reader that the server does not let into its room, or continue it at the new name of the room."""
        room = follow.room
        del self.follows[room]
        if isinstance(error, RoomRenamed) and error.renamed_to not in self.follows and follow.rename(error.renamed_to):
            self._outbox.rename(room, follow.room)
            self.follow(follow)
        else:
            follow.end(error)

    def _accept(self, event: AckEvent) -> None:
        self._answered(event.ref)
        entry = self._outbox.pop(event.ref) if isinstance(event.ref, int) else None
        if entry is not None:
            self._mark_store_restored()
            entry.accept(event)
            self._wake.set()

    def _refuse(self, event: ErrorEvent) -> None:
        error = event.to_error()
        if event.ref is None and isinstance(error, Unavailable):
            self._mark_store_lost(event.message)
        if not isinstance(event.ref, int):
            return
        self._answered(event.ref)
        follow = next((each for each in self.follows.values() if each.join_ref == event.ref), None)
        if follow is not None:
            self._refuse_join(follow, error)
        elif isinstance(error, RateLimited):
            self._outbox.hold(event.ref, error.retry_after_s, time.monotonic())
            self._outbox.slow_down(time.monotonic())
        elif isinstance(error, Unavailable) and self._may_wait_for_store(str(error)):
            self._outbox.hold(event.ref, self._store_backoff.next_s(), time.monotonic())
        elif not self._redirect(event.ref, error) and (entry := self._outbox.pop(event.ref)):
            entry.refuse(error)
        self._wake.set()

    def _redirect(self, ref: int, error: ChatkitError) -> bool:
        """Send a message again if its room was renamed and it follows; return whether that is so."""
        return isinstance(error, RoomRenamed) and self._outbox.redirect(ref, error.renamed_to, time.monotonic())

    def _may_wait_for_store(self, reason: str) -> bool:
        lost_at = self._mark_store_lost(reason)
        return self._give_up_after_s is None or time.monotonic() - lost_at < self._give_up_after_s

    def _mark_store_lost(self, reason: str) -> float:
        """Notify the readers once that the store is unavailable; return the time since when it is."""
        if self._store_lost_at is None:
            self._store_lost_at = time.monotonic()
            self._notify(ConnectionLost(reason))
        return self._store_lost_at

    def _mark_store_restored(self) -> None:
        if self._store_lost_at is not None:
            self._store_lost_at = None
            self._notify(ConnectionRestored())

    def _notify(self, signal: ConnectionLost | ConnectionRestored) -> None:
        for follow in self.follows.values():
            follow.notify(signal)
        self._watcher(signal)

    def _refuse_join(self, follow: RoomFollower, error: ChatkitError) -> None:
        if not isinstance(error, Unavailable | RateLimited):
            self._lose(follow, error)
            return
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else REJOIN_S
        asyncio.get_running_loop().call_later(wait_s, self._rejoin, follow, follow.join_ref)

    def _rejoin(self, follow: RoomFollower, ref: int) -> None:
        # If the room was left, or the client reconnected, since: then the room has been joined with another ref.
        if self.follows.get(follow.room) is follow and follow.join_ref == ref and follow.state is FollowState.JOINING:
            self._join(follow)

    def _join(self, follow: RoomFollower) -> None:
        self.send(follow.join(next(self._refs)))

    def _leave(self, follow: RoomFollower) -> None:
        self.send(LeaveCommand(room=follow.room))

    def _park(self, follow: RoomFollower) -> None:
        follow.state = FollowState.PARKED
        self._leave(follow)
