"""Exchange: a request to a webhook and what came of it. Values only; `sender` makes them."""

from http import HTTPStatus
from typing import Final, Protocol

import msgspec

from chatkit.core.webhook import Webhook
from chatkit.wire.webhooks import ExchangeAnswer, ExchangeRequest, ExchangeView, Header, trial_body

REQUEST_S: Final = 10.0  # the whole request, from the name to the end of the answer

Headers = tuple[Header, ...]


class Exchange(msgspec.Struct, frozen=True):
    """A request that was sent, and its answer; without an answer, `error` is a sentence."""

    headers: Headers
    body: str
    duration_s: float
    answer: ExchangeAnswer | None = None
    error: str = ""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver accepted the request."""
        return self.answer is not None and 200 <= self.answer.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more requests."""
        return self.answer is not None and self.answer.status == HTTPStatus.GONE

    def view(self, url: str) -> ExchangeView:
        """Return the exchange with the webhook at an address as JSON shows it."""
        request = ExchangeRequest("POST", url, self.headers, self.body)
        error = None if self.is_delivered else self.reason
        return ExchangeView(self.is_delivered, round(self.duration_s, 3), request, self.answer, error)

    @property
    def reason(self) -> str:
        """A sentence about the failure."""
        if self.answer is None:
            return self.error
        status = self.answer.status
        phrase = next((f" {each.phrase}" for each in HTTPStatus if each == status), "")
        redirect = ", and redirects are not followed" if 300 <= status < 400 else ""
        return f"the receiver answered {status}{phrase}{redirect}"


class Sends(Protocol):
    """Sends requests to webhooks, as `Sender` does."""

    async def send(self, webhook: Webhook, event_id: str, body: bytes) -> Exchange:
        """Send a request and return what came of it."""

    async def close(self) -> None:
        """Close all connections."""


async def send_test(sender: Sends, webhook: Webhook, by: str, now_ms: int) -> Exchange:
    """Send a test to a webhook, once, in the name of a person."""
    return await sender.send(webhook, f"msg_test_{webhook.id}_{now_ms}", trial_body(webhook, by, now_ms))
