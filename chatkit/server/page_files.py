"""The files of chatkit's own page, at addresses that change with their content.

`static/VERSION/app.js` never changes: a browser keeps it and does not ask for it again. VERSION is a digest of all
files, because the modules import each other by relative addresses. The modules and styles that the page loads at once
are joined to one file each, without comments. Its small scripts that are no modules become part of the page: they run
before anything else is loaded. Knows no request.
"""

import gzip
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from chatkit.server.page_bundle import bundle

VERSION_CHARS: Final = 16  # 64 bits: two versions of the page do not collide
SCRIPT: Final = "page.js"
STYLE: Final = "page.css"
CLIENT: Final = "client.js"
# Browsers ask for these again at addresses that must stay the same.
UNVERSIONED: Final = frozenset({"manifest.webmanifest", "service_worker.js"})

_LINK: Final = re.compile(r'\b(href|src)="static/([^"]+)"')
_SCRIPTS: Final = re.compile(r'(?:[ \t]*<script src="static/[^"]+"></script>\n)+')
_STYLES: Final = re.compile(r'(?:[ \t]*<link rel="stylesheet" href="static/[^"]+">\n)+')
_VERSION: Final = re.compile(rf"[0-9a-f]{{{VERSION_CHARS}}}")
_COMMENT: Final = re.compile(  # on lines of its own
    r"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*\n", re.MULTILINE | re.DOTALL
)


class PageFiles:
    """The files of the page in a folder, as they are when this object is made.

    `version` is their version, `index` the page with links to this version, and `client_module` the module that other
    pages import. `script_source` allows the script in the page in its security policy (CSP level 3, section 2.3.1).
    Making this object takes 100 ms of processor time.
    """

    def __init__(self, folder: Path) -> None:
        self._contents = _read(folder)
        self.version = _digest(self._contents)
        texts = {name: _without_comments(content) for name, content in self._contents.items() if _is_code(name)}
        page = self._contents["index.html"].decode()
        styles = re.findall(r'"static/([^"]+\.css)"', "".join(_STYLES.findall(page)))
        self._contents |= {name: text.encode() for name, text in texts.items()}
        self._contents[SCRIPT] = bundle("app.js", texts, has_exports=False).encode()
        self._contents[STYLE] = "".join(texts[name] for name in styles).encode()
        scripts = re.findall(r'src="static/([^"]+)"', "".join(_SCRIPTS.findall(page)))
        self._script = "\n".join(("", *(texts[name] for name in scripts)))
        self.script_source = f"'sha256-{b64encode(sha256(self._script.encode()).digest()).decode()}'"
        self.client_module = bundle(CLIENT, texts, has_exports=True).encode()
        self.index = self._render(page)
        self._compressed: dict[bytes, bytes] = {}
        for content in (self.index, self.client_module, self._contents[SCRIPT], self._contents[STYLE]):
            self.compress(content)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file of this version, or None if there is no such file."""
        return self._contents.get(name)

    def compress(self, content: bytes) -> bytes:
        """Return one of these contents with gzip."""
        if content not in self._compressed:
            self._compressed[content] = gzip.compress(content, mtime=0)
        return self._compressed[content]

    def _render(self, page: str) -> bytes:
        page = _STYLES.sub(f'    <link rel="stylesheet" href="static/{STYLE}">\n', page, count=1)
        page = _SCRIPTS.sub(lambda _: f"    <script>{self._script}</script>\n", page, count=1)
        page = page.replace('src="static/app.js"', f'src="static/{SCRIPT}"')
        return _LINK.sub(self._with_version, page).encode()

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


def _read(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*.*") if path.is_file() and path.suffix not in {".py", ".pyc"})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _digest(contents: dict[str, bytes]) -> str:
    digest = sha256()
    for name, content in contents.items():
        digest.update(b"%s %d " % (name.encode(), len(content)) + content)
    return digest.hexdigest()[:VERSION_CHARS]


def _is_code(name: str) -> bool:
    return name.endswith((".css", ".js"))


def _without_comments(content: bytes) -> str:
    return _COMMENT.sub("", content.decode())
