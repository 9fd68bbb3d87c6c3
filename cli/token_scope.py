"""Which server an access token goes to: only the one that it was given for. Knows nothing of connections."""

from typing import Any, Final

import typer

from chatkit.cli.config_file import ConfigFile
from chatkit.errors import BadRequest

CONFIG_FILE: Final = "chatkit.config_file"  # the key in a context's `meta`


def is_for_server(ctx: typer.Context, server: str) -> bool:
    """Return whether the token that the command got may be sent to the server that it got.

    A token on the command line goes where the command goes. One in CHATKIT_TOKEN goes to the server in CHATKIT_SERVER
    or, without that, to one that is typed or in the user's own configuration folder; never to one that only the current
    folder's file names. One in a file goes to the server in that file.
    """
    match (source_of(ctx, "token"), source_of(ctx, "server")):
        case ("ENVIRONMENT", "DEFAULT_MAP"):
            return not _is_file_here(ctx)
        case ("ENVIRONMENT", "COMMANDLINE"):
            return _is_same(_environment_server(ctx), server)
        case ("DEFAULT_MAP", "COMMANDLINE" | "ENVIRONMENT"):
            return _is_same(ctx.lookup_default("server"), server)
    return True


def source_of(ctx: typer.Context, option: str) -> str:
    """Return where an option's value comes from: COMMANDLINE, ENVIRONMENT, DEFAULT_MAP or DEFAULT."""
    source = ctx.get_parameter_source(option)
    return "DEFAULT" if source is None else source.name


def _is_file_here(ctx: typer.Context) -> bool:
    file = ctx.meta.get(CONFIG_FILE)
    return isinstance(file, ConfigFile) and file.is_here


def _environment_server(ctx: typer.Context) -> Any:
    option = next((each for each in ctx.command.params if each.name == "server"), None)
    return None if option is None else option.value_from_envvar(ctx)


def _is_same(named: Any, server: str) -> bool:
    """Return whether two URLs are of one server; also where none was named beside the token."""
    from chatkit.client.endpoint import Endpoint

    if not named:
        return True
    try:
        return Endpoint.parse(str(named)).url == Endpoint.parse(server).url
    except BadRequest:
        return False
