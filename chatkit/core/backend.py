"""The contract that every backend keeps: where rooms are stored, and how a process learns that they grew.

A backend is opened with `async with`; its constructor does no I/O. When entering returns, the backend is ready. When it
has been left, everything that it opened is closed, and leaving it again does nothing. Every method MUST be cancellable
at each of its awaits, and MUST then have happened either completely or not at all. An error of the
store or its driver MUST be raised as `Unavailable` (trying again may help) or `StoreError` (it will not).

**Why an epoch exists.** Numbers alone do not identify a place in a log, because a log can be lost: a file is deleted, a
backup is restored, Redis evicts a key or loses its newest writes. Suppose that a reader has received message 7 of the
room `ops` and disconnects. The store is wiped. Four messages are published: they are numbered 1 to 4. The reader comes
back after 7. Nothing above 7 exists, so that it would wait in silence and never see those four. If it comes back later,
when there are twelve messages, it would get 8 to 12 as if 1 to 7 were the messages that it knows. In neither case could
it notice the loss. So every log has an epoch: a random name that is made with the log, and that changes when the log
starts over. A cursor is `epoch:seq`. The reader comes back with `k3v9x0aa:7`, and the log's epoch is `p71mq4zd`: so the
reader gets a gap with the reason `epoch`, and then messages 1 to 4. Therefore a backend MUST change the epoch whenever
committed messages may have been lost in another way than by a trim, so that a number may come to mean another message;
and MUST keep it in every other case, because a reader whose epoch changes is sent the log again.
"""

import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Final, Self, TypeAlias

import msgspec

from chatkit.core.model import Draft, Head, Member, Message, Receipt
from chatkit.core.text import fold

EPOCH_ALPHABET: Final = string.ascii_lowercase + string.digits
EPOCH_CHARS: Final = 8  # 41 bits: that two logs of one store get the same epoch is not to be expected

# One search is compared with many messages. Four are enough: a process rarely runs more searches at the same time.
_fold_search = lru_cache(maxsize=4)(fold)  # the same search is compared with every body


def new_epoch() -> str:
    """Return a random epoch, for a log that is created or begins again."""
    return "".join(secrets.choice(EPOCH_ALPHABET) for _ in range(EPOCH_CHARS))


class Filter(msgspec.Struct, frozen=True):
    """A choice of a room's messages. A message matches if every part that is given holds.

    `search` is text that the body contains, regardless of case and of composed or decomposed letters (`text.fold`).
    Times are Unix milliseconds: `since_ms` is inclusive, `until_ms` exclusive. A redacted message matches no `search`,
    not even an empty one.
    """

    search: str | None = None
    sender: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def matches(self, message: Message) -> bool:
        """Return whether the filter chooses the message. A backend that filters in another way MUST choose the same."""
        return (
            (self.search is None or (not message.redacted and _fold_search(self.search) in fold(message.body)))
            and (self.sender is None or message.sender == self.sender)
            and (self.since_ms is None or message.time_ms >= self.since_ms)
            and (self.until_ms is None or message.time_ms < self.until_ms)
        )


class Page(msgspec.Struct, frozen=True):
    """Some messages of a room in `seq` order, and the head of its log when they were read.

    `complete` is true if no further message matches in the direction of the read.
    """

    head: Head
    messages: Sequence[Message]
    complete: bool


class RoomInfo(msgspec.Struct, frozen=True):
    """An entry of the list of rooms. `time_ms` is the time of the room's newest message."""

    room: str
    head: Head
    time_ms: int


class RoomAdvanced(msgspec.Struct, frozen=True):
    """Notification: the room's log reached `last`. `messages` are its newest without holes, if they came at no cost.

    `epoch` is that of the log, if it is known and no message carries it.
    """

    room: str
    last: int
    messages: Sequence[Message] = ()
    epoch: str = ""


class MessageRedacted(msgspec.Struct, frozen=True):
    """Notification: the body of a message was removed."""

    room: str
    seq: int


class Writing(msgspec.Struct, frozen=True):
    """Notification: a client of another process is typing in the room."""

    room: str
    sender: str


class Disconnected(msgspec.Struct, frozen=True):
    """Notification: the connection for notifications was lost and is being restored; `reason` is a sentence."""

    reason: str


class Reconnected(msgspec.Struct, frozen=True):
    """The connection works again. A `RoomAdvanced` came before this for each watched room that grew in between."""


Notification: TypeAlias = RoomAdvanced | MessageRedacted | Writing | Disconnected | Reconnected


class PresenceChange(msgspec.Struct, frozen=True):
    """The changes in the members of one other process.

    `joined` are the members that joined, or whose time of joining changed; `left` are the rooms and names of those that
    left, even if their joining was never returned. No name of a room is in both. If `whole`, `joined` is the complete
    list of members: for a process that was not known before, and, empty, for one that faded.
    """

    process: str
    joined: Sequence[tuple[str, Member]] = ()
    left: Sequence[tuple[str, str]] = ()
    whole: bool = False


class Backend(ABC):
    """The store of all rooms.

    `shared` is true if other processes may use the same rooms at the same time. `keeps_history` is false if messages
    are numbered and delivered but not stored: then `read` returns no messages and a head whose `first` is above its
    `last`, and a reader is given a gap for what it missed.
    """

    shared: bool
    keeps_history: bool = True

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open the store. MUST raise `BadBackendURL`, `StoreError` or `Unavailable` if it cannot be used.

        If it raises or is cancelled, nothing MUST stay open.
        """

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the store. MUST wait for appends in progress, and MUST end `notifications()`."""

    @abstractmethod
    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts and return a receipt for each, in the order given.

        1. Atomicity: MUST commit all drafts or none. If it raises or is cancelled, none is stored, or, if the outcome
           could not be learned, all are; a caller that tries again with keys stores nothing twice.
        2. Order: MUST number each room without holes, in the order given. Concurrent appends, from any process, MUST
           NOT share or skip a number, and a reader MUST NOT see number N before N - 1 can be read.
        3. Durability: MUST return only when the messages are as durable as the backend's URL promises.
        4. Duplicates: a key belongs to a room and a sender. A draft whose sender has already used its `key` in its
           room, or uses it earlier in the same drafts, MUST NOT be appended: its receipt carries the stored message and
           `repeat=True`, and `conflict=True` as well if the two differ in body or data (`repeat_of` decides). The other
           drafts MUST be appended all the same. A key MUST be remembered as long as its message is kept, also after a
           redaction. A backend that keeps no history keeps no keys.
        5. `time_ms` is what the store's clock shows at commit. It orders nothing: a clock that ran ahead for a while
           dates the messages of that time, and no later ones.
        """

    @abstractmethod
    async def read(
        self,
        room: str,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        where: Filter | None = None,
    ) -> Page:
        """Return at most `limit` (at least 1) messages of a room in order. A room never written to is an empty room.

        With neither `after` nor `before`, the newest. With `before`, the newest below that `seq`. With `after`, the
        oldest above that `seq`, and with both, those of them below `before`.

        The head and the messages of a page MUST be a snapshot of one moment. A read MUST NOT create a room. Bodies and
        data of a page MUST NOT have more than `page_size.MAX_PAGE_BYTES` together, unless it is one message, and little
        more than that MUST be read into memory. A page that this cuts short holds the messages at the end where reading
        began, and is not `complete`.

        A read with a `where` MUST return what `Filter.matches` chooses, and MUST NOT delay reads without one, nor
        appends; after it is cancelled, its work MUST end soon.
        """

    @abstractmethod
    async def rooms(self) -> list[RoomInfo]:
        """Return every room that holds or held a message, in the order of their names."""

    @abstractmethod
    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body and data for good, and return the tombstone: its number, sender, time and key stay.

        MUST raise `NotFound` if there is no such message. Redacting a message again MUST change nothing and MUST return
        the same. Every process that watches the room MUST get `MessageRedacted` in its `notifications()`, this one
        included.
        """

    @abstractmethod
    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop all but the newest `keep` messages, and those committed before `before_ms`; return how many.

        With a `room`, MUST drop nothing in any other room, and MUST NOT cost more if there are many others; a room
        never written to is left as it is. Without one, the rules hold in every room.

        A log is trimmed from its beginning: by age, up to the last message older than `before_ms` that has no message
        before it whose time is between `before_ms` and now. A time later than now was written by a clock that ran
        ahead, and gives no age: such a message is dropped with a later one that is old.

        The numbers of the messages that are left MUST NOT change, and a later message MUST NOT get a number that was
        used, even if nothing is left. Atomicity: a large trim MUST go in steps that do not delay appends for long; when
        it raises or is cancelled, the steps that were taken stay. Messages that are appended during a trim MAY be
        counted against `keep`.
        """

    @abstractmethod
    async def watch(self, room: str) -> None:
        """Subscribe to the room's notifications.

        When this returns, every later commit, by any process, MUST show in `notifications()` or in the next `read`.
        This process's own appends MAY show in neither, only in their receipts. Watching a room twice MUST change
        nothing.
        """

    @abstractmethod
    async def unwatch(self, room: str) -> None:
        """Unsubscribe from the room's notifications. MUST NOT cost more if many rooms are watched."""

    @abstractmethod
    def notifications(self) -> AsyncIterator[Notification]:
        """Iterate over what happens in watched rooms; one caller at a time. MUST end when the backend is left.

        Order: the notifications of one room MUST come in order; between rooms they MAY come in any. Duplicates: they
        MAY be merged or repeated, and their number MUST be bounded by the number of watched rooms while nobody reads.

        A lost connection MUST show as `Disconnected` and MUST be restored with back-off and jitter. Then every watched
        room MUST be compared with its head, many in one round trip; a `RoomAdvanced` MUST come for each that is ahead
        or of another epoch, with that epoch, and then `Reconnected`. Cancelling a caller MUST lose nothing that the
        next one would get.
        """

    @abstractmethod
    async def typing(self, room: str, sender: str) -> None:
        """Notify the other processes that watch the room that the sender is typing.

        They SHOULD get `Writing` in their `notifications()`; this process MUST NOT. It MAY be lost, and is not stored.
        """

    @abstractmethod
    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        """Publish which members joined and left which rooms in this process, and that the process is alive.

        Everything that a process announced MUST expire `ttl_s` seconds after its last call, so that no member stays
        present after its process died. Empty `joined` and `left` renew what was announced. A process that expired MUST
        be able to announce again.
        """

    @abstractmethod
    async def poll_presence(self, process: str) -> Sequence[PresenceChange]:
        """Return what changed in all other processes since the last call for `process`, at most one value for each.

        This is a destructive read: a change is returned once. What a call that raised or was cancelled did not return,
        the next call MUST. A call SHOULD cost what has changed, not what is there.
        """
