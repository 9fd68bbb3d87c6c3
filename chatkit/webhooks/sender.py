"""Sender: sends one signed request to the address of a webhook, and reads the answer. Retries nothing.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com). No redirect is followed: its target could
be another server than the one that was checked. Neither proxies nor credentials of the environment are used.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Final
from urllib.parse import urlsplit

import certifi
import httpcore
from standardwebhooks import Webhook as Signer

from chatkit import __version__
from chatkit.core.webhook import Webhook
from chatkit.core.webhooks import MAX_WEBHOOKS
from chatkit.webhooks.address import AddressPolicy
from chatkit.webhooks.exchange import REQUEST_S, Exchange, Headers
from chatkit.webhooks.network import CheckedNetwork
from chatkit.webhooks.resolver import Resolve, resolve
from chatkit.wire.webhooks import ExchangeAnswer, Header

MAX_ANSWER_BYTES: Final = 16_384  # of the body of an answer; what comes after them is not read
MAX_CONNECTIONS: Final = 2 * MAX_WEBHOOKS  # one for each, and those of tests
IDLE_S: Final = 4.0  # a connection is kept for this long: shorter than receivers do, of which Node waits 5 seconds
MAX_REASON_CHARS: Final = 200


class Sender:
    """Sends requests to addresses that `policy` allows. Use it in one event loop, and close it.

    `request_s` limits a whole request. `now_ms` is the time that is signed, as Unix milliseconds.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolve_host: Resolve = resolve,
        request_s: float = REQUEST_S,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._network = CheckedNetwork(policy, resolve_host)
        self._request_s = request_s
        self._now_ms = now_ms
        self._trust = trust
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._opening = asyncio.Lock()  # held while the pool is made

    async def send(self, webhook: Webhook, event_id: str, body: bytes) -> Exchange:
        """Send a request and return what came of it. `event_id` is the same each time an event is sent."""
        headers = self._headers(webhook, event_id, body)
        start = time.monotonic()
        answer, error = None, ""
        try:
            async with asyncio.timeout(self._request_s):
                answer = await self._post(webhook.url, headers, body)
        except TimeoutError:
            error = f"the receiver did not answer within {self._request_s:g} seconds"
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as failed:
            error = (str(failed) or type(failed).__name__)[:MAX_REASON_CHARS]
        return Exchange(headers, body.decode(), time.monotonic() - start, answer, error)

    def _headers(self, webhook: Webhook, event_id: str, body: bytes) -> Headers:
        now_s = self._now_ms() // 1000
        signature = Signer(webhook.secret).sign(event_id, datetime.fromtimestamp(now_s, UTC), body.decode())
        pairs = (
            ("Host", urlsplit(webhook.url).netloc),
            ("User-Agent", f"chatkit/{__version__}"),
            ("Accept", "*/*"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("webhook-id", event_id),
            ("webhook-timestamp", str(now_s)),
            ("webhook-signature", signature),
        )
        return tuple(Header(name, value) for name, value in pairs)

    async def _post(self, url: str, headers: Headers, body: bytes) -> ExchangeAnswer:
        pool = await self._open()
        async with pool.stream(
            "POST", url, headers=[(each.name, each.value) for each in headers], content=body
        ) as response:
            received = bytearray()
            async for chunk in response.aiter_stream():
                received += chunk
                if len(received) > MAX_ANSWER_BYTES:  # the connection is closed then: the rest would be read first
                    break
        shown = tuple(Header(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
        text = received[:MAX_ANSWER_BYTES].decode(errors="replace")
        return ExchangeAnswer(response.status, shown, text, len(received) > MAX_ANSWER_BYTES)

    async def _open(self) -> httpcore.AsyncConnectionPool:
        async with self._opening:
            if self._pool is None:
                trust = self._trust or await asyncio.to_thread(_trusted)  # some 20 ms
                self._pool = httpcore.AsyncConnectionPool(
                    trust,
                    max_connections=MAX_CONNECTIONS,
                    keepalive_expiry=IDLE_S,
                    network_backend=self._network,
                )
            return self._pool

    async def close(self) -> None:
        """Close all connections. The sender can be used again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()


@cache
def _trusted() -> ssl.SSLContext:
    """Return what certificates are verified with: the system's authorities, and certifi's, as they were at first."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context
