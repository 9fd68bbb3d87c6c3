"""A server with tokens for tests of the page, and what an administrator does to it."""

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from page_window import Window
from playwright.sync_api import Locator
from serving import ServerProcess, serve

from chatkit.backends import open_backend
from chatkit.core.access import EVERYTHING, Credential, Identity
from chatkit.core.administration import Administration

ROOT = Identity("root", is_verified=True, grants=EVERYTHING, credential=Credential.STORE)
READ, WRITE, MODERATE = ["read"], ["read", "write"], ["moderate"]


class TokenServer:
    """A server whose administrator has the token `admin`. `url` is its address."""

    def __init__(self, server: ServerProcess, admin: str) -> None:
        self.url = server.url
        self.admin = admin
        self.port = server.port

    def call(self, method: str, path: str, value: Any = None, *, token: str | None = None, sender: str = "") -> Any:
        """Make a call with the administrator's token, another one, or ("") as a guest. Fail if it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        secret = self.admin if token is None else token
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {secret}"} if secret else {})
        try:
            body = None if value is None else json.dumps(value)
            connection.request(method, f"{path}?name={quote(sender)}" if sender else path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status < 300, text
            return json.loads(text) if text else None
        finally:
            connection.close()

    def token(self, name: str, rooms: str, rights: list[str], kind: str = "person") -> str:
        """Make a token, and return its secret."""
        grants = [{"rooms": rooms, "rights": rights}]
        secret: str = self.call("POST", "/tokens", {"name": name, "grants": grants, "kind": kind})["secret"]
        return secret

    def invite(self, rooms: str, rights: list[str]) -> str:
        """Make an invite that can be used once, and return the path of its link."""
        grants = [{"rooms": rooms, "rights": rights}]
        secret: str = self.call("POST", "/invites", {"grants": grants})["secret"]
        return f"/#invite={secret}"

    def publish(self, room: str, body: str, token: str | None = None, sender: str = "") -> None:
        """Publish a message, with a token or ("") as a guest with the name `sender`."""
        self.call("POST", f"/rooms/{quote(room)}/messages", {"body": body}, token=token, sender=sender)


@contextmanager
def token_server(folder: Path, *options: str) -> Iterator[TokenServer]:
    """Run `chatkit serve` on a store that has a token, until the block ends."""
    store = folder / "rooms.db"
    admin = asyncio.run(_add_admin(f"sqlite:///{store.absolute()}"))
    with serve(store, "--rate-limit", "0", *options) as server:
        yield TokenServer(server, admin)


async def _add_admin(store: str) -> str:
    async with open_backend(store) as backend:
        new = await Administration(backend, lambda: time.time_ns() // 1_000_000).add_token(ROOT, "root", EVERYTHING)
    return new.secret


def sign_in(window: Window, token: str, room: str) -> Window:
    return window.open(f"/?token={token}#{room}").await_connection()


def choose(window: Window, message: Locator, action: str) -> None:
    """Choose from the menu of a message, by mouse."""
    message.hover()
    message.locator(".more").click()
    window.page.get_by_role("menuitem", name=action).click()


def removable(window: Window) -> list[bool]:
    """Return for each message in the log whether its menu offers to remove it."""
    offers = []
    for message in window.page.locator(".message").all():
        message.focus()
        window.page.keyboard.press("Enter")
        offers.append(window.page.get_by_role("menuitem", name="Remove message…").is_visible())
        window.page.keyboard.press("Escape")
    return offers


def everything_stored(window: Window) -> str:
    """Return all that scripts can read in the browser: the storage, the cookies and the page with its fields."""
    text: str = window.value(
        """() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie + location.href
          + document.documentElement.outerHTML + [...document.querySelectorAll("input")].map((box) => box.value)"""
    )
    return text
