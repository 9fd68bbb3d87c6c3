"""The target of a command: a server, or a store that is opened without a server, and the sender's name there."""

from typing import TYPE_CHECKING, Any

import typer

from chatkit.cli.options import sender_name
from chatkit.cli.output import print_notice
from chatkit.cli.token_scope import is_for_server, source_of
from chatkit.errors import BadRequest

if TYPE_CHECKING:
    from chatkit.cli.store_administration import StoreAdministration
    from chatkit.cli.store_client import StoreClient
    from chatkit.client import Client, ConnectionLost, ConnectionRestored
    from chatkit.client.admin import AdminClient
    from chatkit.client.consumers import ConsumerClient
    from chatkit.client.http import HttpClient


class Target:
    """The server or the store that the options of a command name, and the sender's name."""

    def __init__(
        self, ctx: typer.Context, server: str, backend: str | None, name: str | None, token: str | None
    ) -> None:
        self.server = server
        self.backend = backend if _uses_backend(ctx, backend) else None
        self.name = sender_name(name)
        self._is_name_given = name is not None
        self.token = token
        if self.backend is None:
            _check_server(server)
        if self.backend is None and token is not None and not is_for_server(ctx, server):
            from chatkit.client.endpoint import public_url

            self.token = None
            address = public_url(server)
            print_notice(f"the token is not sent, because it was not given for {address} (send it with --token)")

    def report_name(self, name: str) -> None:
        """Print a notice if the server uses another name than the one that was given: that of the token."""
        if self._is_name_given and name != self.name:
            print_notice(f"the token is {name}'s: your messages have this name, not {self.name}")

    def client(self, **options: Any) -> "Client":
        """Return a client of the server."""
        from chatkit.client import Client

        return Client(self.server, self.name, self.token, **options)

    def http_client(self) -> "HttpClient":
        """Return a client for single HTTP calls to the server."""
        from chatkit.client.endpoint import Endpoint
        from chatkit.client.http import HttpClient

        return HttpClient(Endpoint.parse(self.server, self.name, self.token))

    def consumer_client(self) -> "ConsumerClient":
        """Return a client for calls of the server's consumers."""
        from chatkit.client.consumers import ConsumerClient
        from chatkit.client.endpoint import Endpoint

        return ConsumerClient(Endpoint.parse(self.server, self.name, self.token))

    def store(self, *, make: bool = False) -> "StoreClient":
        """Return a client of the store. With `make`, a store that does not exist is created. Raise `BadBackendURL`."""
        from chatkit.cli.store_client import StoreClient

        return StoreClient(self.backend or "", self.name, print_connection_change, make=make)

    def administrator(self, *, make: bool = False) -> "AdminClient | StoreAdministration":
        """Return the administration of the server or of the store, for `with`. With `make`, as for `store`."""
        from chatkit.client.endpoint import Endpoint

        if self.backend is not None:
            from chatkit.cli.store_administration import StoreAdministration

            return StoreAdministration(self.backend, self.name, make=make)
        from chatkit.client.admin import AdminClient

        return AdminClient(Endpoint.parse(self.server, self.name, self.token))

    def open(self, *, make: bool = False) -> "Client | StoreClient":
        """Return a client of the server or of the store, for `async with`. It prints connection changes."""
        return self.client(watcher=print_connection_change) if self.backend is None else self.store(make=make)


def print_connection_change(signal: "ConnectionLost | ConnectionRestored") -> None:
    """Print that the connection is lost or restored."""
    from chatkit.client import ConnectionLost

    print_notice(f"{signal.reason}; trying again" if isinstance(signal, ConnectionLost) else "connected again")


def _check_server(server: str) -> None:
    """Raise `BadRequest` for what is not the URL of a server, with the name of the option."""
    from chatkit.client.endpoint import Endpoint

    try:
        Endpoint.parse(server)
    except BadRequest as error:
        raise BadRequest(f"--server: {error}") from error


def _uses_backend(ctx: typer.Context, backend: str | None) -> bool:
    """Return whether the command opens the store. If both are set, the one with the stronger source wins."""
    if backend is None:
        return False
    backend_rank, server_rank = source_rank(ctx, "backend"), source_rank(ctx, "server")
    if backend_rank == server_rank == 0:
        raise BadRequest("give either --server or --backend, not both")
    # In the environment and in the file, the backend is also the store of `serve`. A server named there as well wins.
    return backend_rank < server_rank


def source_rank(ctx: typer.Context, option: str) -> int:
    """Return the rank of an option's source: 0 for the command line, then the environment, the file, the default."""
    return ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP", "DEFAULT").index(source_of(ctx, option))
