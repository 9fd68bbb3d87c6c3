"""Webhook: an address to which a server sends what happens in rooms. The values, and the rules for them.

Pure and synchronous. A webhook's secret is stored as it is, because every request is signed with it: those who can
read the store can sign as the server does. No `repr` shows it.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import msgspec

from chatkit.core.access import Identity, Right, check_pattern, is_system_room
from chatkit.core.model import Gap, Message
from chatkit.errors import BadRequest

MAX_ROOMS: Final = 32  # names and patterns of a webhook
MAX_URL_CHARS: Final = 2_000
SECRET_BYTES: Final = 32  # Standard Webhooks: 24 to 64
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of all secrets
URL_RULE: Final = "the address of a webhook looks like https://example.org/hook, in ASCII, without a name and password"


class WebhookEvent(StrEnum):
    """What a webhook can be sent. A message is sent once: as a mention, if it is one and mentions were asked for."""

    MESSAGE = "message"
    MENTION = "mention"
    JOIN = "join"
    LEAVE = "leave"


LOG_EVENTS: Final = frozenset({WebhookEvent.MESSAGE, WebhookEvent.MENTION})


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address that gets events of the rooms that a name or pattern in `rooms` matches, as in a grant.

    `mention` is the name whose mentions are sent; None stands for those of anybody. `secret` signs every request.
    """

    id: str
    url: str
    rooms: tuple[str, ...]
    events: tuple[WebhookEvent, ...]
    secret: str
    made_by: str
    created_ms: int
    mention: str | None = None

    def __repr__(self) -> str:
        return f"Webhook({self.id!r})"  # a log or traceback must not hold the secret

    @property
    def consumer(self) -> str:
        """The name of the consumers that keep its positions, one in each room."""
        return f"webhook.{self.id}"

    @property
    def host(self) -> str:
        """The scheme and the host of its address. The rest may be a secret of its receiver."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def sends_log(self) -> bool:
        """Whether it is sent messages, all or some."""
        return not LOG_EVENTS.isdisjoint(self.events)

    @property
    def sends_members(self) -> bool:
        """Whether it is sent who joins or leaves."""
        return WebhookEvent.JOIN in self.events or WebhookEvent.LEAVE in self.events

    @property
    def named_rooms(self) -> list[str]:
        """The rooms that it names, as they were called then."""
        return [room for room in self.rooms if not room.endswith("*")]

    def matching(self, rooms: Iterable[str]) -> list[str]:
        """Return those of the rooms of which it is sent something."""
        names = self.named_rooms
        beginnings = tuple(room[:-1] for room in self.rooms if room.endswith("*"))
        found = (room for room in rooms if room in names or room.startswith(beginnings))
        return [room for room in found if not is_system_room(room)]

    def event_of(self, message: Message) -> WebhookEvent | None:
        """Return as what a message is sent; None if it is not."""
        if WebhookEvent.MENTION in self.events:
            is_mention = bool(message.mentions) if self.mention is None else self.mention in message.mentions
            if is_mention:
                return WebhookEvent.MENTION
        return WebhookEvent.MESSAGE if WebhookEvent.MESSAGE in self.events else None

    def message_id(self, message: Message) -> str:
        """Return the id of the request about a message: the same each time it is sent."""
        return self._id(message.room, message.epoch, message.seq)

    def gap_id(self, room: str, gap: Gap) -> str:
        """Return the id of the request about a gap."""
        return self._id(room, gap.reason, gap.after, gap.before)

    def _id(self, *parts: object) -> str:
        text = "\0".join(map(str, (self.id, *parts)))
        return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


class WebhookFailures(msgspec.Struct, frozen=True, omit_defaults=True):
    """The failures of a webhook since its last success. `reason` is a sentence about the last of them.

    It is tried again at `next_ms`, unless it was parked: then somebody has to resume it. Times are Unix milliseconds.
    """

    failing_since_ms: int
    n_failed: int
    next_ms: int
    reason: str
    parked_ms: int | None = None


class WebhookStatus(msgspec.Struct, frozen=True):
    """A webhook, and its failures, or None if the last request succeeded."""

    webhook: Webhook
    failures: WebhookFailures | None = None


def new_secret() -> str:
    """Return a new secret, in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def rights_needed(rooms: Iterable[str]) -> list[tuple[Right, str | None]]:
    """Return the rights that a person needs to see, make or change a webhook of these rooms.

    That is `moderate` in a room, and `admin` on all rooms for a pattern: it also matches rooms that are yet to come.
    """
    return [(Right.ADMIN, None) if room.endswith("*") else (Right.MODERATE, room) for room in rooms]


def may_manage(by: Identity, webhook: Webhook) -> bool:
    """Return whether `by` has the rights to see and change a webhook."""
    return all(by.has(right, room) for right, room in rights_needed(webhook.rooms))


def check_rooms(rooms: Sequence[str]) -> tuple[str, ...]:
    """Return the rooms of a new webhook in NFC, each once. Raise `BadRequest`."""
    checked = tuple(dict.fromkeys(map(check_pattern, rooms)))
    if not 1 <= len(checked) <= MAX_ROOMS:
        raise BadRequest(f"a webhook is for 1 to {MAX_ROOMS} rooms or patterns")
    return checked


def check_events(events: Sequence[WebhookEvent], mention: str | None) -> tuple[WebhookEvent, ...]:
    """Return the events of a new webhook, each once. Raise `BadRequest`."""
    if not events:
        raise BadRequest(f"a webhook is sent at least one of {', '.join(WebhookEvent)}")
    if mention is not None and WebhookEvent.MENTION not in events:
        raise BadRequest("a name whose mentions are sent needs the event 'mention'")
    return tuple(event for event in WebhookEvent if event in events)


def check_url(url: str) -> str:
    """Return the address of a new webhook. Raise `BadRequest`."""
    if len(url) > MAX_URL_CHARS:
        raise BadRequest(f"the address of a webhook has at most {MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, or a bracket without its other
        is_valid = False
    is_plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if not is_valid or not is_plain or "@" in parts.netloc or "#" in url:
        raise BadRequest(URL_RULE)
    return url
