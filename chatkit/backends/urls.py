"""`open_backend`: the backend that a URL names. A backend's module is imported when its scheme is used.

Knows the syntax of the URLs, and nothing of how a backend uses their options. Nothing here touches a disk or a network.
"""

# ruff: noqa: PLC0415 - the imports inside functions are the purpose of this module

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from chatkit.core.backend import Backend
from chatkit.errors import BadBackendURL

STORE_NAME = "rooms.db"


def open_backend(url: str, *, make: bool = True) -> Backend:
    """Return the backend that a URL names, to be opened with `async with`.

    If `make` is false and the store does not exist, opening the backend raises `NotAStore`: a command that only reads
    must not create a store under a mistyped path. Raise `BadBackendURL` if the URL is malformed, or its scheme unknown.
    """
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise BadBackendURL(f"{url!r} has no scheme: a file is sqlite:///{url}")
    construct = _BACKENDS.get(scheme.lower())
    if construct is None:
        raise BadBackendURL(f"there is no backend {scheme!r}; known schemes: {_known()}")
    if not rest.startswith("//"):
        is_file = scheme.lower() == "sqlite"  # the rest of other URLs may hold a password
        raise BadBackendURL(
            f"{url!r} has no '//' after its scheme: {scheme}:///{rest.lstrip('/')}"
            if is_file
            else f"a URL of {scheme}: has '//' after the scheme: {scheme}://"
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadBackendURL(f"{without_password(url)!r} is not a URL: {error}") from error
    if parts.fragment:
        raise BadBackendURL(f"{without_password(url)!r} contains a '#': write it as %23")
    return construct(parts, make)


def without_password(url: str) -> str:
    """Return the URL without its password, as it may be shown and logged."""
    url = re.sub("//([^:/@]*):.*@", r"//\1:***@", url)  # a password may hold any character, but an '@' follows it
    return re.sub("([?&](?:ssl)?password=)[^&]*", r"\1***", url)


def _check_password(parts: SplitResult) -> None:
    """Raise `BadBackendURL` if a password is not escaped: parts of it would be parsed, and shown, as other parts."""
    _, colon, port = parts.netloc.rpartition(":")
    is_cut = "@" not in parts.netloc and colon and not port.isdigit() and "@" in parts.path + parts.query
    if is_cut and not parts.netloc.endswith("]"):
        raise BadBackendURL(f"in the password of a {parts.scheme}:// URL, write '/' as %2F and '?' as %3F")
    if parts.netloc.count("@") > 1:
        raise BadBackendURL(f"in the password of a {parts.scheme}:// URL, write '@' as %40")


def _memory(parts: SplitResult, _make: bool) -> Backend:  # noqa: FBT001 - all of one type
    from chatkit.backends.memory import DEFAULT_KEEP, MemoryBackend

    if parts.netloc or parts.path.strip("/"):
        raise BadBackendURL("memory:// takes no path: its rooms are lost when the process ends")
    keep = _options(parts, {"keep"}).get("keep", str(DEFAULT_KEEP))
    if not (keep.isascii() and keep.isdigit() and int(keep[:18]) > 0):
        raise BadBackendURL(f"memory://?keep= must be a whole number of at least 1, not {keep!r}")
    return MemoryBackend(keep=int(keep[:18]))


def _sqlite(parts: SplitResult, make: bool) -> Backend:  # noqa: FBT001 - all of one type
    from chatkit.backends.sqlite import SqliteBackend, Synchronous

    options = _options(parts, {"synchronous", "search"})
    synchronous = options.get("synchronous", "normal")
    if synchronous not in get_args(Synchronous):
        raise BadBackendURL(f"sqlite:///…?synchronous= must be normal or full, not {synchronous!r}")
    search = options.get("search", "scan")
    if search not in {"scan", "index"}:
        raise BadBackendURL(f"sqlite:///…?search= must be scan or index, not {search!r}")
    path = _sqlite_path(parts)
    return SqliteBackend(
        path or _default_path(),
        synchronous=cast("Synchronous", synchronous),
        make=make,
        make_folder=path is None,
        indexes=search == "index",
    )


def _sqlite_path(parts: SplitResult) -> Path | None:
    """Return the path after `sqlite:///`, or None if it is empty."""
    if parts.netloc:
        address = parts.netloc + parts.path
        raise BadBackendURL(f"sqlite://{address} needs three slashes: sqlite:///{address}")
    path = unquote(parts.path)[1:]
    if not path:
        return None
    if "\0" in path:
        raise BadBackendURL("the path of a file cannot contain NUL (%00)")
    if path == ":memory:":
        raise BadBackendURL("sqlite:///:memory: cannot be shared by connections: memory:// keeps rooms in memory")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadBackendURL(f"{path!r} has no home folder") from error


def _default_path() -> Path:
    from platformdirs import user_data_path

    path = user_data_path("chatkit", appauthor=False) / STORE_NAME
    if not path.is_absolute():  # it begins with a literal ~
        raise BadBackendURL("there is no home folder for the default store: name a file, such as sqlite:///rooms.db")
    return path


def _redis(parts: SplitResult, _make: bool) -> Backend:  # noqa: FBT001 - all of one type
    from chatkit.backends.redis.url import make_redis

    _check_password(parts)
    return make_redis(parts, _options(parts, {"prefix", "wait"}))


def _redis_pubsub(parts: SplitResult, _make: bool) -> Backend:  # noqa: FBT001 - all of one type
    from chatkit.backends.redis.url import make_redis_pubsub

    _check_password(parts)
    return make_redis_pubsub(parts, _options(parts, {"prefix"}))


def _postgresql(parts: SplitResult, make: bool) -> Backend:  # noqa: FBT001 - all of one type
    try:
        from chatkit.backends.postgres.url import make_postgres
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise BadBackendURL("postgresql:// needs a driver: pip install 'chatkit[postgres]'") from error
    _check_password(parts)
    return make_postgres(parts, make=make)


def _options(parts: SplitResult, known: Collection[str]) -> dict[str, str]:
    """Parse the query. Raise `BadBackendURL` for an unknown option, and for one that is given twice."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise BadBackendURL(f"{parts.scheme}:// has no option {name!r}; known options: {', '.join(sorted(known))}")
        if name in options:
            raise BadBackendURL(f"{parts.scheme}:// has the option {name!r} more than once")
        options[name] = value
    return options


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in _BACKENDS)


_BACKENDS: dict[str, Callable[[SplitResult, bool], Backend]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "redis": _redis,
    "rediss": _redis,
    "redis+cluster": _redis,
    "redis+sentinel": _redis,
    "redis+pubsub": _redis_pubsub,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}
