"""`chatkit mcp`: the tools for agents on standard input and output, over a server."""

from typing import Final

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.next_steps import with_next_step
from chatkit.cli.options import DEFAULT_SERVER, SenderName, ServerURL, Token
from chatkit.cli.target import Target
from chatkit.errors import BadRequest

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
        import asyncio
        import signal

        from chatkit.mcp.stdio import AgentClient, serve

        # Ctrl-C ends the process at once: the SDK reads standard input in a thread, which cannot be cancelled.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        asyncio.run(serve(AgentClient(target.server, target.name, target.token, give_up_after_s=GIVE_UP_S)))


def _check_installed() -> None:
    from chatkit.mcp.installation import MISSING, is_installed

    if not is_installed():
        raise BadRequest(MISSING)
