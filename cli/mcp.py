"""`chatkit mcp`: the tools for agents on standard input and output, over a server."""

import io
import sys
from typing import Final

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.input import open_input
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, SenderName, ServerURL, Token
from chatkit.cli.output import StandardOutput, needs_reader
from chatkit.cli.target import Target
from chatkit.errors import BadRequest, ChatkitError

GIVE_UP_S: Final = 15.0  # a tool reports an error if the server is away for so long: the agent decides what to do

EPILOG = """
chatkit mcp

CHATKIT_TOKEN=ck_… chatkit mcp --server https://chat.example.org
"""


def mcp(
    ctx: typer.Context,
    *,
    server: ServerURL = DEFAULT_SERVER,
    name: SenderName = None,
    token: Token = None,
) -> None:
    """Give an agent tools for the rooms of a server (MCP on standard input and output).

    An application with a model starts this command and talks to it. The agent has the name and the rights of the token:
    make one for it with 'chatkit token add helper --bot --read ops --write ops'. Needs pip install 'chatkit[mcp]'.
    """
    with report_errors(with_next_step):
        target = Target(ctx, server, None, name, token)
        _check_installed()
        import signal

        # Ctrl-C ends the process at once: the SDK reads standard input in a thread, which cannot be cancelled.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        with needs_reader():
            _serve(target)


def _serve(target: Target) -> None:
    """Serve one agent. Raise `InputFailed` or `OutputFailed` if a standard stream fails."""
    import asyncio

    from chatkit.mcp.stdio import AgentClient, serve

    client = AgentClient(target.server, target.name, target.token, give_up_after_s=GIVE_UP_S)
    stdin = io.TextIOWrapper(open_input(), encoding="utf-8-sig", errors="surrogateescape")
    stdout = io.TextIOWrapper(io.BufferedWriter(StandardOutput(sys.stdout.fileno())), encoding="utf-8")
    try:
        asyncio.run(serve(client, stdin, stdout))
    except* ChatkitError as errors:
        raise _first_of(errors) from errors


def _first_of(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


def _check_installed() -> None:
    from chatkit.mcp.installation import MISSING, is_installed

    if not is_installed():
        raise BadRequest(MISSING)
