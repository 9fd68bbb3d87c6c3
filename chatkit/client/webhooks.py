"""The calls about outgoing webhooks. Blocking, as those of `http`."""

from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from chatkit.client.http import HttpClient
from chatkit.client.validation import MAX_COUNT, MAX_NAME_CHARS, MAX_SENTENCE_CHARS, decode, incompatible, read_time
from chatkit.core.webhook import MAX_URL_CHARS, WebhookEvent
from chatkit.wire.webhooks import ExchangeView, NewWebhookView, WebhookListing, WebhookRequest, WebhookView

MAX_SHOWN_CHARS: Final = 1 << 20  # of a test: it is printed

View = TypeVar("View", WebhookView, NewWebhookView)


class WebhookClient(HttpClient):
    """The calls of a server's moderators about its outgoing webhooks. Every call may raise the server's refusal."""

    def add_webhook(
        self,
        url: str,
        rooms: Sequence[str],
        events: Sequence[WebhookEvent] = (WebhookEvent.MESSAGE,),
        *,
        mention: str | None = None,
    ) -> NewWebhookView:
        """Make a webhook that sends events of rooms to an address. The result has the secret that signs them.

        `rooms` are names and patterns. `mention` is the name whose mentions are sent; None stands for those of anybody.
        """
        body = msgspec.json.encode(WebhookRequest(url, tuple(rooms), tuple(events), mention))
        return _check(decode(self._call("POST", "/webhooks", body, once=True).body, NewWebhookView))

    def webhooks(self) -> list[WebhookView]:
        """List the webhooks of the rooms that the client moderates, the oldest first."""
        return [_check(view) for view in decode(self._call("GET", "/webhooks").body, WebhookListing).webhooks]

    def webhook(self, webhook_id: str) -> WebhookView:
        """Return a webhook."""
        return _check(decode(self._call("GET", _path(webhook_id)).body, WebhookView))

    def remove_webhook(self, webhook_id: str) -> WebhookView:
        """Remove a webhook and return it."""
        return _check(decode(self._call("DELETE", _path(webhook_id), once=True).body, WebhookView))

    def resume_webhook(self, webhook_id: str) -> WebhookView:
        """Let the server try a webhook again that fails or was parked, and return it."""
        return _check(decode(self._call("POST", f"{_path(webhook_id)}/resume").body, WebhookView))

    def test_webhook(self, webhook_id: str) -> ExchangeView:
        """Let the server send a test to a webhook, and return the request and its answer."""
        answer = self._call("POST", f"{_path(webhook_id)}/test", once=True)
        if len(answer.body) > MAX_SHOWN_CHARS:
            raise incompatible("a test that is too long")
        return decode(answer.body, ExchangeView)


def _path(webhook_id: str) -> str:
    return f"/webhooks/{quote(webhook_id, safe='')}"


def _check(view: View) -> View:
    for text in (view.id, view.made_by, view.mention or "", *view.rooms):
        if len(text) > MAX_NAME_CHARS:
            raise incompatible(f"a name of {len(text)} characters")
    if len(view.url) > MAX_URL_CHARS or len(view.reason) > MAX_SENTENCE_CHARS or not 0 <= view.failures <= MAX_COUNT:
        raise incompatible("a webhook out of range")
    for time in (view.created, view.failing_since, view.next_try, view.parked):
        if time is not None:
            read_time(time)
    return view
