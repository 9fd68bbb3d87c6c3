"""The contract that every backend keeps: how rooms are stored, and how a process is notified of new messages.

A backend is opened with `async with`; its constructor does no I/O. When entering returns, the backend is ready. When it
has been left, everything that it opened is closed, and leaving it again does nothing. Every method MUST be cancellable
at each of its awaits; a cancelled call MUST have taken effect either completely or not at all. An error of the store or
its driver MUST be raised as `Unavailable` (retrying may help) or `StoreError` (retrying does not help).

**Why an epoch exists.** Numbers alone do not identify a position in a log, because a log can be lost: a file is
deleted, a backup is restored, Redis evicts a key or loses its newest writes. Suppose that a reader has received message
7 of the room `ops` and disconnects. The store is wiped. Four messages are published, and are numbered 1 to 4. The
reader reconnects and asks for the messages after 7. None has a higher number, so the reader would wait and never see
those four. If it reconnects later, when there are twelve messages, it would get 8 to 12 as if 1 to 7 were the messages
that it already has. In neither case could it notice the loss. So every log has an epoch: a random name that is created
with the log and changes when the log starts again. A cursor is `epoch:seq`. The reader reconnects with `k3v9x0aa:7`,
and the log's epoch is `p71mq4zd`. So the reader gets a gap with the reason `epoch`, and then messages 1 to 4. Therefore
a backend MUST change the epoch whenever committed messages may have been lost in another way than by a trim, because a
number may then refer to another message. It MUST keep the epoch in every other case, because a reader whose epoch
changes is sent the whole log again.
"""

import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from chatkit.core.model import Cursor, Draft, Head, Member, Message, Receipt
from chatkit.core.name_range import EVERY_NAME, NameRange
from chatkit.core.notifications import (
    Disconnected,
    MessageRedacted,
    Notification,
    PresenceChange,
    Reconnected,
    RoomAdvanced,
)
from chatkit.core.reading import Filter, MentionPosition, Page, RoomInfo, RoomUnread
from chatkit.core.records import Record, RecordChanges
from chatkit.core.signals import Typing

__all__ = [
    "Backend",
    "Disconnected",
    "Filter",
    "MentionPosition",
    "MessageRedacted",
    "Notification",
    "Page",
    "PresenceChange",
    "Reconnected",
    "Record",
    "RecordChanges",
    "RoomAdvanced",
    "RoomInfo",
    "RoomUnread",
    "Typing",
    "new_epoch",
]

EPOCH_ALPHABET: Final = string.ascii_lowercase + string.digits
EPOCH_CHARS: Final = 8  # 41 bits: two logs of one store practically never get the same epoch


def new_epoch() -> str:
    """Return a random epoch for a log that is created or starts again."""
    number, base = secrets.randbelow(len(EPOCH_ALPHABET) ** EPOCH_CHARS), len(EPOCH_ALPHABET)
    return "".join([EPOCH_ALPHABET[number // base**place % base] for place in range(EPOCH_CHARS)])


class Backend(ABC):
    """The store of all rooms.

    `shared` is true if other processes may use the same rooms at the same time. `keeps_history` is false if messages
    are numbered and delivered but not stored: then `read` returns no messages and a head whose `first` is above its
    `last`, and a reader gets a gap in place of the messages that it missed.
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
           NOT share or skip a number. A reader MUST NOT see number N before number N - 1 can be read.
        3. Durability: MUST return only when the messages are as durable as the backend's URL promises.
        4. Duplicates: a key belongs to a room and a sender. A draft whose sender has already used its `key` in its
           room, or uses it earlier in the same drafts, MUST NOT be appended: its receipt carries the stored message and
           `repeat=True`, and `conflict=True` as well if their contents differ (`repeat_of` decides). The other
           drafts MUST be appended nevertheless. A key MUST be kept as long as its message is kept, also after a
           redaction. A backend that keeps no history keeps no keys.
        5. `time_ms` is the time of the store's clock at commit. It does not order messages: if the clock ran ahead for
           a while, only the messages of that while have a wrong time.
        6. References: a draft with `of` is stored as every other is, also if there is no such message: the caller has
           checked it. From then on, a read that is `folded` MUST show what it changes. It changes nothing if
           it was made before, such as a second identical reaction, if the message is redacted or a change itself, or,
           for an edit, if its sender is another than the message's. A redaction is `redact`; its entry changes nothing.
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
        folded: bool = False,
    ) -> Page:
        """Return at most `limit` (at least 1) messages of a room in order. A room never written to is an empty room.

        With neither `after` nor `before`, the newest. With `before`, the newest below that `seq`. With `after`, the
        oldest above that `seq`, and with both, those of them below `before`.

        The head and the messages of a page MUST be one snapshot of the log. A read MUST NOT create a room. The bodies
        and data of a page MUST NOT have more than `page_size.MAX_PAGE_BYTES` together, unless the page is one message,
        and little more than that MUST be read into memory. A page that is shortened for this holds the messages at the
        end from which the read started, and is not `complete`.

        Messages are returned as they were written, with changes among them and without a `state`. If `folded`, the
        changes MUST be left out, and each message MUST be returned as by `Relations.show`: in the state that all
        changes up to the page's head add up to, with the newest text. What a page costs MUST grow with its messages and
        with the different emojis on them, and not with the number of their replies, edits or reactions.

        A read with a `where` MUST return the messages that `Filter.matches` chooses. It MUST NOT delay reads without a
        `where`, nor appends. After it is cancelled, its work MUST end soon.
        """

    async def find_rooms(
        self,
        rooms: Sequence[str],
        where: Filter,  # noqa: ARG002 - this default does not examine messages
    ) -> Collection[str]:
        """Return those of some rooms, of at most a thousand, that may have a message that matches in a `folded` read.

        MUST return every room that has one, and MAY return others: a search in many rooms reads only these. `where` has
        a `search`, and may have times; MAY ignore the times. The caller limits the number of messages in the rooms.
        """
        return rooms

    def change_mark(self) -> int | None:
        """Return a value that every change of the store, by any process, replaces by another one. MUST NOT wait.

        As long as the mark is the same, a read MUST return what a read after the first of these marks returned. MAY
        return None, at any time, if the mark is not known at once.
        """
        return None

    @abstractmethod
    async def rooms(self, *, start: str = "", end: str | None = None, limit: int | None = None) -> list[RoomInfo]:
        """Return every room that holds or held a message, in the order of their names.

        With `start`, those whose names are not before it, in the order of the code points; with `end`, those whose
        names are before it; and with `limit`, at most so many, which SHOULD cost no more if there are many other rooms.
        With a `start` or a `limit`, the list MAY be some seconds old.
        """

    @abstractmethod
    async def heads(self, rooms: Collection[str]) -> dict[str, Head]:
        """Return the heads of those rooms, of the given ones, that hold or held a message.

        MUST NOT cost more if there are many other rooms.
        """

    @abstractmethod
    async def redact(self, room: str, seq: int) -> Message:
        """Remove a message's body, data and mentions permanently; return the tombstone: number, sender, time and key.

        The bodies and mentions of its edits MUST be removed with it, as if each was redacted, and its reactions and
        pins MUST NOT be shown any more. MUST raise `NotFound` if there is no such message. Redacting a message again
        MUST change nothing and MUST return the same tombstone. Every process that watches the room, also this one, MUST
        get `MessageRedacted` in its `notifications()`, for the message and for each of its edits.

        Redacting an edit MUST show the text and the mentions that the message had before it: those of its newest edit
        that is not redacted, or its own. The caller MUST NOT redact any other change.
        """

    # What refers to messages

    @abstractmethod
    async def has_reaction(self, room: str, seq: int, emoji: str, sender: str) -> bool:
        """Return whether a sender has put an emoji to a message, and has not taken it back.

        The cost MUST NOT grow with the number of reactions.
        """

    @abstractmethod
    async def read_mentions(
        self,
        name: str,
        *,
        within: Sequence[NameRange] = (EVERY_NAME,),
        before: MentionPosition | None = None,
        limit: int = 100,
    ) -> Sequence[Message]:
        """Return the newest messages that mention a name in their current text, before a position, the newest first.

        They are at most `limit`, of the rooms whose names are in one of the ranges, and in the state that a `folded`
        read shows. Redacted messages mention nobody. The cost MUST NOT grow with the number of messages that mention
        others.
        """

    @abstractmethod
    async def count_unread(self, name: str, markers: Mapping[str, int], *, limit: int = 1_000) -> Sequence[RoomUnread]:
        """Return what a name has not read: for each room in `markers`, and each other one that mentions the name.

        In the order of the rooms' names, without rooms that hold no message. A marker is the number up to which the
        name has read; without one, it is 0. Unread are the messages after it that are no changes, not the name's own
        and not redacted; the mentions are those of `read_mentions`, after it. Counting stops at `limit`. This is one
        round trip for all rooms. The cost MUST NOT grow with the number of messages before the markers.
        """

    @abstractmethod
    async def trim(self, room: str | None = None, *, keep: int | None = None, before_ms: int | None = None) -> int:
        """Drop all but the newest `keep` messages, and those committed before `before_ms`; return the number dropped.

        With a `room`, MUST drop nothing in any other room, and MUST NOT cost more if there are many other rooms; a room
        never written to does not change. Without a `room`, the rules apply to every room.

        A log is trimmed from its beginning: by age, up to the last message older than `before_ms` that has no message
        before it whose time is between `before_ms` and now. A time later than now comes from a clock that ran ahead,
        so the message's age is unknown: it is dropped together with a later message that is old.

        The numbers of the remaining messages MUST NOT change, and a later message MUST NOT get a number that was used,
        even if no message remains. Atomicity: a large trim MUST run in steps that do not delay appends for long; if it
        raises or is cancelled, the completed steps stay. Messages that are appended during a trim MAY be counted
        against `keep`.
        """

    @abstractmethod
    async def watch(self, room: str) -> None:
        """Subscribe to the room's notifications.

        After this returns, every later commit, by any process, MUST appear in `notifications()` or in the next `read`.
        This process's own appends MAY appear in neither, only in their receipts. Watching a room twice MUST change
        nothing.
        """

    @abstractmethod
    async def unwatch(self, room: str) -> None:
        """Unsubscribe from the room's notifications. MUST NOT cost more if many rooms are watched."""

    @abstractmethod
    def notifications(self) -> AsyncIterator[Notification]:
        """Iterate over the notifications of watched rooms, one caller at a time. MUST end when the backend is left.

        Order: the notifications of one room MUST come in order; those of different rooms MAY come in any order.
        Duplicates: notifications MAY be merged or repeated. While no caller reads them, the number that wait MUST be
        bounded by the number of watched rooms.

        A lost connection MUST be reported as `Disconnected` and MUST be restored with back-off and jitter. Then every
        watched room MUST be compared with its head in the store, many rooms in one round trip. A `RoomAdvanced` MUST
        come for each room that is ahead or has another epoch, with that epoch, and then `Reconnected`. Cancelling a
        caller MUST NOT lose notifications: the next caller gets them.
        """

    @abstractmethod
    async def typing(self, room: str, sender: str) -> None:
        """Notify the other processes that watch the room that the sender is typing.

        They SHOULD get `Typing` in their `notifications()`; this process MUST NOT. It MAY be lost, and is not stored.
        """

    @abstractmethod
    async def announce(
        self, process: str, *, joined: Sequence[tuple[str, Member]], left: Sequence[tuple[str, Member]], ttl_s: float
    ) -> None:
        """Publish which members joined and left which rooms in this process, and that the process is alive.

        Everything that a process announced MUST expire `ttl_s` seconds after its last call, so that no member stays
        present after its process was killed. A call with empty `joined` and `left` renews what was announced. A process
        that expired MUST be able to announce again.
        """

    @abstractmethod
    async def poll_presence(self, process: str) -> Sequence[PresenceChange]:
        """Return the changes in all other processes since the last call for `process`, at most one value for each.

        This is a destructive read: a change is returned once. If a call raises or is cancelled, the next call MUST
        return its changes. The cost of a call SHOULD grow with the number of changes, not with that of the members.
        """

    # Records: see `records.py`. A backend that keeps no history keeps records nevertheless, as long as it lives.

    @abstractmethod
    async def get_record(self, kind: str, key: str) -> Record | None:
        """Return the newest state of a record, also of one that was deleted; None if the key was never used.

        MUST see every `put_record` that returned before, by any process. Raise `BadRequest` for what `check_record`
        refuses.
        """

    @abstractmethod
    async def put_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Record:
        """Set the value of a record, or delete the record if `value` is None, and return its new state.

        MUST change nothing and raise `VersionConflict` unless the record has `expected_version`, which is 0 for a key
        that was never used, and the version of the deletion for a deleted record. Of concurrent calls with the same
        `expected_version`, by any process, exactly one MUST succeed. The new version MUST be higher than every version
        in the store, and a reader of `record_changes` MUST NOT see version N before it can see all versions below N.
        A record MUST be as durable as a message. Raise `BadRequest` for what `check_record` refuses.
        """

    @abstractmethod
    async def scan_records(self, kind: str, prefix: str = "") -> Sequence[Record]:
        """Return the records of a kind that exist and whose keys begin with `prefix`, in the order of their keys.

        The order is that of the code points. Every character of `prefix` stands for itself, also `%`, `_`, `*` and `[`.
        MUST NOT cost more if there are many records of other kinds, and SHOULD NOT if many keys begin otherwise. Raise
        `BadRequest` for what `check_prefix` refuses.
        """

    @abstractmethod
    async def record_changes(self, after: Cursor | None) -> RecordChanges:
        """Return what changed after the cursor of the last call; everything if `after` is None.

        The cursor has an epoch of the store and its newest version. Deletions MUST be among the changes, but not in an
        answer that is `whole`. The answer MUST be `whole` if the store was wiped or restored since: then `after` has
        another epoch, or a version that the store has not reached. Calling again with the same cursor returns the same
        changes. Each process calls this once a second: without changes, a call MUST be one small read that does not
        wait for appends, and is as cheap as `poll_presence`. A record that changed often MAY be returned once.
        """

    # Administration of rooms

    @abstractmethod
    async def delete_room(self, room: str) -> bool:
        """Remove a room with its log and keys permanently; return whether it was in `rooms()`. If not, change nothing.

        Afterwards, the room MUST NOT be in `rooms()`, and its head is that of a room never written to, but with another
        epoch than before, so that a reader at an old cursor gets a gap. The epochs of other rooms MUST NOT change.
        Every process that watches the room, also this one, MUST get a `RoomAdvanced` with the new epoch and `last` 0,
        unless messages of the new log come first. Concurrent appends are numbered in the old log or in the new one.
        Atomicity: no reader MUST see a part of the old log; a large log MAY then be removed in steps, which MUST NOT
        delay appends for long, and which end even if the process is killed. The records of the room are the caller's.
        """

    @abstractmethod
    async def rename_room(self, room: str, new: str) -> bool:
        """Move the log of a room to the name `new`; return whether `room` was in `rooms()`. If not, change nothing.

        MUST raise `BadRequest` and change nothing if `new` is in `rooms()` or is `room`, or if the store cannot do it.
        Afterwards, the log with its epoch, numbers, times and keys is at `new`, so that cursors stay valid there, and
        `room` is as after `delete_room`. Two logs that were at one name at different times MUST NOT have the same epoch
        there: if another log may have had this epoch at `new`, the log MUST get a new one, and its readers get a gap.
        Every process that watches `room` or `new`, also this one, MUST get a `RoomAdvanced`: for `room` with its new
        epoch and `last` 0, for `new` with the epoch and end of the log. Atomicity: no reader MUST see the log at both
        names or at none. A concurrent append is in the log or, if it comes later, the first of the new log of `room`;
        it is never lost. The records are the caller's.
        """

    @abstractmethod
    async def load(self, messages: Sequence[Message]) -> int:
        """Store messages of another store as they are, and return how many were stored.

        The messages are of one room, in ascending order of `seq`, without holes; `check_load` raises `BadRequest` for
        others. Those up to the room's last `seq` are skipped, so that loading the same messages again stores nothing.
        If the first of the others is not the next `seq`, MUST raise `BadRequest` and store nothing, unless the room
        holds no message: then the log begins at that `seq`, like a log that was trimmed. If its sender has used the key
        of a message for another one, MUST raise `KeyConflict` and store nothing. `seq`, `time_ms`, `sender`, `body`,
        `data`, `key`, `redacted`, `verified`, `bot`, `of`, `act` and `mentions` MUST be kept, and what refers to a
        message MUST be folded as after `append`; the epoch is the room's. All or none are stored, as with `append`.
        Every process that watches the room, also this one, MUST get a `RoomAdvanced`. The caller limits the size of a
        call, as it does for `append`. A backend that keeps no history raises `BadRequest`.
        """
