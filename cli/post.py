"""Publishing one message by the shortest way: a single call over HTTP, waiting where the server says "too much"."""

import secrets
import sys
import time
from typing import Any

from chatkit.client.http import HttpClient
from chatkit.core.model import check_body, check_key
from chatkit.errors import RateLimited
from chatkit.wire.protocol import WireMessage


def post(calls: HttpClient, room: str, body: str, *, key: str | None = None, data: Any = None) -> WireMessage:
    """Publish a message and return it as it is stored; blocks."""
    check_body(body, sys.maxsize)  # that it is text; how large it may be, the server says
    # One key for all attempts: what is tried again is stored once.
    key = secrets.token_urlsafe(12) if key is None else check_key(key)
    while True:
        try:
            return calls.publish(room, body, key=key, data=data).message
        except RateLimited as error:
            time.sleep(error.retry_after_s)
