"""The token of a webhook, for people: its address, and how to try it."""

import shlex
from typing import TYPE_CHECKING

import msgspec

from chatkit.cli.links import page_url

if TYPE_CHECKING:
    from chatkit.client.endpoint import Endpoint
    from chatkit.wire.access import NewTokenView


def with_hook_url(made: "NewTokenView", page: "Endpoint") -> "NewTokenView":
    """Return a hook's token with the address at which this machine reaches the server."""
    return msgspec.structs.replace(made, url=f"{page_url(page)}hooks/{made.secret}")


def hook_lines(made: "NewTokenView") -> list[str]:
    """Return what a person does with a hook's token: give its address away, or try it."""
    signed = made.signed
    try_it = [] if signed else ["", "To try it:", "", f"  curl -d 'hello' {shlex.quote(made.url or '')}"]
    only = " and the signing secret" if signed else ""
    return [
        "",
        f"Give this address{only} to the service that reports. It is not shown again:",
        "",
        f"  {made.url}",
        *try_it,
    ]
