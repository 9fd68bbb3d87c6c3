"""The options that several commands share."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from chatkit.cli.output import can_print
from chatkit.cli.token_scope import is_for_server
from chatkit.core.model import ANONYMOUS, MAX_SEQ, Cursor, check_readable_room, check_room, check_sender
from chatkit.errors import BadName, ChatkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatkit.client.admin import AdminClient

DEFAULT_SERVER = "http://127.0.0.1:8000"

MAX_SEQ_DIGITS = len(str(MAX_SEQ))
COMPLETION_TIMEOUT_S = 1.0  # the person waits for it after pressing Tab


def complete_room(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the server's rooms whose names begin with `incomplete`; none if the server does not answer."""

    def read(client: "AdminClient") -> "Iterable[str]":
        rooms, _ = client.room_page(incomplete)  # of many rooms the first ones, which are more than anybody reads
        return [view.room for view in rooms if is_room(view.room)]

    return complete_words(ctx, incomplete, read)


def complete_words(ctx: typer.Context, incomplete: str, read: "Callable[[AdminClient], Iterable[str]]") -> list[str]:
    """Return those of the words from the command's server that begin with `incomplete`.

    `read` MUST return no word with a meaning to a shell, which could execute it.
    """
    from chatkit.client.admin import AdminClient
    from chatkit.client.endpoint import Endpoint

    server, token = ctx.params.get("server") or DEFAULT_SERVER, ctx.params.get("token")
    if token is not None and not is_for_server(ctx, server):
        token = None
    try:
        with AdminClient(Endpoint.parse(server, None, token), COMPLETION_TIMEOUT_S) as client:
            return [word for word in read(client) if word.startswith(incomplete) and can_print(word)]
    except ChatkitError:
        return []


def is_room(name: str) -> bool:
    """Return whether a name from a server is a valid name of a room, or of a consumer: it means nothing to a shell."""
    try:
        return check_room(name) == name
    except BadName:
        return False


RoomName = Annotated[
    str,
    typer.Argument(
        metavar="ROOM",
        help="The name of the room, such as ops or '#ops'.",
        show_default=False,
        autocompletion=complete_room,
    ),
]


def checked(read: "Callable[[str], object]") -> "Callable[[object], str]":
    """Return a parser that returns a text as it is, if `read` accepts it. Otherwise, the error names the option."""

    def check(value: object) -> str:
        text = str(value)  # a file of settings may have a number
        try:
            read(text)
        except ChatkitError as error:
            raise typer.BadParameter(str(error)) from error
        return text

    return check


def check_server(url: str) -> None:
    """Raise `BadRequest` unless this is the URL of a server."""
    from chatkit.client.endpoint import Endpoint

    Endpoint.parse(url)


def message_seq(text: str) -> int:
    """Parse the number of a message, with or without a leading #. Raise `typer.BadParameter`."""
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_SEQ_DIGITS and 1 <= int(digits) <= MAX_SEQ):
        raise typer.BadParameter(f"{text!r} is not the number of a message, such as 42")
    return int(digits)


def read_position(text: str) -> Cursor | int:
    """Parse the number of a message, or a cursor. Raise `BadCursor`."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_SEQ_DIGITS else Cursor.parse(text)


def check_place(text: str) -> None:
    """Raise `BadCursor` unless this is `start`, `end` or a cursor: where a consumer begins."""
    if text not in {"start", "end"}:
        Cursor.parse(text)


Seq = Annotated[
    int,
    typer.Argument(
        metavar="SEQ", parser=message_seq, help="The number of the message in its room.", show_default=False
    ),
]
ServerURL = Annotated[
    str,
    typer.Option("--server", metavar="URL", envvar="CHATKIT_SERVER", help="Connect to this server."),
]
BackendURL = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URL",
        envvar="CHATKIT_BACKEND",
        help="Open this store directly, without a server, such as sqlite:///rooms.db.",
        show_default=False,
    ),
]
SenderName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        envvar="CHATKIT_NAME",
        help="Use this sender name. Without it, your login name is used.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="CHATKIT_TOKEN",
        help="Send this access token. Set it in the environment to hide it from other users of the machine.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object per line.")]


def room_name(text: str) -> str:
    """Return the room's name without a leading #. Raise `BadName`."""
    return check_room(text.removeprefix("#"))


def readable_room(text: str) -> str:
    """Return the name of a room to read, which may also be the room of the audit. Raise `BadName`."""
    return check_readable_room(text.removeprefix("#"))


def sender_name(given: str | None) -> str:
    """Return the given name, or the login name. Raise `BadName` for a given name that is not valid."""
    if given is not None:
        return check_sender(given)
    try:
        return check_sender(getpass.getuser())
    except (BadName, KeyError, OSError, ImportError):  # no valid login name, as in a minimal container
        return ANONYMOUS
