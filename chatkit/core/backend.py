"""The contract that every backend keeps: where rooms are, and how a process hears that they grew.

A backend is entered with `async with`; its constructor does no I/O. When entering returns, it is ready; when it has
been left, everything it opened is closed, and leaving again does nothing. Every method MUST be cancellable at each of
its awaits, and MUST then have either happened wholly or not at all. An error of the technology beneath MUST surface as
`Unavailable` (trying again may help) or `StoreError` (it will not), never as the driver's own.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from chatkit.core.model import Draft, Head, Member, Message, Receipt


class Filter(msgspec.Struct, frozen=True):
    """Which messages of a room are asked for. Every part that is given MUST hold.

    `search` is text that the body contains, without regard to case. Times are Unix milliseconds: `since_ms` inclusive,
    `until_ms` exclusive. A redacted message matches no `search`.
    """

    search: str | None = None
    sender: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


class Page(msgspec.Struct, frozen=True):
    """Some messages of a room in `seq` order, and where its log stood when they were read.

    `complete` says that nothing more matches in the direction that was read.
    """

    head: Head
    messages: Sequence[Message]
    complete: bool


class RoomInfo(msgspec.Struct, frozen=True):
    """A room as a list of rooms shows it. `time_ms` is when its newest message was committed."""

    room: str
    head: Head
    time_ms: int


class RoomAdvanced(msgspec.Struct, frozen=True):
    """News: the room's log reached `last`; `messages` are its newest, without holes, when they came cheaply.

    `epoch` is the log's, where it is known and no message says it.
    """

    room: str
    last: int
    messages: Sequence[Message] = ()
    epoch: str = ""


class MessageRedacted(msgspec.Struct, frozen=True):
    """News: a message's body was taken away."""

    room: str
    seq: int


class Writing(msgspec.Struct, frozen=True):
    """News: by way of another process, somebody is writing in the room."""

    room: str
    sender: str


class Disconnected(msgspec.Struct, frozen=True):
    """News: the link that carries news broke and is being mended; `reason` is a sentence."""

    reason: str


class Reconnected(msgspec.Struct, frozen=True):
    """The link works again. A `RoomAdvanced` for every watched room whose log has changed came before this."""


Notification: TypeAlias = RoomAdvanced | MessageRedacted | Writing | Disconnected | Reconnected


class PresenceChange(msgspec.Struct, frozen=True):
    """What changed in who is in which room of another process.

    `joined` are those who came, or who are there since another time than before; `left` the rooms and names of those
    who went, be it that they came unseen. No name of a room is in both. Where `whole`, `joined` is everybody who is
    there: a process that was not known is told so, and one that faded, with nobody.
    """

    process: str
    joined: Sequence[tuple[str, Member]] = ()
    left: Sequence[tuple[str, str]] = ()
    whole: bool = False


class Backend(ABC):
    """Where rooms are kept.

    `shared` says whether other processes may use the same rooms at the same time. `keeps_history` is false where
    messages are numbered and passed on, but not kept: then `read` returns none, and a head whose `first` is above its
    `last`; and what a reader missed is told as a gap.
    """

    shared: bool
    keeps_history: bool = True

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open. MUST raise `BadBackendURL`, `StoreError` or `Unavailable` if the store cannot be used."""

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close. MUST wait for appends under way; MUST end `news()`."""

    @abstractmethod
    async def append(self, drafts: Sequence[Draft]) -> list[Receipt]:
        """Commit the drafts and return a receipt for each, in the order given.

        1. MUST commit all or none. If it raises or is cancelled, either none is stored, or, where the outcome could not
           be learned, all are; a caller that tries again with keys stores nothing twice.
        2. MUST number each room without holes, in the order given; concurrent appends, from any process, MUST NOT share
           or skip a number, and a reader MUST NOT see number N before N - 1 can be read.
        3. MUST return only when the messages are as durable as the backend's URL promises.
        4. A draft whose `key` is already in its room, or earlier in the same drafts, MUST NOT be appended: its receipt
           carries the stored message and `repeat=True`. A key is remembered as long as its message is kept.
        5. `time_ms` MUST NOT go back within a room, whatever the clock does.
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
        """Return at most `limit` (at least 1) messages of a room, in order; a room never written to is an empty one.

        With neither `after` nor `before`: the newest. With `before`: the newest below that `seq`. With `after`: the
        oldest above that `seq`, and with both, those of them below `before`. The page's head and messages MUST be of
        one moment. A read with a `where` MUST NOT hold up reads without, nor appends; when it is cancelled, its work
        MUST end soon.
        """

    @abstractmethod
    async def rooms(self) -> list[RoomInfo]:
        """Return every room that holds or held a message, by name."""

    @abstractmethod
    async def redact(self, room: str, seq: int) -> Message:
        """Take away a message's body and data for good, keep its number, sender, time and key, and return what is left.

        MUST raise `NotFound` where there is no such message; redacting again MUST change nothing. All processes that
        watch the room MUST get `MessageRedacted` in their `news()`, this one included.
        """

    @abstractmethod
    async def trim(self, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop, in every room, all but the newest `keep` messages, and those committed before `before_ms`.

        Return how many were dropped. The numbers of what is left MUST NOT change, nor may a later message get a number
        that was used. MUST NOT hold up appends for long: a large trim goes in steps.
        """

    @abstractmethod
    async def watch(self, room: str) -> None:
        """Ask for the room's news.

        When this returns, every later commit, by any process, MUST show in `news()` or in the
        next `read`. This process's own appends MAY show in neither but their receipts. Watching twice MUST change
        nothing.
        """

    @abstractmethod
    async def unwatch(self, room: str) -> None:
        """Ask for the room's news no more. MUST cost the same however many rooms are watched."""

    @abstractmethod
    def news(self) -> AsyncIterator[Notification]:
        """Iterate over what happens in watched rooms; one caller at a time.

        News of one room MUST come in order, and MAY be folded together or repeated. A link that breaks MUST show as
        `Disconnected`, MUST be mended with back-off and jitter, and then every watched room MUST be checked against its
        head, many in one round trip; a `RoomAdvanced` MUST come for each that is ahead or of another epoch, with that
        epoch, and then `Reconnected`. The iterator ends when the backend is left.
        """

    @abstractmethod
    async def typing(self, room: str, sender: str) -> None:
        """Tell the other processes that watch the room that the sender is writing.

        They SHOULD get `Writing` in their `news()`; this process MUST NOT. It MAY be lost, and is not kept.
        """

    @abstractmethod
    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        """Tell the other processes who came to and went from which room in this one, and that this one is alive.

        All that a process announced MUST fade `ttl_s` seconds after its last call, so that nobody stays present by the
        death of a process. Empty `joined` and `left` renew what stands. A process that faded MUST be able to announce
        anew.
        """

    @abstractmethod
    async def present(self, process: str) -> Sequence[PresenceChange]:
        """Return what changed at all other processes since the last call for this one, at most one of each.

        What a call that raised or was cancelled did not return, the next MUST. It SHOULD cost what has changed, not
        what is there.
        """
