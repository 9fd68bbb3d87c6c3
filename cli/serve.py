"""`chatkit serve`: turns options into the server's settings and runs the server."""

import gc
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from chatkit.cli.exit_codes import report_errors
from chatkit.cli.help import HelpCommand
from chatkit.cli.options import checked
from chatkit.cli.secret_file import read_secret
from chatkit.cli.target import source_rank
from chatkit.cli.times import read_duration
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
    from chatkit.core.access import Grant
    from chatkit.server.settings import Settings

EPILOG = """
chatkit serve

chatkit serve --port 9000 --backend sqlite:///rooms.db --keep-for 30d

chatkit serve --workers 4 --backend sqlite:///rooms.db

chatkit serve app:app

openssl rand -hex 16 > secret && chmod 600 secret

chatkit serve --host 0.0.0.0 --secret-file secret

chatkit serve --path-prefix /chat --origin https://example.org
"""


NOT_WITH_APP = (
    "history", "keep", "keep_for", "bot_limit", "open_", "secret", "secret_file", "origin", "page", "path_prefix",
    "trust_proxy", "trust_header", "webhook_allow",
)  # fmt: skip
ON, OFF = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}
OPEN_TO_ALL = "*:read,write"  # what a bare --open stands for
LOCAL_RATE_LIMIT = 10_000  # of programs on this machine, unless --rate-limit is given: a pipe must not crawl


class ServeCommand(HelpCommand):
    """The command, whose option --open may be given without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments."""
        return super().parse_args(ctx, with_open_values(args))


def with_open_values(args: list[str]) -> list[str]:
    """Return the arguments with a value for each --open that has none: no grant, which contains a colon, follows it."""
    changed: list[str] = []
    for index, arg in enumerate(args):
        if arg == "--":
            return [*changed, *args[index:]]
        has_value = index + 1 < len(args) and ":" in args[index + 1] and not args[index + 1].startswith("-")
        changed.append(f"--open={OPEN_TO_ALL}" if arg == "--open" and not has_value else arg)
    return changed


def serve(
    ctx: typer.Context,
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help="Serve this ASGI application, as module:name, instead of chatkit's. It controls its own access.",
            show_default=False,
        ),
    ] = None,
    *,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", envvar="CHATKIT_HOST", help="Listen on this address; 0.0.0.0 is all networks."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="N", envvar="CHATKIT_PORT", min=0, max=65_535, help="Listen on this port; 0 picks a free one."
        ),
    ] = 8000,
    backend: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="CHATKIT_BACKEND",
            help="Store the rooms here; sqlite:// is a file in your data folder.",
        ),
    ] = "sqlite://",
    workers: Annotated[
        int,
        typer.Option(metavar="N", envvar="CHATKIT_WORKERS", min=1, help="Run this many server processes on one store."),
    ] = 1,
    history: Annotated[
        int,
        typer.Option(
            metavar="N", envvar="CHATKIT_HISTORY", min=0, help="Send this many past messages to a client that joins."
        ),
    ] = 10,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            envvar="CHATKIT_KEEP",
            min=1,
            help="Keep this many messages per room. Without it, all are kept.",
        ),
    ] = None,
    keep_for: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            envvar="CHATKIT_KEEP_FOR",
            parser=checked(read_duration),
            help="Keep messages for this time, such as 12h or 30d. Without it, they are kept without limit.",
        ),
    ] = None,
    open_: Annotated[
        list[str] | None,
        typer.Option(
            "--open",
            metavar="[ROOMS:RIGHTS]",
            envvar="CHATKIT_OPEN",
            help="Give everyone these rights without a token, such as 'news*:read'. Alone, it is '*:read,write'.",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="CHATKIT_SECRET_FILE",
            help="Require the token in this file, of at least 8 characters; '-' is standard input.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="CHATKIT_SECRET",
            help="Require this token. Other users of the machine can see the command line: prefer --secret-file.",
            show_default=False,
        ),
    ] = None,
    rate_limit: Annotated[
        float,
        typer.Option(
            metavar="N",
            envvar="CHATKIT_RATE_LIMIT",
            min=0,
            help="Accept this many messages per second from a client; 0 is no limit. By default, programs on this"
            " machine may send 10000.",
        ),
    ] = 100,
    bot_limit: Annotated[
        int,
        typer.Option(
            metavar="N",
            envvar="CHATKIT_BOT_LIMIT",
            min=0,
            help="Refuse messages of bots in a room after they have written this many in turn, until a person writes;"
            " 0 is no limit.",
        ),
    ] = 100,
    max_connections: Annotated[
        int,
        typer.Option(
            metavar="N", envvar="CHATKIT_MAX_CONNECTIONS", min=1, help="Accept this many connections at once."
        ),
    ] = 10_000,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="CHATKIT_ORIGIN",
            help="Accept browsers on pages of this site. Repeat it for several sites; in the variable, use spaces.",
        ),
    ] = None,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            envvar="CHATKIT_TRUST_PROXY",
            help="Believe the X-Forwarded headers of proxies in this network, and only of those."
            " Without it, those of proxies on this machine.",
        ),
    ] = None,
    trust_header: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="CHATKIT_TRUST_HEADER",
            help="Use the name in this header, such as Remote-User, which a trusted proxy sets for a person.",
        ),
    ] = None,
    webhook_allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            envvar="CHATKIT_WEBHOOK_ALLOW",
            help="Let webhooks connect to this private network or address. Without it, they reach only the internet.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="CHATKIT_PAGE",
            help="Serve your own page from this folder: index.html at /, the other files at /static/.",
        ),
    ] = None,
    path_prefix: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            envvar="CHATKIT_PATH_PREFIX",
            help="Serve below this path, such as /chat, behind a proxy. The proxy may remove the path or keep it.",
        ),
    ] = "",
    log_level: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            envvar="CHATKIT_LOG_LEVEL",
            help="Log from this level on: debug, info, warning, error or critical.",
        ),
    ] = "warning",
    log_json: Annotated[
        bool, typer.Option("--log-json", envvar="CHATKIT_LOG_JSON", help="Write the log as JSON, one object per line.")
    ] = False,
) -> None:
    """Run the server: rooms over WebSocket and HTTP, and a page for browsers.

    By default, only this machine can connect. On any other address, the server requires a token, unless --open is
    given: its first start makes one for you. With several workers, SIGHUP restarts them one after another without
    losing messages.
    """
    with report_errors():
        from chatkit.server.log_writer import stderr_writer
        from chatkit.server.settings import LogLevel, Settings

        if application is not None:
            _check_application_options(ctx)
        level = next((each for each in get_args(LogLevel) if each == log_level), None)
        if level is None:
            raise BadRequest(f"--log-level must be one of {', '.join(get_args(LogLevel))}, not {log_level!r}")
        settings = Settings(
            host=host,
            port=port,
            backend=backend,
            workers=workers,
            history=history,
            keep=keep,
            keep_for_s=None if keep_for is None else read_duration(keep_for) / timedelta(seconds=1),
            open_grants=_open_grants(open_ or ()),
            secret=_secret(ctx, secret, secret_file),
            rate_limit=rate_limit,
            local_rate_limit=_local_rate_limit(ctx),
            bot_limit=bot_limit,
            max_connections=max_connections,
            origins=tuple(origin or ()),
            trust_proxies=tuple(trust_proxy or ()),
            trust_header=trust_header,
            webhook_allow=tuple(webhook_allow or ()),
            page=page,
            path_prefix=path_prefix,
            log_level=level,
            log_json=log_json,
        )
        try:
            status = _run(settings, application)
        finally:
            stderr_writer().flush()  # so that the log is printed before an error
        if status != ExitCode.DONE:
            raise typer.Exit(status)


def _check_application_options(ctx: typer.Context) -> None:
    """Raise `BadRequest` for an option that an application ignores. The environment and the file are not checked."""
    for name in NOT_WITH_APP:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.rstrip("_").replace("_", "-")
            raise BadRequest(
                f"--{option} applies to chatkit's own rooms only: leave it out when you serve an application"
            )


def _secret(ctx: typer.Context, secret: str | None, secret_file: Path | None) -> str | None:
    """Return the secret, or the content of its file. If both are given, the one with the stronger source wins."""
    if secret is None or secret_file is None:
        return secret if secret_file is None else read_secret(secret_file)
    secret_rank, file_rank = source_rank(ctx, "secret"), source_rank(ctx, "secret_file")
    if secret_rank == file_rank:
        raise BadRequest("give either --secret or --secret-file, not both")
    return secret if secret_rank < file_rank else read_secret(secret_file)


def _open_grants(values: Sequence[str]) -> tuple["Grant", ...]:
    """Return the grants of --open. In the environment, it can also be on or off."""
    from chatkit.core.access import check_grants, parse_open

    texts = [OPEN_TO_ALL if value.lower() in ON else value for value in values if value.lower() not in OFF]
    return check_grants([parse_open(text) for text in texts])


def _local_rate_limit(ctx: typer.Context) -> float | None:
    source = ctx.get_parameter_source("rate_limit")
    return LOCAL_RATE_LIMIT if source is None or source.name == "DEFAULT" else None


def _run(settings: "Settings", application: str | None) -> int:
    if settings.workers > 1:
        from chatkit.server.workers import supervisor

        return supervisor.run(settings, application)
    if application is not None:
        from chatkit.server import external_app

        return external_app.run(application, settings)
    gc.disable()  # until the server is ready: modules are no garbage, and looking for some takes 40 ms
    try:
        from chatkit.server import runner

        return runner.run(settings)
    finally:
        gc.enable()
