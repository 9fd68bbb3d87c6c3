"""`chatkit.toml`: settings that replace options.

    server = "https://chat.example.org"   # for all commands but `serve` and `bench`
    name = "ann"
    token = "…"
    backend = "sqlite:///rooms.db"        # the store of `serve`; the other commands open it without a server

    [serve]                               # options of `chatkit serve`, by their names
    port = 9000
    keep-for = "30d"
    origin = ["https://chat.example.org"]

Flags override environment variables, which override the file. Its settings become the commands' defaults; this module
does not interpret them.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chatkit.cli.config_file import ConfigFile
from chatkit.cli.input import without_mark
from chatkit.errors import BadBody, BadRequest

CLIENT_KEYS = ("server", "name", "token", "backend")
CLIENT_COMMANDS = (
    "join", "publish", "reply", "edit", "react", "redact", "history", "rooms", "unread", "mentions", "invite",
    "redeem", "export", "import", "backup", "mcp", "on",
)  # fmt: skip
CLIENT_GROUPS = {
    "token": ("add", "list", "show", "revoke", "rotate", "remove"),
    "ban": ("add", "list", "remove"),
    "room": ("show", "set", "delete", "rename"),
    "consumers": ("list", "show", "seek", "delete"),
    "webhook": ("add", "list", "show", "test", "resume", "remove"),
}

Defaults = dict[str, dict[str, Any]]  # by command, or by group and command


def read_defaults(file: ConfigFile, serve_options: Mapping[str, str]) -> Defaults:
    """Return a file's settings as the defaults of each command. Raise `BadRequest` that names the mistake.

    `serve_options` maps the name of each option of `serve` to the name of its parameter.
    """
    path = file.path
    try:
        settings = tomllib.loads(without_mark(file.data, "it").decode())
    except (ValueError, RecursionError, BadBody) as error:  # an integer with too many digits also raises ValueError
        raise BadRequest(f"{path} is not valid TOML: {error}") from error
    serve = settings.pop("serve", {})
    if not isinstance(serve, dict):
        raise BadRequest(f"in {path}, serve must be a table: [serve]")
    _check(path, settings, CLIENT_KEYS)
    _check(path, serve, sorted(serve_options), table="serve.")
    for key in ("origin", "open", "trust-proxy", "webhook-allow"):
        if isinstance(serve.get(key), str):  # a single value may be written without a list
            serve[key] = [serve[key]]
    if isinstance(serve.get("open"), bool):
        serve["open"] = [str(serve["open"])]
    defaults: Defaults = dict.fromkeys(CLIENT_COMMANDS, settings)
    defaults |= {group: dict.fromkeys(commands, settings) for group, commands in CLIENT_GROUPS.items()}
    backend = {"backend": settings["backend"]} if "backend" in settings else {}
    defaults["serve"] = backend | {serve_options[key]: value for key, value in serve.items()}
    return defaults


def _check(path: Path, given: dict[str, Any], known: Collection[str], table: str = "") -> None:
    for key, value in given.items():
        if key not in known:
            raise BadRequest(f"{path} has an unknown key {table + key!r}; the known keys are {', '.join(known)}")
        if table == "" and not isinstance(value, str):
            raise BadRequest(f"in {path}, {key} must be a string")
        if not isinstance(value, str | int | float | list):
            raise BadRequest(f"in {path}, {table}{key} must be a string, a number, true, false or a list")
