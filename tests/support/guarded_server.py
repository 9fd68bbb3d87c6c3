"""The token of a server that others can reach, and the link with it."""

from http.cookies import Morsel, SimpleCookie
from typing import Any

from raw_client import call
from serving import ServerProcess

TOKEN = "correct horse+battery/staple"  # with characters that links and cookies have to escape
QUOTED = "correct%20horse%2Bbattery%2Fstaple"


def enter(server: ServerProcess, path: str = f"/?token={QUOTED}", **headers: str) -> Morsel[Any]:
    """Open the link with the token; return the cookie that it sets."""
    answer = call(server, "GET", path, **headers)
    assert (answer.status, answer.headers["location"]) == (303, "./")
    (cookie,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return cookie
