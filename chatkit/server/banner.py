"""The banner that is printed when the server is ready: its address, the commands to try next, and the token."""

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from chatkit import __version__
from chatkit.backends.urls import without_password
from chatkit.core.access import ALL_ROOMS
from chatkit.server.listen import url_of
from chatkit.server.log_config import JsonFormatter
from chatkit.server.log_writer import stderr_writer
from chatkit.server.settings import Settings
from chatkit.server.token_file import write_token

HOW_TO_STOP = "Press Ctrl-C to stop the server."


def print_banner(banner: str) -> None:
    """Write the banner to standard error, in order with the lines of the log."""
    stderr_writer().write(banner)


def startup_banner(settings: Settings, port: int, *, first_token: str | None) -> str:
    """Return the banner. Show a new token on a terminal, or else write it to a file and name that.

    A secret that the operator gave is never shown: the operator knows it, and what is printed is often stored.
    """
    if first_token is None:
        return rooms_banner(settings, port)
    if sys.stderr.isatty() and not settings.log_json:
        return rooms_banner(settings, port, token=first_token)
    return rooms_banner(settings, port, token_file=write_token(first_token, port))


def rooms_banner(settings: Settings, port: int, *, token: str | None = None, token_file: Path | None = None) -> str:
    """Return the banner of a server of rooms. It shows the token only if `token` is given."""
    url = url_of(settings, port)
    query = "" if token is None else f"?token={quote(token, safe='')}"
    server = "" if url == "http://127.0.0.1:8000" else f" --server {url}"
    header = '-H "Authorization: Bearer $CHATKIT_TOKEN" ' if _needs_token(settings) else ""
    command = _command()
    lines = [
        f"chatkit {__version__} keeps rooms in {without_password(settings.backend)}{_worker_count(settings)}",
        "",
        f"  open      {url}/{query}",
        f"  join      {command} join ops{server}",
        f"  publish   echo hello | {command} publish ops{server}",
        f"            curl -d hello {header}{shlex.quote(f'{url}/rooms/ops/messages')}",
        *_token_lines(settings, token, token_file),
        "",
        HOW_TO_STOP,
    ]
    if warning := _open_warning(settings):
        lines.insert(0, warning)
    return _as_logged("\n".join(lines), settings)


def _needs_token(settings: Settings) -> bool:
    return not (settings.is_open or settings.open_grants)


def _open_warning(settings: Settings) -> str | None:
    if settings.is_loopback or not settings.open_grants:
        return None
    grants = ", ".join(f"{' and '.join(grant.rights)} {_name_of(grant.rooms)}" for grant in settings.open_grants)
    return f"Warning: --open lets everyone who reaches this address {grants}, without a token."


def _name_of(pattern: str) -> str:
    return "all rooms" if pattern == ALL_ROOMS else pattern


def _token_lines(settings: Settings, token: str | None, token_file: Path | None) -> list[str]:
    if token is not None:
        return [
            "  token     part of the link above, and an administrator's: keep it, because it is not shown again",
            "            for the commands, set CHATKIT_TOKEN to it",
        ]
    if token_file is not None:
        found = f"an administrator's, stored in {token_file}"
    elif settings.secret is not None:
        found = "the server's secret"
    elif _needs_token(settings):
        found = "one that was made before; chatkit token add NAME makes another"
    else:
        return []
    return [f"  token     {found}; enter it in the page, and set CHATKIT_TOKEN to it for the commands"]


def application_banner(name: str, settings: Settings, port: int) -> str:
    """Return the banner of a server that runs the user's own application."""
    url = url_of(settings, port)
    banner = f"chatkit {__version__} serves {name}{_worker_count(settings)}\n\n  open      {url}/\n\n{HOW_TO_STOP}"
    return _as_logged(banner, settings)


def _as_logged(banner: str, settings: Settings) -> str:
    """Return the banner as a line of JSON if the log is JSON: a program that reads the log expects nothing else."""
    if not settings.log_json:
        return banner
    record = logging.LogRecord(__name__, logging.INFO, "", 0, banner, None, None)
    secrets = [] if settings.secret is None else [settings.secret]
    return JsonFormatter(with_pid=settings.workers > 1, secrets=secrets).format(record)


def _command() -> str:
    """Return how to call this command here: its virtual environment may not be on the shell's PATH."""
    called = Path(sys.argv[0])
    is_found = called.name != "chatkit" or shutil.which("chatkit") is not None
    if is_found:
        return "chatkit"
    try:
        return shlex.quote(os.path.relpath(called))
    except OSError:  # the current folder was deleted
        return shlex.quote(str(called))


def _worker_count(settings: Settings) -> str:
    return f", with {settings.workers} workers" if settings.workers > 1 else ""
