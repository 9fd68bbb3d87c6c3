"""What the commands share that administer a server or a store: their options, completions and output."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.options import COMPLETION_TIMEOUT_S, DEFAULT_SERVER
from chatkit.cli.output import begin_json, can_print
from chatkit.cli.sanitize import escaped
from chatkit.cli.target import Target
from chatkit.cli.token_scope import is_for_server
from chatkit.errors import ChatkitError, Forbidden, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import msgspec

    from chatkit.cli.store_administration import StoreAdministration
    from chatkit.client.admin import AdminClient

WHO_MAY = "use an administrator's token (--token), or open the store itself (--backend)"

Expires = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="End it after this long, such as 30d, or at a date or an RFC 3339 time.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@contextmanager
def administering(target: Target, *, make: bool = False) -> "Iterator[AdminClient | StoreAdministration]":
    """Open the server or the store of a command; with `make`, create the store if it does not exist."""
    try:
        with target.administrator(make=make) as administrator:
            yield administrator
    except (Unauthorized, Forbidden) as error:
        if target.backend is not None:
            raise
        raise type(error)(f"{error}: {WHO_MAY}") from error


def print_json(*views: "msgspec.Struct") -> None:
    """Print values as JSON, one object a line."""
    from chatkit.wire.protocol import encode

    begin_json()
    for view in views:
        sys.stdout.write(f"{escaped(encode(view).decode())}\n")


def complete_token(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids and names of the server's valid tokens that begin with `incomplete`."""
    return _complete(ctx, incomplete, _words_of_tokens)


def complete_ban(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the server's bans that begin with `incomplete`."""
    return _complete(ctx, incomplete, lambda client: [view.id for view in client.bans()])


def _words_of_tokens(client: "AdminClient") -> list[str]:
    views = [view for view in client.tokens() if view.revoked is None]
    return sorted({word for view in views for word in (view.name, view.id)})


def _complete(ctx: typer.Context, incomplete: str, words: "Callable[[AdminClient], Iterable[str]]") -> list[str]:
    from chatkit.client.admin import AdminClient
    from chatkit.client.endpoint import Endpoint

    server, token = ctx.params.get("server") or DEFAULT_SERVER, ctx.params.get("token")
    if token is not None and not is_for_server(ctx, server):
        token = None
    try:
        with AdminClient(Endpoint.parse(server, None, token), COMPLETION_TIMEOUT_S) as client:
            return [word for word in words(client) if word.startswith(incomplete) and _is_word(word)]
    except ChatkitError:
        return []


def _is_word(text: str) -> bool:
    """Return whether a text from a server can be completed: a shell could execute other text."""
    return text.replace("-", "").replace("_", "").isalnum() and can_print(text)
