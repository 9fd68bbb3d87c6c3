"""The key of a webhook's message: its sender repeats a delivery with the same id, and it is stored once."""

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

MAX_ID_CHARS: Final = 64  # of an id that is a part of the key; those of the senders have 36


class DeliveryKey(NamedTuple):
    """A key. If the sender made it for a delivery, a repeat with other content is nevertheless the same delivery."""

    key: str
    is_delivery_id: bool


def key_of(headers: Mapping[str, str], body: bytes) -> DeliveryKey | None:
    """Return the key of a request, or None if it has no id.

    `Idempotency-Key` is the key as it is, for GitLab and any other client. GitLab before 17.4 sends only the id of an
    event, which events that it causes have too, so that the body has to be the same.
    """
    if key := headers.get("idempotency-key"):
        return DeliveryKey(key, is_delivery_id=False)
    if delivery := headers.get("x-github-delivery"):
        return DeliveryKey(f"github:{_short(delivery)}", is_delivery_id=True)
    if event := headers.get("x-gitlab-event-uuid"):
        return DeliveryKey(f"gitlab:{_short(event)}:{hashlib.sha256(body).hexdigest()[:16]}", is_delivery_id=True)
    if message := headers.get("webhook-id"):  # Standard Webhooks
        return DeliveryKey(f"webhook:{_short(message)}", is_delivery_id=True)
    return None


def _short(delivery_id: str) -> str:
    is_plain = len(delivery_id) <= MAX_ID_CHARS and delivery_id.isascii() and delivery_id.isprintable()
    return delivery_id if is_plain else hashlib.sha256(delivery_id.encode(errors="replace")).hexdigest()
