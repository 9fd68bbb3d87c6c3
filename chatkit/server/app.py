"""The composition root: makes the application from the settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from functools import cache, lru_cache, partial
from typing import Any, Self

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.events import SimpleEventEmitter
from litestar.exceptions import HTTPException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from msgspec.structs import replace

from chatkit import __version__
from chatkit.backends import open_backend
from chatkit.core.hub import Hub
from chatkit.errors import ChatkitError
from chatkit.server.access import AccessPolicy
from chatkit.server.access_log import AccessLog
from chatkit.server.admission import Admission, provide_admission
from chatkit.server.asyncapi import asyncapi_document
from chatkit.server.health import health
from chatkit.server.hooks.routes import hooks_router
from chatkit.server.identity import Authenticator, access_table
from chatkit.server.limit_table import LimitTable
from chatkit.server.mcp_route import mcp
from chatkit.server.memory_return import return_memory
from chatkit.server.metrics import Snapshots, metrics
from chatkit.server.middleware import RequestMiddleware
from chatkit.server.moderation_routes import moderation_router
from chatkit.server.openapi import openapi_document
from chatkit.server.page import PageFolder, page_handlers
from chatkit.server.problems import answer_chatkit_error, answer_http_error, answer_unexpected_error
from chatkit.server.rate_limit import RateLimits, burst
from chatkit.server.retention import Retention
from chatkit.server.retention_rule import RetentionRule
from chatkit.server.routes import rooms_router
from chatkit.server.schema_page import make_texts, schema_handlers
from chatkit.server.session_routes import session_router
from chatkit.server.settings import MAX_RATE_BYTES, Settings
from chatkit.server.short_path import ShortPath
from chatkit.server.snapshot import take_snapshot
from chatkit.server.token_attempts import TokenAttempts
from chatkit.server.token_routes import tokens_router
from chatkit.server.webhook_routes import webhooks_router
from chatkit.server.websockets import rooms_socket
from chatkit.session.context import SessionContext
from chatkit.webhooks.address import AddressPolicy
from chatkit.webhooks.deliverer import Deliverer
from chatkit.wire.protocol import WireLimits

MAX_FORM_PARTS = 32  # of a webhook's request: Discord's clients send a message and at most ten files
MAX_REQUEST_BYTES = 1 << 20  # a body and its data at their limits, with every character escaped


class RoomsApp(Litestar):
    """Litestar without its plugins for pydantic and attrs, which this server does not use.

    If pydantic is installed, importing it would take a tenth of the server's start. A version of Litestar that does not
    call this method loads the plugins.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]

    def with_state(self, state: State) -> Self:
        """Return an application with the same routes and another state, because registering the routes takes 80 ms."""
        app = copy(self)
        app.state = state
        app.on_startup, app.on_shutdown = [], []
        app.event_emitter = SimpleEventEmitter([])
        app.asgi_router = copy(self.asgi_router)  # it starts and ends its application
        app.asgi_router.app = app
        return app


@asynccontextmanager
async def open_app(settings: Settings, table: LimitTable | None = None) -> AsyncIterator[Litestar]:
    """Open the backend and a hub on it, and yield an application that uses them. Close both at the end.

    `table` is that of the limits of all workers; without it, the application has its own.
    Raise `BadBackendURL`, `StoreError` or `Unavailable` if the store cannot be used.
    """
    async with (
        open_backend(settings.backend) as backend,
        Hub(backend, access=access_table(settings), bot_limit=settings.bot_limit) as hub,
    ):
        retention = Retention(hub, RetentionRule(settings.keep, settings.keep_for_s))
        services = [hub.spawn(retention.run()), hub.spawn(return_memory())]
        app = create_app(settings, hub, table)
        try:
            async with app.state.webhooks:
                yield app
        finally:
            for service in services:
                service.cancel()


def create_app(settings: Settings, hub: Hub, table: LimitTable | None = None) -> Litestar:
    """Return an application that uses a hub, which has the `access_table` of the settings. The caller opens the hub."""
    policy = AccessPolicy(settings)
    table = table or LimitTable()
    rates = RateLimits(settings.rate_limit, settings.local_rate_limit, table=table)
    authenticator = Authenticator(settings, hub, TokenAttempts(table=table))
    context = _session_context(settings, hub)
    admission = Admission(context, policy, authenticator, rates, settings.max_connections_each)
    admission.local_context = _with_rate(context, settings.local_rate_limit)

    async def gather() -> Snapshots:  # replaced in a worker, which asks the others too
        return {0: await take_snapshot(admission)}

    state = State(
        {
            "admission": admission,
            "n_workers": settings.workers,
            "path_prefix": settings.path_prefix,
            "gather": gather,
            "webhooks": Deliverer(hub, AddressPolicy(settings.webhook_allow)),
            "page": PageFolder.of(settings.page),
            "schema_texts": cache(partial(make_texts, partial(_documents, settings))),
        }
    )
    app = routed_app(_allowed_origins(settings)).with_state(state)
    routes = RequestMiddleware(app.asgi_handler, admission, settings)
    app.asgi_handler = ShortPath(routes, admission, settings.path_prefix, MAX_REQUEST_BYTES)
    if settings.has_access_log:
        proxies = admission.authenticator.proxies
        app.asgi_handler = AccessLog(app.asgi_handler, proxies)  # type: ignore[assignment]  # takes any server's scopes
    return app


def _documents(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the OpenAPI and the AsyncAPI document."""
    needs_token = not (settings.is_open or settings.open_grants)
    return (
        openapi_document(settings.limits, settings.path_prefix, needs_token=needs_token),
        asyncapi_document(settings.limits, settings.path_prefix, needs_token=needs_token),
    )


def _allowed_origins(settings: Settings) -> tuple[str, ...]:
    """Return the origins whose pages may read the answers to their requests."""
    return tuple(origin.rstrip("/").lower() for origin in settings.origins if "*" not in origin)


@lru_cache(maxsize=16)  # a process serves few different sites
def routed_app(origins: tuple[str, ...]) -> RoomsApp:
    """Return an application with all routes, for pages of these origins, which lacks a state."""
    return RoomsApp(
        route_handlers=[
            rooms_router,
            session_router,
            tokens_router,
            moderation_router,
            webhooks_router,
            hooks_router,
            health,
            metrics,
            mcp,
            rooms_socket,
            *page_handlers,
            *schema_handlers,
        ],
        dependencies={"admission": Provide(provide_admission)},
        exception_handlers={
            ChatkitError: answer_chatkit_error,
            HTTPException: answer_http_error,
            Exception: answer_unexpected_error,
        },
        openapi_config=None,  # openapi.py writes the document
        request_max_body_size=MAX_REQUEST_BYTES,
        multipart_form_part_limit=MAX_FORM_PARTS,
        cors_config=CORSConfig(allow_origins=list(origins)) if origins else None,
        logging_config=None,
    )


def _session_context(settings: Settings, hub: Hub) -> SessionContext:
    limits = settings.limits
    wire_limits = WireLimits(limits.body, limits.history, limits.data, limits.rooms)
    context = SessionContext(hub, f"chatkit/{__version__}", limits, wire_limits, settings.history)
    return _with_rate(context, settings.rate_limit)


def _with_rate(context: SessionContext, rate: float | None) -> SessionContext:
    """Return the context with a rate among the limits in `welcome`; None leaves them as they are."""
    if rate is None:
        return context
    size, rate_bytes = (burst(rate), MAX_RATE_BYTES) if rate else (0, 0)
    limits = replace(context.wire_limits, rate=rate, burst=size, rate_bytes=rate_bytes)
    return replace(context, wire_limits=limits)
