"""`chatkit.toml`: settings that need not be typed. Read from this folder, else from the user's configuration folder.

    server = "https://chat.example.org"   # for join, publish, history and rooms
    name = "ann"
    token = "…"
    backend = "sqlite:///rooms.db"        # where `serve` keeps its rooms, and where the others go without a server

    [serve]                               # what `chatkit serve` takes, by the names of its options
    port = 9000
    keep-for = "30d"
    origin = ["https://chat.example.org"]

Flags and the environment go before it. What it says becomes the commands' defaults; what they mean, it does not know.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chatkit.errors import BadRequest

FILE_NAME = "chatkit.toml"
CLIENT_KEYS = ("server", "name", "token", "backend")
CLIENT_COMMANDS = ("join", "publish", "history", "rooms")

Defaults = dict[str, dict[str, Any]]


def find_file() -> Path | None:
    """Return the file that counts, if there is one."""
    here = Path(FILE_NAME)
    if here.is_file():
        return here
    from platformdirs import user_config_path

    there = user_config_path("chatkit", appauthor=False) / FILE_NAME
    return there if there.is_file() else None


def read_file(path: Path, serve_options: Mapping[str, str]) -> Defaults:
    """Read a file as the defaults of each command; raise `BadRequest` that names what is wrong in it.

    `serve_options` are those of `serve` by name, with the name of the parameter that each one sets.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
