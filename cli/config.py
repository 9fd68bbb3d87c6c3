"""`chatkit.toml`: settings that need not be typed.

    server = "https://chat.example.org"   # for join, publish, history and rooms
    name = "ann"
    token = "…"
    backend = "sqlite:///rooms.db"        # where `serve` keeps its rooms, and where the others go without a server

    [serve]                               # what `chatkit serve` takes, by the names of its options
    port = 9000
    keep-for = "30d"
    origin = ["https://chat.example.org"]

Flags override environment variables, which override the file. Its settings become the commands' defaults; this module
does not know what they mean.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chatkit.cli.config_file import ConfigFile
from chatkit.cli.input import without_mark
from chatkit.errors import BadBody, BadRequest

CLIENT_KEYS = ("server", "name", "token", "backend")
CLIENT_COMMANDS = ("join", "publish", "history", "rooms")

Defaults = dict[str, dict[str, Any]]


def read_defaults(file: ConfigFile, serve_options: Mapping[str, str]) -> Defaults:
    """Return a file's settings as the defaults of each command. Raise `BadRequest` that names what is wrong in it.

    `serve_options` are those of `serve` by name, with the name of the parameter that each one sets.
    """
    path = file.path
    try:
        settings = tomllib.loads(without_mark(file.data, "it").decode())
    except (ValueError, RecursionError, BadBody) as error:  # a number of too many digits is a ValueError, too
        raise BadRequest(f"{path} is not TOML: {error}") from error
    serve = settings.pop("serve", {})
    if not isinstance(serve, dict):
        raise BadRequest(f"in {path}, serve is a table: [serve]")
    _check(path, settings, CLIENT_KEYS)
    _check(path, serve, sorted(serve_options), table="serve.")
    if isinstance(serve.get("origin"), str):  # one of what may be several
        serve["origin"] = [serve["origin"]]
    defaults = dict.fromkeys(CLIENT_COMMANDS, settings)
    backend = {"backend": settings["backend"]} if "backend" in settings else {}
    defaults["serve"] = backend | {serve_options[key]: value for key, value in serve.items()}
    return defaults


def _check(path: Path, given: dict[str, Any], known: Collection[str], table: str = "") -> None:
    for key, value in given.items():
        if key not in known:
            raise BadRequest(f"{path} has an unknown key {table + key!r}: known are {', '.join(known)}")
        if table == "" and not isinstance(value, str):
            raise BadRequest(f"in {path}, {key} is a string")
        if not isinstance(value, str | int | float | list):
            raise BadRequest(f"in {path}, {table}{key} is neither a string nor a number, true, false or a list")
