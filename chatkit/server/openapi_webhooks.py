"""The part of the OpenAPI document about outgoing webhooks."""

from typing import Any, Final

from chatkit.core.webhook import MAX_ROOMS, MAX_URL_CHARS, WebhookEvent
from chatkit.server.openapi_access import PATTERN_PATTERN
from chatkit.server.openapi_parts import (
    Json,
    json_content,
    name_schema,
    operation,
    parameter,
    responses_of,
    summary_of,
)
from chatkit.wire.webhooks import ExchangeView, NewWebhookView, WebhookListing, WebhookRequest, WebhookView

STRUCTS: Final = (WebhookListing, NewWebhookView, WebhookView, WebhookRequest, ExchangeView)
_TAG: Final = "webhooks"


def webhook_paths() -> dict[str, Json]:
    """Return the addresses of webhooks."""
    schema = {"type": "string", "pattern": "^[a-z0-9]{8,12}$"}
    one = {"parameters": [parameter("webhook_id", "path", schema, "The webhook.")]}
    answers = responses_of(WebhookView, 400, 404, 503)
    listed = _operation("listWebhooks", "List the webhooks of the rooms that the client moderates", WebhookListing)
    tested = responses_of(ExchangeView, 400, 404, 503)
    return {
        "/webhooks": {"get": listed, "post": _add()},
        "/webhooks/{webhook_id}": {
            **one,
            "get": operation("showWebhook", "Show a webhook", answers, tag=_TAG),
            "delete": operation("removeWebhook", "Remove a webhook", answers, tag=_TAG),
        },
        "/webhooks/{webhook_id}/test": {
            **one,
            "post": operation("testWebhook", "Send a test, and show the request and its answer", tested, tag=_TAG),
        },
        "/webhooks/{webhook_id}/resume": {
            **one,
            "post": operation("resumeWebhook", "Try again what fails or was parked", answers, tag=_TAG),
        },
    }


def webhook_schemas() -> dict[str, Json]:
    """Return what msgspec cannot derive of the schemas of requests, by schema and property."""
    room = {"type": "string", "pattern": PATTERN_PATTERN}
    return {
        "WebhookRequest": {
            "url": {"type": "string", "pattern": "^https?://[!-~]+$", "maxLength": MAX_URL_CHARS},
            "rooms": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": room},
            "events": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "string", "enum": [event.value for event in WebhookEvent]},
                "default": [WebhookEvent.MESSAGE.value],
            },
            "mention": {"anyOf": [name_schema(), {"type": "null"}], "default": None},
        }
    }


def _add() -> Json:
    example: dict[str, Any] = {"url": "https://example.org/hook", "rooms": ["ops"], "events": ["message"]}
    made = responses_of(NewWebhookView, 400, 404, 413, 503, status=201)
    body = {
        "required": True,
        "description": summary_of(WebhookRequest),
        "content": json_content(WebhookRequest, example),
    }
    return {**operation("addWebhook", "Make a webhook", made, tag=_TAG), "requestBody": body}


def _operation(name: str, summary: str, struct: type) -> Json:
    return operation(name, summary, responses_of(struct, 400, 503), tag=_TAG)
