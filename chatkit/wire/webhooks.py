"""Outgoing webhooks as JSON: what the HTTP API shows of them, and the bodies of the requests that they are sent.

The bodies follow Standard Webhooks: `type`, `timestamp` and `data`. The texts of views hold no secret, except for the
JSON of the answer that makes a webhook.
"""

from typing import Any, Literal, Self, TypeAlias

import msgspec

from chatkit.core.model import Gap, GapReason, Message, format_time
from chatkit.core.webhook import Webhook, WebhookEvent, WebhookStatus
from chatkit.wire.messages import WireMessage

WebhookState: TypeAlias = Literal["active", "failing", "parked"]


class WebhookView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A webhook without its secret.

    While its requests fail, the state is `failing`: `failures` is their number since `failing_since`, `reason`
    describes the last, and it is tried again at `next_try`. After days, or if the receiver answers 410, it is `parked`.
    """

    id: str
    url: str
    rooms: tuple[str, ...]
    events: tuple[WebhookEvent, ...]
    created: str
    made_by: str
    state: WebhookState
    mention: str | None = None
    failures: int = 0
    failing_since: str | None = None
    next_try: str | None = None
    parked: str | None = None
    reason: str = ""

    @classmethod
    def of(cls, status: WebhookStatus) -> Self:
        """Make the view of a webhook."""
        webhook, failures = status.webhook, status.failures
        base = cls(
            webhook.id,
            webhook.url,
            webhook.rooms,
            webhook.events,
            format_time(webhook.created_ms),
            webhook.made_by,
            "active",
            webhook.mention,
        )
        if failures is None:
            return base
        is_parked = failures.parked_ms is not None
        return msgspec.structs.replace(
            base,
            state="parked" if is_parked else "failing",
            failures=failures.n_failed,
            failing_since=format_time(failures.failing_since_ms),
            next_try=None if is_parked else format_time(failures.next_ms),
            parked=None if failures.parked_ms is None else format_time(failures.parked_ms),
            reason=failures.reason,
        )


class NewWebhookView(WebhookView, frozen=True, omit_defaults=True, kw_only=True):
    """A webhook with its secret, in the only answer that holds it."""

    secret: str

    @classmethod
    def made(cls, webhook: Webhook) -> Self:
        """Make the view of a webhook that was just made."""
        return cls(**msgspec.structs.asdict(WebhookView.of(WebhookStatus(webhook))), secret=webhook.secret)

    def __repr__(self) -> str:
        return f"NewWebhookView({self.id!r})"


class WebhookListing(msgspec.Struct, frozen=True):
    """Webhooks, the oldest first."""

    webhooks: list[WebhookView]


class WebhookRequest(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A webhook to make. `rooms` are names and patterns. Without `mention`, the mentions of anybody are sent."""

    url: str
    rooms: tuple[str, ...]
    events: tuple[WebhookEvent, ...] = (WebhookEvent.MESSAGE,)
    mention: str | None = None


class Header(msgspec.Struct, frozen=True):
    """A header of a request or an answer."""

    name: str
    value: str


class ExchangeRequest(msgspec.Struct, frozen=True):
    """A request as it was sent."""

    method: str
    url: str
    headers: tuple[Header, ...]
    body: str


class ExchangeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the receiver answered. If `cut`, only the beginning of the body was read."""

    status: int
    headers: tuple[Header, ...]
    body: str
    cut: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of a header, whose name is given in small letters."""
        return next((each.value for each in self.headers if each.name.lower() == name), None)


class ExchangeView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A test of a webhook: the request and its answer. If it was not `ok`, `error` is a sentence."""

    ok: bool
    duration_s: float
    request: ExchangeRequest
    answer: ExchangeAnswer | None = None
    error: str | None = None


# Bodies of the requests


class _Event(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: Any


class _Presence(msgspec.Struct, frozen=True):
    room: str
    name: str
    count: int


class _Gap(msgspec.Struct, frozen=True):
    room: str
    after: int
    before: int
    reason: GapReason


class _Test(msgspec.Struct, frozen=True):
    rooms: tuple[str, ...]
    by: str


_encode = msgspec.json.Encoder().encode


def message_body(event: WebhookEvent, message: Message) -> bytes:
    """Return the body about a message or a mention."""
    return _encode(_Event(event.value, message.time, WireMessage.of_message(message)))


def gap_body(room: str, gap: Gap, now_ms: int) -> bytes:
    """Return the body about messages that are not available any more."""
    return _encode(_Event("gap", format_time(now_ms), _Gap(room, gap.after, gap.before, gap.reason)))


def presence_body(event: WebhookEvent, room: str, name: str, count: int, now_ms: int) -> bytes:
    """Return the body about somebody who joined or left a room, which has `count` members then."""
    return _encode(_Event(event.value, format_time(now_ms), _Presence(room, name, count)))


def trial_body(webhook: Webhook, by: str, now_ms: int) -> bytes:
    """Return the body of a test that a person asked for."""
    return _encode(_Event("test", format_time(now_ms), _Test(webhook.rooms, by)))
