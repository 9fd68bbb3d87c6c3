"""Links to a server's page, for people who open them in a browser."""

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import typer

from chatkit.cli.target import Target, source_rank

if TYPE_CHECKING:
    from chatkit.client.endpoint import Endpoint

_DEFAULT_PORTS: Final = {("https", 443), ("http", 80)}
_DEFAULT_RANK: Final = 3  # of `source_rank`: nobody named a server


def page_of(ctx: typer.Context, target: Target, url: str | None = None) -> "Endpoint | None":
    """Return the server whose page a link opens, or None if a store is used and no server is known."""
    from chatkit.client.endpoint import Endpoint

    if url is None and target.backend is not None and source_rank(ctx, "server") == _DEFAULT_RANK:
        return None
    return Endpoint.parse(url or target.server)


def page_url(page: "Endpoint") -> str:
    """Return the address of the page, which ends in `/`, without credentials."""
    scheme = "https" if page.is_secure else "http"
    default = (scheme, page.port) in _DEFAULT_PORTS
    authority = page.authority.removesuffix(f":{page.port}") if default else page.authority
    return f"{scheme}://{authority}{page.path}/"


def token_link(page: "Endpoint", secret: str) -> str:
    """Return the link that signs in with a token."""
    return f"{page_url(page)}?token={quote(secret, safe='')}"


def invite_link(page: "Endpoint", secret: str) -> str:
    """Return the link of an invite. The secret is in the fragment, which no browser sends to a server."""
    return f"{page_url(page)}#invite={quote(secret, safe='')}"
