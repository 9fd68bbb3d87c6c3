"""The HTTP API of outgoing webhooks. `Webhooks` checks the grants. Bans of the client that asks are checked here."""

from urllib.parse import urlsplit

from litestar import Response, Router, delete, get, post
from litestar.datastructures import State  # Litestar reads the annotations
from litestar.di import NamedDependency
from litestar.params import FromPath

from chatkit.core.access import Identity
from chatkit.core.webhook import Webhook, WebhookStatus, check_rooms, rights_needed
from chatkit.core.webhooks import no_such_webhook
from chatkit.errors import BadRequest
from chatkit.server.admission import Admission, check_request
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.long_answer import answer_list
from chatkit.server.request_body import read_body
from chatkit.webhooks.deliverer import Deliverer
from chatkit.wire.costs import LIST_COST
from chatkit.wire.webhooks import (
    ExchangeView,
    NewWebhookView,
    WebhookListing,
    WebhookRequest,
    WebhookView,
)


@get("/webhooks")
async def list_webhooks(admission: NamedDependency[Admission], request: HttpRequest) -> Response[WebhookListing]:
    """List the webhooks of the rooms that the client moderates."""
    await admission.charge(request, LIST_COST)
    by = admission.current(request)
    found = await admission.hub.webhooks.statuses(by)
    allowed = [status for status in found if _may_manage(admission, by, status.webhook)]
    return await answer_list("webhooks", allowed, WebhookView.of)


@post("/webhooks")
async def add_webhook(admission: NamedDependency[Admission], request: HttpRequest, state: State) -> NewWebhookView:
    """Make a webhook. The answer is the only one with its secret."""
    admission.consume(request)
    body = await read_body(request, WebhookRequest)
    by = admission.current(request)
    for right, room in rights_needed(check_rooms(body.rooms)):
        admission.check(by, right, room)
    _check_address(state.webhooks, body.url)
    made = await admission.hub.webhooks.add(by, body.url, body.rooms, body.events, mention=body.mention)
    return NewWebhookView.made(made)


@get("/webhooks/{webhook_id:str}")
async def show_webhook(
    webhook_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> WebhookView:
    """Show a webhook."""
    await admission.charge(request, LIST_COST)
    return WebhookView.of(await _status(admission, admission.current(request), webhook_id))


@delete("/webhooks/{webhook_id:str}", status_code=200)
async def remove_webhook(
    webhook_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> WebhookView:
    """Remove a webhook."""
    admission.consume(request)
    by = admission.current(request)
    await _status(admission, by, webhook_id)
    return WebhookView.of(await admission.hub.webhooks.remove(by, webhook_id))


@post("/webhooks/{webhook_id:str}/test", status_code=200)
async def send_test(
    webhook_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest, state: State
) -> ExchangeView:
    """Send a test to a webhook, once, and show the request and its answer."""
    await admission.charge(request, LIST_COST)
    by = admission.current(request)
    webhook = (await _status(admission, by, webhook_id)).webhook
    deliverer: Deliverer = state.webhooks
    return (await deliverer.send_test(webhook, by.name)).view(webhook.url)


@post("/webhooks/{webhook_id:str}/resume", status_code=200)
async def resume_webhook(
    webhook_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> WebhookView:
    """Try a webhook again that fails or was parked."""
    admission.consume(request)
    by = admission.current(request)
    await _status(admission, by, webhook_id)
    return WebhookView.of(await admission.hub.webhooks.resume(by, webhook_id))


async def _status(admission: Admission, by: Identity, webhook_id: str) -> WebhookStatus:
    """Return a webhook. Raise `NotFound` unless the client may manage it."""
    status = await admission.hub.webhooks.status(by, webhook_id)
    if not _may_manage(admission, by, status.webhook):
        raise no_such_webhook(webhook_id)
    return status


def _may_manage(admission: Admission, by: Identity, webhook: Webhook) -> bool:
    return all(admission.allows(by, right, room) for right, room in rights_needed(webhook.rooms))


def _check_address(deliverer: Deliverer, url: str) -> None:
    """Raise `BadRequest` for an address to which nothing would be sent, if its text shows that already."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # `check_url` refuses it
        return
    if not deliverer.policy.allows_host(host):
        raise BadRequest(
            f"{host[:80]} is not on the internet: 'chatkit serve --webhook-allow NETWORK' allows a network"
        )


webhooks_router = Router(
    "/",
    route_handlers=[list_webhooks, add_webhook, show_webhook, remove_webhook, send_test, resume_webhook],
    guards=[check_request],
)
