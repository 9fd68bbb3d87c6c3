"""The greeting: where the server is, and what to type next; and the token that it names, made where one is needed."""

import logging
import os
import secrets
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from chatkit import __version__
from chatkit.backends.urls import without_password
from chatkit.server.listen import url_of
from chatkit.server.log_config import JsonFormatter
from chatkit.server.log_writer import stderr_writer
from chatkit.server.settings import Settings
from chatkit.server.token_file import write_token


def say(greeting: str) -> None:
    """Tell the person at the terminal what they wait for."""
    stderr_writer().write(greeting)


def with_token(settings: Settings) -> Settings:
    """Make a token for a server that others can reach, unless there is one or none is wanted."""
    if settings.open:
        return replace(settings, secret=None)
    if settings.secret is None and not settings.is_loopback:
        return replace(settings, secret=secrets.token_urlsafe(18))
    return settings


def announcement(settings: Settings, port: int, *, is_made: bool) -> str:
    """Return the greeting. A token that was made here is shown on a terminal; else it is in a file that is named.

    A token that was given is not shown: whoever gave it knows it, and what is printed is often kept.
    """
    if not is_made or settings.secret is None:
        return greeting(settings, port)
    if sys.stderr.isatty() and not settings.log_json:
        return greeting(settings, port, token=settings.secret)
    return greeting(settings, port, token_file=write_token(settings.secret, port))


def greeting(settings: Settings, port: int, *, token: str | None = None, token_file: Path | None = None) -> str:
    """Say where the rooms are; with the token only if it is to be shown."""
    url = url_of(settings, port)
    query = "" if token is None else f"?token={quote(token, safe='')}"
    server = "" if url == "http://127.0.0.1:8000" else f" --server {url}"
    header = "" if settings.secret is None else '-H "Authorization: Bearer $CHATKIT_TOKEN" '
    command = _command()
    lines = [
        f"chatkit {__version__} keeps rooms in {without_password(settings.backend)}{_crew(settings)}",
        "",
        f"  open      {url}/{query}",
        f"  join      {command} join ops{server}",
        f"  publish   echo hello | {command} publish ops{server}",
        f"            curl -d hello {header}{shlex.quote(f'{url}/rooms/ops/messages')}",
        *_token_lines(settings, token, token_file),
        "",
        "Ctrl-C ends it.",
    ]
    if settings.open and not settings.is_loopback:
        lines.insert(0, "Warning: --open lets everyone who reaches this address read and write, without a token.")
    return _as_logged("\n".join(lines), settings)


def _token_lines(settings: Settings, token: str | None, token_file: Path | None) -> list[str]:
    if settings.secret is None:
        return []
    if token is not None:
        return ["  token     it is in the link; the commands read it from CHATKIT_TOKEN"]
    found = "the server's secret" if token_file is None else f"it is in {token_file}"
    return [f"  token     {found}; the page asks for it, and the commands read it from CHATKIT_TOKEN"]


def application_greeting(name: str, settings: Settings, port: int) -> str:
    """Say where somebody's own application is."""
    url = url_of(settings, port)
    said = f"chatkit {__version__} serves {name}{_crew(settings)}\n\n  open      {url}/\n\nCtrl-C ends it."
    return _as_logged(said, settings)


def _as_logged(said: str, settings: Settings) -> str:
    """Write it as a line of the log where that is of JSON: what reads the log reads nothing else."""
    if not settings.log_json:
        return said
    record = logging.LogRecord(__name__, logging.INFO, "", 0, said, None, None)
    secrets = [] if settings.secret is None else [settings.secret]
    return JsonFormatter(with_pid=settings.workers > 1, secrets=secrets).format(record)


def _command() -> str:
    """Say how this command is called here: a newcomer's environment may not be one that the shell looks in."""
    called = Path(sys.argv[0])
    is_found = called.name != "chatkit" or shutil.which("chatkit") is not None
    if is_found:
        return "chatkit"
    try:
        return shlex.quote(os.path.relpath(called))
    except OSError:  # the current folder was deleted
        return shlex.quote(str(called))


def _crew(settings: Settings) -> str:
    return f", with {settings.workers} workers" if settings.workers > 1 else ""
