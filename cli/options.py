"""The options that several commands share, and the place that they name: a server, or a store without one."""

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatkit.cli.exit_codes import say
from chatkit.cli.output import can_print
from chatkit.cli.token_scope import is_for_server, source_of
from chatkit.core.model import ANONYMOUS, check_room, check_sender
from chatkit.errors import BadName, BadRequest, ChatkitError

if TYPE_CHECKING:
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client, ConnectionLost, ConnectionRestored
    from chatkit.client.http import HttpClient

DEFAULT_SERVER = "http://127.0.0.1:8000"

COMPLETION_TIMEOUT_S = 1.0  # a shell waits for it between two keys


def complete_room(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the rooms of the server whose names begin so; none where it does not answer."""
    from chatkit.client.endpoint import Endpoint
    from chatkit.client.http import HttpClient

    server, token = ctx.params.get("server") or DEFAULT_SERVER, ctx.params.get("token")
    if token is not None and not is_for_server(ctx, server):
        token = None
    try:
        with HttpClient(Endpoint.parse(server, None, token), COMPLETION_TIMEOUT_S) as calls:
            names = [view.room for view in calls.rooms()]
    except ChatkitError:
        return []
    return [name for name in names if name.startswith(incomplete) and _is_room(name) and can_print(name)]


def _is_room(name: str) -> bool:
    """Return whether a name from a server is a room's: the shell would run what else may stand in one."""
    try:
        return check_room(name) == name
    except BadName:
        return False


RoomName = Annotated[
    str,
    typer.Argument(
        metavar="ROOM", help="The room, such as ops or '#ops'.", show_default=False, autocompletion=complete_room
    ),
]
ServerURL = Annotated[
    str,
    typer.Option("--server", metavar="URL", envvar="CHATKIT_SERVER", help="The server to talk to."),
]
BackendURL = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URL",
        envvar="CHATKIT_BACKEND",
        help="Go to the store itself, without a server, such as sqlite:///rooms.db.",
        show_default=False,
    ),
]
SenderName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", envvar="CHATKIT_NAME", help="Your name there; else, your login name."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        envvar="CHATKIT_TOKEN",
        help="The server's access token. In the environment, other users of the machine do not see it.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def room_name(text: str) -> str:
    """Read a room as people type it; raise `BadName`."""
    return check_room(text.removeprefix("#"))


def sender_name(given: str | None) -> str:
    """Return the name that was given, or the login name; raise `BadName`."""
    if given is not None:
        return check_sender(given)
    try:
        return check_sender(getpass.getuser())
    except (BadName, KeyError, OSError, ImportError):  # a login without a name, as in a bare container
        return ANONYMOUS


class Target:
    """Where a command goes, and as whom."""

    def __init__(
        self, ctx: typer.Context, server: str, backend: str | None, name: str | None, token: str | None
    ) -> None:
        self.server = server
        self.backend = backend if _goes_to_backend(ctx, backend) else None
        self.name = sender_name(name)
        self.token = token
        if self.backend is None and token is not None and not is_for_server(ctx, server):
            from chatkit.client.endpoint import public_url

            self.token = None
            say(f"the token is not sent: it was not given for {public_url(server)} (--token sends it)")

    def client(self, **options: Any) -> "Client":
        """Return a client of the server."""
        from chatkit.client import Client

        return Client(self.server, self.name, self.token, **options)

    def calls(self) -> "HttpClient":
        """Return the server's calls, for a command that makes one and goes."""
        from chatkit.client.endpoint import Endpoint
        from chatkit.client.http import HttpClient

        return HttpClient(Endpoint.parse(self.server, self.name, self.token))

    def store(self, *, make: bool = False) -> "StoreClient":
        """Return the store; raise `BadBackendURL`. With `make`, for a command that writes, a new one is made."""
        from chatkit.cli.store_client import StoreClient

        return StoreClient(self.backend or "", self.name, tell_link, make=make)

    def rooms(self, *, make: bool = False) -> "Client | StoreClient":
        """Return what reads and publishes there, to be entered with `async with`. That its link breaks is told."""
        return self.client(watcher=tell_link) if self.backend is None else self.store(make=make)


def tell_link(signal: "ConnectionLost | ConnectionRestored") -> None:
    """Tell the person at the terminal that nothing comes through, or that it does again."""
    from chatkit.client import ConnectionLost

    say(f"{signal.reason}; trying again" if isinstance(signal, ConnectionLost) else "the connection is back")


def _goes_to_backend(ctx: typer.Context, backend: str | None) -> bool:
    """Decide between a server and a store: what is nearer to the person who types, wins."""
    if backend is None:
        return False
    of_backend, of_server = rank(ctx, "backend"), rank(ctx, "server")
    if of_backend == of_server == 0:
        raise BadRequest("give either --server or --backend")
    # In the environment and in the file, the backend is also what `serve` uses: a server named beside it is meant.
    return of_backend < of_server


def rank(ctx: typer.Context, option: str) -> int:
    """Return how far the place where an option was set is from the person who types: 0 is the command line."""
    return ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP", "DEFAULT").index(source_of(ctx, option))
