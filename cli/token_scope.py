"""The rule that an access token is sent only to the server that it was given for. Knows nothing of connections."""

from typing import Any, Final

import typer

from chatkit.cli.config_file import ConfigFile
from chatkit.errors import BadRequest

CONFIG_FILE: Final = "chatkit.config_file"  # the key in a context's `meta`


def is_for_server(ctx: typer.Context, server: str) -> bool:
    """Return whether the command may send its token to its server.

    A token on the command line may be sent to any server. The token in CHATKIT_TOKEN may be sent to the server in
    CHATKIT_SERVER or, if that is not set, to a server on the command line or in the user's configuration folder, but
    never to a server that only the file in the current folder names. A token in a file may be sent to the server in
    that file.
    """
    match (source_of(ctx, "token"), source_of(ctx, "server")):
        case ("ENVIRONMENT", "DEFAULT_MAP"):
            return not _is_file_in_current_folder(ctx)
        case ("ENVIRONMENT", "COMMANDLINE"):
            return _is_same(_environment_server(ctx), server)
        case ("DEFAULT_MAP", "COMMANDLINE" | "ENVIRONMENT"):
            return _is_same(ctx.lookup_default("server"), server)
    return True


def source_of(ctx: typer.Context, option: str) -> str:
    """Return the source of an option's value: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP (the file) or DEFAULT."""
    source = ctx.get_parameter_source(option)
    return "DEFAULT" if source is None else source.name


def _is_file_in_current_folder(ctx: typer.Context) -> bool:
    file = ctx.meta.get(CONFIG_FILE)
    return isinstance(file, ConfigFile) and file.is_in_current_folder


def _environment_server(ctx: typer.Context) -> Any:
    option = next((each for each in ctx.command.params if each.name == "server"), None)
    return None if option is None else option.value_from_envvar(ctx)


def _is_same(named: Any, server: str) -> bool:
    """Return whether two URLs name the same server, or no server was named together with the token."""
    from chatkit.client.endpoint import Endpoint

    if not named:
        return True
    try:
        return Endpoint.parse(str(named)).url == Endpoint.parse(server).url
    except BadRequest:
        return False
