"""The Lua scripts. Each is room.lua, which they share, followed by its own files; a server knows it by its hash."""

import hashlib
from functools import cache
from importlib import resources

from chatkit.backends.redis.connection import Command, Word

_sources: dict[bytes, bytes] = {}


class Script:
    """One script, in the files `names`. Calling it makes the command and sends nothing."""

    def __init__(self, *names: str) -> None:
        source = b"".join(map(_read, ("room", *names)))
        self._sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        _sources[self._sha] = source

    def __call__(self, keys: list[bytes], arguments: list[Word]) -> Command:
        """Return the command that runs the script on a server that knows it."""
        return ("EVALSHA", self._sha, len(keys), *keys, *arguments)


@cache
def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_bytes()


def source_of(sha: Word) -> bytes:
    """Return the source of a script, for a server that does not know it."""
    return _sources[sha] if isinstance(sha, bytes) else b""
