"""Moderation: bans, mutes, settings of rooms and redactions, each change with an entry in the audit.

As with `Administration`, each method checks the grants of `by`, and the caller whether `by` is banned or was revoked.
Only for a redaction does the caller check the grants, too.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec
from msgspec.structs import replace

from chatkit.core import access_records
from chatkit.core.access import (
    ALL_ROOMS,
    DEFAULT_ROOM_SETTINGS,
    Ban,
    BanSubject,
    Identity,
    Right,
    RoomSettings,
    no_such_room,
    require,
)
from chatkit.core.access_store import AccessStore
from chatkit.core.audit import Audit, AuditEvent
from chatkit.core.backend import Backend, Filter
from chatkit.core.ban_list import BanList, parse_network
from chatkit.core.consumer_records import move_consumers
from chatkit.core.message_state import Act
from chatkit.core.model import Draft, Message, check_end, check_room, check_sender, format_time
from chatkit.core.read_state import move_markers
from chatkit.core.renaming import Renaming
from chatkit.core.token import new_token_id, parse_secret
from chatkit.errors import BadReference, BadRequest, NotFound

MAX_BANS: Final = 10_000  # of a store: each process keeps all of them in memory
MAX_BANS_OF_MODERATOR: Final = 1_000  # so that one moderator cannot use up all of them
KEPT_FOR_ADMINS: Final = 1_000  # of all bans: many moderators cannot use them up, either
MAX_REASON_CHARS: Final = 200
MAX_TOPIC_CHARS: Final = 250
MAX_SUBJECT_CHARS: Final = 64
MAX_KEEP: Final = 2**53  # what JSON numbers hold exactly
REFUSAL_S: Final = 1.5  # processes look for changed settings once a second
_LIKE_NETWORK: Final = re.compile(
    r"[0-9]+(\.[0-9]+){3}|[0-9.]+/[0-9]+|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*(/[0-9]*)?"
)
KICK_S: Final = 60  # longer than the back-off of clients, so that they do not simply come back


class Moderation:
    """Changes bans, rooms and messages in the store of a backend. `now_ms` is the clock, as Unix milliseconds.

    `refusal_s` is the time after which every process on the store refuses what a changed setting forbids.
    """

    def __init__(
        self, backend: Backend, now_ms: Callable[[], int], audit: Audit | None = None, *, refusal_s: float = 0
    ) -> None:
        self._refusal_s = refusal_s
        self._audit = audit or Audit(backend, now_ms)
        self._backend = backend
        self._store = AccessStore(backend)
        self._now_ms = now_ms

    # Bans

    async def ban(
        self,
        by: Identity,
        subject: str,
        *,
        kind: BanSubject | None = None,
        room: str = ALL_ROOMS,
        until_ms: int | None = None,
        reason: str = "",
        is_mute: bool = False,
    ) -> Ban:
        """Ban a token, a name or a network from a room, or from all; a mute forbids everything except reading.

        Without a `kind`, the subject is a network if it can be one, and else a name. Needs `moderate` on the room, or
        `admin` on all rooms. Raise `BadRequest` for a ban that would concern `by`, and for invalid values.
        """
        room = room if room == ALL_ROOMS else check_room(room)
        _require_moderator(by, room)
        kind = kind or _kind_of(subject)
        ban = Ban(
            new_token_id(),
            kind,
            _check_subject(kind, subject),
            room,
            _check_line("reason", reason, MAX_REASON_CHARS),
            by.name,
            self._now_ms(),
            until_ms,
            is_mute,
        )
        check_end(until_ms, ban.created_ms, "a ban")
        if BanList([ban]).on(by):
            raise BadRequest("this ban would concern you")
        await self._make_place_for_ban(by)
        await self._store.update(access_records.BAN, ban.id, Ban, lambda _: ban)
        await self._record_ban(AuditEvent.BAN_ADDED, by, "muted" if is_mute else "banned", ban)
        return ban

    async def _make_place_for_ban(self, by: Identity) -> None:
        """Raise `BadRequest` if there are too many bans. Those that have ended are removed first."""
        try:
            _check_number(by, await self._store.all(access_records.BAN, Ban))
        except BadRequest:
            if not await self.remove_ended_bans():
                raise
            _check_number(by, await self._store.all(access_records.BAN, Ban))

    async def kick(self, by: Identity, name: str, room: str, reason: str = "") -> Ban:
        """Ban a name from a room for a minute. Needs what `ban` needs."""
        until_ms = self._now_ms() + KICK_S * 1000
        return await self.ban(by, name, kind=BanSubject.NAME, room=room, until_ms=until_ms, reason=reason)

    async def unban(self, by: Identity, ban_id: str) -> Ban:
        """Remove a ban. Needs what `ban` needs. Raise `NotFound` if it does not exist, or `by` may not see it."""

        def delete(ban: Ban | None) -> None:
            if ban is None or not _moderates(by, ban.room):
                raise no_such_ban(ban_id)

        ban, _ = await self._store.update(access_records.BAN, ban_id, Ban, delete)
        if ban is None:
            raise no_such_ban(ban_id)
        await self._record_ban(AuditEvent.BAN_REMOVED, by, "removed the ban of", ban)
        return ban

    async def bans(self, by: Identity) -> list[Ban]:
        """Return the bans of the rooms that `by` moderates, the oldest first."""
        return await self._store.by_age(access_records.BAN, Ban, lambda ban: _moderates(by, ban.room))

    async def remove_ended_bans(self) -> int:
        """Delete the bans that have ended, and return their number. To be called now and then."""
        now_ms = self._now_ms()
        ended = await self._store.all(access_records.BAN, Ban, lambda ban: ban.has_ended(now_ms))
        for ban in ended:
            await self._store.update(access_records.BAN, ban.id, Ban, lambda _: None)
        return len(ended)

    async def _record_ban(self, event: AuditEvent, by: Identity, verb: str, ban: Ban) -> None:
        where = "all rooms" if ban.room == ALL_ROOMS else ban.room
        sentence = f"{verb} the {ban.kind} {ban.subject} in {where}" + (f": {ban.reason}" if ban.reason else "")
        details = {
            "kind": ban.kind.value,
            "room": ban.room,
            "reason": ban.reason,
            "until": None if ban.until_ms is None else format_time(ban.until_ms),
            "mute": ban.is_mute,
            "id": ban.id,
        }
        await self._audit.append(event, by, sentence, ban.subject, details)

    # Rooms

    async def room_settings(self, room: str) -> RoomSettings:
        """Return the settings of a room as the store has them."""
        settings = await self._store.get(access_records.ROOM, room, RoomSettings)
        return settings or DEFAULT_ROOM_SETTINGS

    async def set_room(self, by: Identity, room: str, change: Callable[[RoomSettings], RoomSettings]) -> RoomSettings:
        """Replace the settings of a room by `change(settings)`, which may be called again, and return the new ones.

        Needs `admin` on the room; for the topic alone, `moderate`. Raise `BadRequest` for invalid settings.
        """
        room = check_room(room)
        require(by, Right.MODERATE, room)

        def checked(before: RoomSettings | None) -> RoomSettings | None:
            before = before or DEFAULT_ROOM_SETTINGS
            after = _check_settings(change(before))
            if replace(after, topic=before.topic) != before:
                require(by, Right.ADMIN, room)
            return None if after == DEFAULT_ROOM_SETTINGS else after

        before, after = await self._store.update(access_records.ROOM, room, RoomSettings, checked)
        after = after or DEFAULT_ROOM_SETTINGS
        if after != (before or DEFAULT_ROOM_SETTINGS):
            details = {"settings": msgspec.to_builtins(after)}
            await self._audit.append(AuditEvent.ROOM_CHANGED, by, f"changed the settings of {room}", room, details)
        return after

    async def delete_room(self, by: Identity, room: str) -> None:
        """Delete a room with its log and settings. Needs `admin` on the room. Raise `NotFound` for an unknown room."""
        room = check_room(room)
        require(by, Right.ADMIN, room)
        has_log = await self._backend.delete_room(room)
        settings, _ = await self._store.update(access_records.ROOM, room, RoomSettings, lambda _: None)
        if not has_log and settings is None:
            raise no_such_room(room)
        await move_markers(self._backend, room, None)
        await self._audit.append(AuditEvent.ROOM_DELETED, by, f"deleted the room {room}", room)

    async def rename_room(self, by: Identity, room: str, new: str) -> None:
        """Give a room with its log, settings and bans another name. The old name then refers to the new one.

        Needs `admin` on both names. Raise `NotFound` if the room has no messages, `RoomRenamed` if it was renamed
        before, and `BadRequest` if the new name is taken. If it raises `Unavailable`, repeating it completes it.
        """
        for name in (room, new):
            require(by, Right.ADMIN, check_room(name))
        if room == new:
            raise BadRequest(f"the room has the name {room!r} already")
        await Renaming(self._backend, self._store, room, new, self._refusal_s).run()
        await move_markers(self._backend, room, new)
        await move_consumers(self._backend, room, new)
        await self._audit.append(
            AuditEvent.ROOM_RENAMED, by, f"renamed the room {room} to {new}", room, {"renamed_to": new}
        )

    # Messages

    async def redact(self, by: Identity, message: Message, *, is_audited: bool = True) -> Message:
        """Remove the body, data and edits of a stored message permanently, and return what remains of it.

        An entry of the room's log says so, for readers that are away, and, if `is_audited`, one of the audit. The
        caller checks whether `by` may: a sender may redact its own messages. To redact a message again changes nothing,
        and is no entry, unless the process was killed before it had stored the first one. Raise `BadReference` for a
        change of another message, and `NotFound` if the message is not stored any more.
        """
        if message.act is not None:
            raise BadReference(f"message {message.seq} is a change of message {message.of}: redact that one")
        redacted = await self._backend.redact(message.room, message.seq)
        if not message.redacted or not await self._has_entry_of_redaction(message):
            await self._audit.keep(_entry_of_redaction(by, message))
        if is_audited and not message.redacted:
            sentence = f"redacted message {message.seq} of {message.sender} in {message.room}"
            details = {"seq": message.seq, "sender": message.sender}
            await self._audit.append(AuditEvent.MESSAGE_REDACTED, by, sentence, message.room, details)
        return redacted

    async def _has_entry_of_redaction(self, message: Message) -> bool:
        page = await self._backend.read(message.room, where=Filter(of=message.seq))
        return any(entry.act is Act.REDACT for entry in page.messages)


def _entry_of_redaction(by: Identity, message: Message) -> Draft:
    return Draft(
        message.room,
        by.name,
        "",
        key=secrets.token_hex(8),
        verified=by.is_verified,
        bot=by.is_bot,
        of=message.seq,
        act=Act.REDACT,
    )


def redaction_right(by: Identity, message: Message) -> Right:
    """Return the right on the room that `by` needs to redact a message: that to write suffices for one's own.

    A moderator needs no right to write, which nobody has in an archived room.
    """
    is_own = by.is_verified and message.verified and message.sender == by.name
    return Right.WRITE if is_own and not by.has(Right.MODERATE, message.room) else Right.MODERATE


def _moderates(by: Identity, room: str) -> bool:
    """Return whether `by` may ban from a room, or from all rooms."""
    is_admin = by.has(Right.ADMIN, None)
    return is_admin or (room != ALL_ROOMS and by.has(Right.MODERATE, room))


def _require_moderator(by: Identity, room: str) -> None:
    if not _moderates(by, room):
        require(by, Right.MODERATE, None if room == ALL_ROOMS else room)


def _check_number(by: Identity, bans: Sequence[Ban]) -> None:
    """Raise `BadRequest` if `by` may not make another ban beside these."""
    advice = "remove some with 'chatkit ban remove', or ban a network in place of many names"
    if len(bans) >= MAX_BANS:
        raise BadRequest(f"a store holds at most {MAX_BANS} bans: {advice}")
    if by.has(Right.ADMIN, None):
        return
    if len(bans) >= MAX_BANS - KEPT_FOR_ADMINS:
        raise BadRequest(f"moderators can make {MAX_BANS - KEPT_FOR_ADMINS} bans in all: ask an administrator")
    if sum(ban.made_by == by.name for ban in bans) >= MAX_BANS_OF_MODERATOR:
        raise BadRequest(f"a moderator can make {MAX_BANS_OF_MODERATOR} bans: {advice}")


def _kind_of(subject: str) -> BanSubject:
    """Return `NETWORK` for a network. Raise `BadRequest` for what looks like one: as a name, it is banned in vain."""
    try:
        parse_network(subject)
    except BadRequest:
        if _LIKE_NETWORK.fullmatch(subject):
            raise
        return BanSubject.NAME
    return BanSubject.NETWORK


def _check_subject(kind: BanSubject, subject: str) -> str:
    match kind:
        case BanSubject.NETWORK:
            return str(parse_network(subject))
        case BanSubject.NAME:
            return check_sender(subject)
        case BanSubject.TOKEN:
            secret = parse_secret(subject)  # which somebody took for the id: it must not be stored
            return _check_line("id", subject if secret is None else secret.token_id, MAX_SUBJECT_CHARS)
        case _:
            assert_never(kind)


def _check_line(what: str, text: str, max_chars: int) -> str:
    """Return the text. Raise `BadRequest` if it is too long, or more than one printable line."""
    if len(text) > max_chars or not text.isprintable():
        raise BadRequest(f"a {what} is at most {max_chars} printable characters")
    return text


def _check_settings(settings: RoomSettings) -> RoomSettings:
    _check_line("topic", settings.topic, MAX_TOPIC_CHARS)
    if any(value is not None and not 1 <= value <= MAX_KEEP for value in (settings.keep, settings.keep_for_s)):
        raise BadRequest("keep and keep_for_s are at least 1")
    if settings.renamed_to is not None:
        check_room(settings.renamed_to)
    return settings


def no_such_ban(ban_id: str) -> NotFound:
    """Make the error for a ban that does not exist, or that the client may not see."""
    return NotFound(f"there is no ban {ban_id[:80]!r}")
