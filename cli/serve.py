"""`chatkit serve`: options into settings; everything else is the server's."""

import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from chatkit.cli.exit_codes import exits
from chatkit.cli.options import rank
from chatkit.cli.secret_file import read_secret
from chatkit.cli.times import read_duration
from chatkit.errors import BadRequest
from chatkit.wire.codes import ExitCode

if TYPE_CHECKING:
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


NOT_WITH_APP = ("history", "keep", "keep_for", "open_", "secret", "secret_file", "origin", "page", "path_prefix")


def serve(
    ctx: typer.Context,
    application: Annotated[
        str | None,
        typer.Argument(
            metavar="APP",
            help="Serve this application, as module:name, in place of chatkit's own; it decides who comes in.",
            show_default=False,
        ),
    ] = None,
    *,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", envvar="CHATKIT_HOST", help="Where to listen. 0.0.0.0 is every network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="CHATKIT_PORT", min=0, max=65_535, help="0 is any free one.")] = 8000,
    backend: Annotated[
        str,
        typer.Option(
            metavar="URL", envvar="CHATKIT_BACKEND", help="Where rooms are kept; sqlite:// is in your data folder."
        ),
    ] = "sqlite://",
    workers: Annotated[
        int, typer.Option(metavar="N", envvar="CHATKIT_WORKERS", min=1, help="Processes that serve, on one store.")
    ] = 1,
    history: Annotated[
        int, typer.Option(metavar="N", envvar="CHATKIT_HISTORY", min=0, help="Past messages that one who joins sees.")
    ] = 10,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", envvar="CHATKIT_KEEP", min=1, help="Keep so many messages a room; else, all."),
    ] = None,
    keep_for: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", envvar="CHATKIT_KEEP_FOR", help="Keep them so long, as 12h or 30d; else, for ever."
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", envvar="CHATKIT_OPEN", help="Let in everyone who can reach it, without a token.")
    ] = False,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="CHATKIT_SECRET_FILE",
            help="Ask for the token in this file, at least 8 characters; - reads it from standard input.",
        ),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            envvar="CHATKIT_SECRET",
            help="The token itself. On the command line, every user of the machine sees it: use --secret-file.",
        ),
    ] = None,
    rate_limit: Annotated[
        float, typer.Option(metavar="N", envvar="CHATKIT_RATE_LIMIT", min=0, help="Messages a second; 0 is no limit.")
    ] = 100,
    max_connections: Annotated[
        int, typer.Option(metavar="N", envvar="CHATKIT_MAX_CONNECTIONS", min=1, help="Connections at once.")
    ] = 10_000,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            envvar="CHATKIT_ORIGIN",
            help="Let this site's pages in. Can be given again; in the environment, spaces between.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="CHATKIT_PAGE",
            help="Serve this folder as the page: index.html at /, its files at /static/.",
        ),
    ] = None,
    path_prefix: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            envvar="CHATKIT_PATH_PREFIX",
            help="Serve below this path, such as /chat, behind a proxy that may remove it or not.",
        ),
    ] = "",
    log_level: Annotated[
        str, typer.Option(metavar="LEVEL", envvar="CHATKIT_LOG_LEVEL", help="debug, info, warning, error or critical.")
    ] = "warning",
    log_json: Annotated[bool, typer.Option("--log-json", envvar="CHATKIT_LOG_JSON", help="Log JSON lines.")] = False,
) -> None:
    """Run the server: rooms over WebSocket and HTTP, and a page.

    It listens on this machine alone unless told otherwise; on any other address it asks for a token. With several
    workers, SIGHUP restarts them one after another, and nothing is lost.
    """
    with exits():
        from chatkit.server.log_writer import stderr_writer
        from chatkit.server.settings import LogLevel, Settings

        if application is not None:
            _refuse_what_is_its_own(ctx)
        level = next((each for each in get_args(LogLevel) if each == log_level), None)
        if level is None:
            raise BadRequest(f"--log-level is one of {', '.join(get_args(LogLevel))}, not {log_level!r}")
        settings = Settings(
            host=host,
            port=port,
            backend=backend,
            workers=workers,
            history=history,
            keep=keep,
            keep_for_s=None if keep_for is None else read_duration(keep_for) / timedelta(seconds=1),
            open=open_,
            secret=_secret(ctx, secret, secret_file),
            rate_limit=rate_limit,
            max_connections=max_connections,
            origins=tuple(origin or ()),
            page=page,
            path_prefix=path_prefix,
            log_level=level,
            log_json=log_json,
        )
        try:
            status = _run(settings, application)
        finally:
            stderr_writer().flush()  # the log stands above the sentence that may follow
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all has ended: Ctrl-C once more would only change the status
        if status != ExitCode.DONE:
            raise typer.Exit(status)


def _refuse_what_is_its_own(ctx: typer.Context) -> None:
    """Raise `BadRequest` for an option that would do nothing; the environment and the file may be another server's."""
    for name in NOT_WITH_APP:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.rstrip("_").replace("_", "-")
            raise BadRequest(f"--{option} is of chatkit's own rooms: an application decides that by itself")


def _secret(ctx: typer.Context, secret: str | None, secret_file: Path | None) -> str | None:
    """Return the secret, or what its file holds; where both are given, the nearer to the person who types counts."""
    if secret is None or secret_file is None:
        return secret if secret_file is None else read_secret(secret_file)
    of_secret, of_file = rank(ctx, "secret"), rank(ctx, "secret_file")
    if of_secret == of_file:
        raise BadRequest("give either --secret or --secret-file")
    return secret if of_secret < of_file else read_secret(secret_file)


def _run(settings: "Settings", application: str | None) -> int:
    if settings.workers > 1:
        from chatkit.server.workers import supervisor

        return supervisor.run(settings, application)
    if application is not None:
        from chatkit.server import external_app

        return external_app.run(application, settings)
    from chatkit.server import runner

    return runner.run(settings)
