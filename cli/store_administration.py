"""Administration of a store that is opened without a server, with the methods of `AdminClient` that the commands use.

A person who can open the store may change everything in it. The audit names the login name, and `store` as the way.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from chatkit.cli.store_client import view_of_room
from chatkit.cli.store_consumer import read_start
from chatkit.core.access import ALL_ROOMS, EVERYTHING, BanSubject, Credential, Grant, Identity
from chatkit.core.access_table import AccessTable
from chatkit.core.administration import Administration, NewToken
from chatkit.core.audit import Audit
from chatkit.core.consumers import Consumers
from chatkit.core.history import read_history
from chatkit.core.model import Cursor, Message, check_room
from chatkit.core.moderation import REFUSAL_S, Moderation
from chatkit.core.subscription import Subscription
from chatkit.core.token import TokenKind
from chatkit.core.webhook import WebhookEvent
from chatkit.core.webhooks import Webhooks
from chatkit.errors import NotFound, RoomRenamed, Unavailable
from chatkit.toolkit import open_backend
from chatkit.webhooks.address import AddressPolicy, check_networks
from chatkit.wire.access import BanView, NewTokenView, RoomSettingsChange, TokenView
from chatkit.wire.consumers import ConsumerView
from chatkit.wire.http import RoomView
from chatkit.wire.protocol import WireMessage
from chatkit.wire.webhooks import ExchangeView, NewWebhookView, WebhookView

Result = TypeVar("Result")


class StoreAdministration:
    """Changes access in the store at a URL, in the name of the person who runs the command. Enter it with `with`.

    Without `make`, entering raises `NotAStore` if the store does not exist.
    """

    def __init__(self, url: str, name: str, *, make: bool) -> None:
        self._by = Identity(name, grants=EVERYTHING, credential=Credential.STORE)
        self._backend = open_backend(url, make=make)
        self._audit = Audit(self._backend, _now_ms)
        self._administration = Administration(self._backend, _now_ms, self._audit)
        self._moderation = Moderation(self._backend, _now_ms, self._audit, refusal_s=REFUSAL_S)
        self._consumers = Consumers(self._backend, self._backend, _subscribe, _now_ms, AccessTable())
        self._webhooks = Webhooks(self._backend, self._backend, self._consumers, _now_ms, self._audit)
        self._runner = asyncio.Runner()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self._runner)
            self._run(self._backend.__aenter__())
            opened.callback(lambda: self._run(self._backend.__aexit__(None, None, None)))
            opened.callback(lambda: self._run(self._audit.close()))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()

    def add_token(
        self,
        name: str,
        grants: Sequence[Grant],
        *,
        kind: TokenKind = TokenKind.PERSON,
        expires_ms: int | None = None,
        signing_secret: str | None = None,
    ) -> NewTokenView:
        """Make a token that binds a name."""
        made = self._administration.add_token(
            self._by, name, grants, kind=kind, expires_ms=expires_ms, signing_secret=signing_secret
        )
        return _view_of_new(self._run(made))

    def make_invite(self, grants: Sequence[Grant], *, uses: int = 1, expires_ms: int | None = None) -> NewTokenView:
        """Make an invite that can be redeemed `uses` times."""
        made = self._administration.make_invite(self._by, grants, uses=uses, expires_ms=expires_ms)
        return _view_of_new(self._run(made))

    def tokens(self) -> list[TokenView]:
        """List all tokens."""
        return [TokenView.of(token) for token in self._run(self._administration.tokens(self._by))]

    def revoke(self, token_id: str) -> TokenView:
        """Revoke a token and return it."""
        return TokenView.of(self._run(self._administration.revoke(self._by, token_id)))

    def remove(self, token_id: str) -> TokenView:
        """Remove a token that was revoked or has expired, and return it."""
        return TokenView.of(self._run(self._administration.remove(self._by, token_id)))

    def rotate(self, token_id: str, *, overlap_s: int = 0) -> NewTokenView:
        """Replace the secret of a token."""
        return _view_of_new(self._run(self._administration.rotate(self._by, token_id, overlap_s=overlap_s)))

    def bans(self) -> list[BanView]:
        """List the bans."""
        return [BanView.of(ban) for ban in self._run(self._moderation.bans(self._by))]

    def ban(
        self,
        subject: str,
        *,
        kind: BanSubject | None = None,
        room: str = ALL_ROOMS,
        until_ms: int | None = None,
        reason: str = "",
        is_mute: bool = False,
    ) -> BanView:
        """Ban a name, a network or a token, from a room or from all."""
        banned = self._moderation.ban(
            self._by, subject, kind=kind, room=room, until_ms=until_ms, reason=reason, is_mute=is_mute
        )
        return BanView.of(self._run(banned))

    def unban(self, ban_id: str) -> BanView:
        """Remove a ban and return it."""
        return BanView.of(self._run(self._moderation.unban(self._by, ban_id)))

    def room(self, room: str) -> RoomView:
        """Describe one room. Raise `RoomRenamed` for the old name of one."""
        renamed_to = self._run(self._moderation.room_settings(room)).renamed_to
        if renamed_to is not None:
            raise RoomRenamed(room, renamed_to)
        return self._run(view_of_room(self._backend, room))

    def set_room(self, room: str, change: RoomSettingsChange) -> RoomView:
        """Change settings of a room and return the room."""
        self._run(self._moderation.set_room(self._by, room, change.apply))
        return self.room(room)

    def delete_room(self, room: str) -> None:
        """Delete a room and its log for good."""
        self._run(self._moderation.delete_room(self._by, room))

    def rename_room(self, room: str, new: str) -> RoomView:
        """Give a room another name and return it."""
        self._run(self._moderation.rename_room(self._by, room, new))
        return self.room(new)

    def message(self, room: str, seq: int) -> Message | None:
        """Return a message in its current state, or a change as it was written; None if it is not stored."""
        for folded in (True, False):
            page = self._run(read_history(self._backend, room, after=seq - 1, before=seq + 1, limit=1, folded=folded))
            if page.messages:
                return page.messages[0]
        return None

    def redact(self, room: str, seq: int) -> WireMessage:
        """Redact a message: remove its body and data for good. Return what remains of it."""
        message = self.message(check_room(room), seq)
        if message is None:
            raise NotFound(f"there is no message {seq} in {room!r}")
        return WireMessage.of_message(self._run(self._moderation.redact(self._by, message)))

    def consumers(self, room: str | None = None) -> list[ConsumerView]:
        """List the consumers of a room, or of all rooms."""
        return [ConsumerView.of(each) for each in self._run(self._consumers.statuses(room))]

    def consumer(self, room: str, name: str) -> ConsumerView:
        """Describe a consumer."""
        return ConsumerView.of(self._run(self._consumers.consumer(room, name).status()))

    def put_consumer(self, room: str, name: str, *, after: str) -> ConsumerView:
        """Move a consumer, or make it."""
        status, _ = self._run(self._consumers.put(room, name, owner=self._by.name, after=read_start(after)))
        return ConsumerView.of(status)

    def delete_consumer(self, room: str, name: str) -> None:
        """Delete a consumer."""
        self._run(self._consumers.consumer(room, name).delete())

    def add_webhook(
        self,
        url: str,
        rooms: Sequence[str],
        events: Sequence[WebhookEvent] = (WebhookEvent.MESSAGE,),
        *,
        mention: str | None = None,
    ) -> NewWebhookView:
        """Make a webhook. The servers of the store send its requests."""
        return NewWebhookView.made(self._run(self._webhooks.add(self._by, url, rooms, events, mention=mention)))

    def webhooks(self) -> list[WebhookView]:
        """List all webhooks."""
        return [WebhookView.of(status) for status in self._run(self._webhooks.statuses(self._by))]

    def webhook(self, webhook_id: str) -> WebhookView:
        """Return a webhook."""
        return WebhookView.of(self._run(self._webhooks.status(self._by, webhook_id)))

    def remove_webhook(self, webhook_id: str) -> WebhookView:
        """Remove a webhook and return it."""
        return WebhookView.of(self._run(self._webhooks.remove(self._by, webhook_id)))

    def resume_webhook(self, webhook_id: str) -> WebhookView:
        """Let the servers try a webhook again, and return it."""
        return WebhookView.of(self._run(self._webhooks.resume(self._by, webhook_id)))

    def test_webhook(self, webhook_id: str, *, allow: Sequence[str] = ()) -> ExchangeView:
        """Send a test to a webhook from this process, which may connect to the networks `allow`, too."""
        return self._run(self._test_webhook(webhook_id, allow))

    async def _test_webhook(self, webhook_id: str, allow: Sequence[str]) -> ExchangeView:
        from chatkit.webhooks.exchange import send_test
        from chatkit.webhooks.sender import Sender

        webhook = (await self._webhooks.status(self._by, webhook_id)).webhook
        sender = Sender(AddressPolicy(check_networks(allow)))
        try:
            return (await send_test(sender, webhook, self._by.name, _now_ms())).view(webhook.url)
        finally:
            await sender.close()

    def _run(self, call: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(call)


def _view_of_new(new: NewToken) -> NewTokenView:
    return NewTokenView.made(new.token, new.secret)


async def _subscribe(room: str, *, after: Cursor) -> Subscription:
    raise Unavailable(f"the store has no reader of {room} that waits after {after}")  # nothing here takes messages


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
