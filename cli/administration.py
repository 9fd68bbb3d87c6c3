"""What the commands share that administer a server or a store: their options, completions and output."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.options import checked, complete_words
from chatkit.cli.output import begin_json, needs_reader, print_lines
from chatkit.cli.target import Target
from chatkit.cli.times import read_end_ms
from chatkit.errors import Forbidden, NotFound, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

    import msgspec

    from chatkit.cli.store_administration import StoreAdministration
    from chatkit.client.admin import AdminClient

WHO_MAY = "use an administrator's token (--token), or open the store itself (--backend)"
HOW_TO_SIGN_IN = "give a token with --token or in CHATKIT_TOKEN, or open the store itself (--backend)"
LOOK_FOR_ROOMS = "'chatkit rooms' lists the rooms"

Expires = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        parser=checked(read_end_ms),
        help="End it after this long, such as 30d, or at a date or an RFC 3339 time.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@contextmanager
def administering(
    target: Target, *, make: bool = False, look: str = ""
) -> "Iterator[AdminClient | StoreAdministration]":
    """Open the server or the store of a command; with `make`, create the store if it does not exist.

    `look` says where a person finds the names or numbers of what the command may not find.
    """
    try:
        with target.administrator(make=make) as administrator:
            yield administrator
    except NotFound as error:
        raise (NotFound(f"{error}: {look}") if look else error) from error
    except (Unauthorized, Forbidden) as error:
        if target.backend is not None:
            raise
        raise type(error)(f"{error}: {WHO_MAY if isinstance(error, Forbidden) else HOW_TO_SIGN_IN}") from error


def print_json(*views: "msgspec.Struct") -> None:
    """Print values as JSON, one object a line."""
    from chatkit.cli.formats import wire_json

    begin_json()
    print_lines(map(wire_json, views))


@contextmanager
def printing_secret() -> "Iterator[None]":
    """Print what is not shown again: the command fails if nobody reads it."""
    with needs_reader():
        yield
        sys.stdout.flush()


def complete_token(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids and names of the server's valid tokens that begin with `incomplete`."""
    return complete_words(ctx, incomplete, _words_of_tokens)


def complete_ended_token(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids and names of the server's revoked tokens that begin with `incomplete`."""
    return complete_words(ctx, incomplete, lambda client: _words_of_tokens(client, is_revoked=True))


def complete_ban(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the server's bans that begin with `incomplete`."""
    return complete_words(ctx, incomplete, lambda client: filter(_is_word, (view.id for view in client.bans())))


def _words_of_tokens(client: "AdminClient", *, is_revoked: bool = False) -> list[str]:
    views = [view for view in client.tokens() if (view.revoked is not None) is is_revoked]
    return sorted({word for view in views for word in (view.name, view.id) if _is_word(word)})


def _is_word(text: str) -> bool:
    """Return whether the text has no meaning to a shell."""
    return text.replace("-", "").replace("_", "").isalnum()
