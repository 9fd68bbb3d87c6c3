"""The Lua scripts: each file, behind what all of them share, known to a server by its hash."""

import hashlib
from functools import cache
from importlib import resources

from chatkit.backends.redis.connection import Command, Word

_sources: dict[bytes, bytes] = {}


class Script:
    """One script. Making its command sends nothing."""

    def __init__(self, name: str) -> None:
        source = _read("room") + _read(name)
        self._sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        _sources[self._sha] = source

    def __call__(self, keys: list[bytes], arguments: list[Word]) -> Command:
        """Return the command that runs it where it is known."""
        return ("EVALSHA", self._sha, len(keys), *keys, *arguments)


@cache
def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_bytes()


def source_of(sha: Word) -> bytes:
    """Return the text of a script, for a server that has forgotten it."""
    return _sources[sha] if isinstance(sha, bytes) else b""
