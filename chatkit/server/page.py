"""The browser page: `GET /` and the files it is made of, with the headers that keep it to itself."""

from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import File, Redirect

import chatkit
from chatkit.errors import Unauthorized
from chatkit.server.access import COOKIE, AccessPolicy

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
EXTRA_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
MAX_PATH_CHARS: Final = 1_024  # of a file's path below the page's folder
MAX_PATH_PARTS: Final = 16  # each is looked up on the disk
COOKIE_AGE_S: Final = 30 * 24 * 3600


def static_folder() -> Path:
    """Return where the page's files are: in the installed package, or beside it in a source tree."""
    installed = Path(chatkit.__file__).parent / "static"
    return installed if (installed / "index.html").is_file() else Path(chatkit.__file__).parent.parent / "static"


def page_handlers(folder: Path | None, gate: AccessPolicy) -> list[HTTPRouteHandler]:
    """Return the handlers of chatkit's own page, or of somebody's in `folder`, which sets its own policy."""
    root = (folder or static_folder()).resolve()
    headers = HEADERS if folder is None else EXTRA_HEADERS

    @route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def index(request: Request[Any, Any, Any], token: FromQuery[str | None] = None) -> Response[Any]:
        gate.check_host(request.headers.get("host"))
        if token is None:
            return _file(root / "index.html", headers)
        # The token is kept in a cookie that scripts cannot read, and taken out of the address bar and the history.
        response: Response[Any] = Redirect("/", status_code=303)
        if gate.token is None:
            return response
        try:
            gate.check_token(token)
        except Unauthorized:
            return response
        response.set_cookie(key=COOKIE, value=token, httponly=True, samesite="strict", max_age=COOKIE_AGE_S)
        return response

    @route("/static/{path:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def asset(path: FromPath[str]) -> Response[Any]:
        found = _find(root, path)
        if found is None:
            raise NotFoundException(f"there is no file {path[:80]}")
        return _file(found, headers)

    return [index, asset]


def _find(root: Path, path: str) -> Path | None:
    if len(path) > MAX_PATH_CHARS or path.count("/") > MAX_PATH_PARTS:
        return None
    try:
        found = (root / path.lstrip("/")).resolve()
        return found if found.is_file() and _is_shown(found.relative_to(root)) else None
    except (OSError, ValueError):  # a name that no file can have, or a place outside of the folder
        return None


def _is_shown(path: Path) -> bool:
    # What begins with a dot is no part of a page: `.env`, `.git`. Nor is what makes ours a package.
    return path.suffix != ".py" and not any(part.startswith(".") for part in path.parts)


def _file(path: Path, headers: dict[str, str]) -> File:
    # Who is told not to sniff runs no script, and shows no picture, of a type that is not said.
    media_type = MEDIA_TYPES.get(path.suffix) or guess_type(path.name)[0]
    return File(path, media_type=media_type, content_disposition_type="inline", headers=dict(headers))
