"""The files of chatkit's own page, at addresses that change with their content.

`static/VERSION/app.js` never changes: a browser keeps it and does not ask for it again. VERSION is a digest of all
files, because the modules import each other by relative addresses. At these addresses, scripts and styles come without
comments, which are a third of them; the lines keep their numbers. Knows no request.
"""

import gzip
import re
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

VERSION_CHARS: Final = 16  # 64 bits: two versions of the page do not collide
MAIN_MODULE: Final = "app.js"
CLIENT_MODULE: Final = "client.js"
# Browsers ask for these again at addresses that must stay the same.
UNVERSIONED: Final = frozenset({"manifest.webmanifest", "service_worker.js"})

_LINK: Final = re.compile(r'\b(href|src)="static/([^"]+)"')
_MAIN_SCRIPT: Final = re.compile(r'^( *)<script type="module" src="[^"]+"></script>\n', re.MULTILINE)
_IMPORT: Final = re.compile(r'^(?:import|export)\b[^"();]*"(\.{1,2}/[^"]+)"', re.MULTILINE)
_COMMENT: Final = re.compile(
    r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*$", re.MULTILINE | re.DOTALL
)  # one with its own lines
_VERSION: Final = re.compile(rf"[0-9a-f]{{{VERSION_CHARS}}}")


class PageFiles:
    """The files of a folder as they are when this object is made. They are kept in memory, compressed on demand."""

    def __init__(self, folder: Path) -> None:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file())
        self._contents = {name: _read(folder / name) for name in names if not name.endswith((".py", ".pyc"))}
        self._compressed: dict[str, bytes] = {}
        digest = sha256()
        for name, content in self._contents.items():
            digest.update(b"%s %d " % (name.encode(), len(content)) + content)
        self.version = digest.hexdigest()[:VERSION_CHARS]

    def get(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is no such file."""
        return self._contents.get(name)

    def compress(self, name: str) -> bytes:
        """Return the content of a file with gzip."""
        if name not in self._compressed:
            self._compressed[name] = gzip.compress(self._contents[name], mtime=0)
        return self._compressed[name]

    @cached_property
    def index(self) -> bytes:
        """The page: its links have the version, and it names all modules, so that the browser loads them at once."""
        text = self._contents["index.html"].decode()
        text = _MAIN_SCRIPT.sub(lambda script: self._preloads(script[1]) + script[0], text)
        return _LINK.sub(self._with_version, text).encode()

    @cached_property
    def compressed_index(self) -> bytes:
        """The page with gzip."""
        return gzip.compress(self.index, mtime=0)

    @cached_property
    def client_module(self) -> bytes:
        """The module at the root of the server that other pages import."""
        return f'export * from "./static/{self.version}/{CLIENT_MODULE}";\n'.encode()

    def modules(self, main: str) -> list[str]:
        """Return the names of a module and all that it imports, directly or not, in the order of the imports."""
        found = [main]
        for name in found:  # which grows
            folder = PurePosixPath(name).parent
            imported = (_resolve(folder, path) for path in _IMPORT.findall(self._contents[name].decode()))
            found += [each for each in dict.fromkeys(imported) if each not in found]
        return found

    def _preloads(self, indent: str) -> str:
        links = (f'{indent}<link rel="modulepreload" href="static/{name}">\n' for name in self.modules(MAIN_MODULE))
        return "".join(links)

    def _with_version(self, link: re.Match[str]) -> str:
        attribute, name = link.groups()
        folder = "static" if name in UNVERSIONED else f"static/{self.version}"
        return f'{attribute}="{folder}/{name}"'


@cache
def read_page_files(folder: Path) -> PageFiles:
    """Return the files of a folder. They are read once in a process."""
    return PageFiles(folder)


def split_version(path: str) -> tuple[str | None, str]:
    """Return the version in a path below `static/`, or None if it names none, and the name of the file."""
    first, _, rest = path.lstrip("/").partition("/")
    return (first, rest) if _VERSION.fullmatch(first) else (None, path)


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix not in {".css", ".js"}:
        return content
    return _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), content.decode()).encode()


def _resolve(folder: PurePosixPath, relative: str) -> str:
    parts: list[str] = list(folder.parts)
    for part in relative.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
