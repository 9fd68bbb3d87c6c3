"""The browser page: `GET /` and the files it is made of, with the headers that keep it to itself."""

from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final

from litestar import HttpMethod, Request, Response, route
from litestar.datastructures import ETag
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import File, Redirect
from litestar.status_codes import HTTP_304_NOT_MODIFIED

import chatkit
from chatkit.errors import Unauthorized
from chatkit.server.access import AccessPolicy, port_of
from chatkit.server.token_attempts import client_address

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
            return _file(request, root / "index.html", headers)
        return _exchange(request, gate, token)

    @route("/static/{path:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def asset(request: Request[Any, Any, Any], path: FromPath[str]) -> Response[Any]:
        found = _find(root, path)
        if found is None:
            raise NotFoundException(f"there is no file {path[:80]}")
        return _file(request, found, headers)

    return [index, asset]


def _exchange(request: Request[Any, Any, Any], gate: AccessPolicy, token: str) -> Response[Any]:
    """Keep the token out of the address bar and the history: a browser has a cookie from here on.

    The redirect is relative, so that it leads to the page below whatever prefix a proxy has for it.
    """
    response: Response[Any] = Redirect("./", status_code=303, headers={"Referrer-Policy": "no-referrer"})
    if gate.cookie is None:
        return response
    headers = request.headers
    peer = request.client.host if request.client else ""
    try:
        gate.check_token(token, client_address(peer, headers.get("x-forwarded-for")))
    except Unauthorized:
        return response
    host = headers.get("host")
    server = request.scope.get("server")
    is_secure = gate.is_https(host, request.scope["scheme"], headers.get("x-forwarded-proto"))
    own_port = (server[1] if server else None) or 0  # a socket file has no port
    response.headers["Set-Cookie"] = gate.cookie.header(port_of(host, own_port), is_secure=is_secure)
    return response


def _find(root: Path, path: str) -> Path | None:
    if len(path) > MAX_PATH_CHARS or path.count("/") > MAX_PATH_PARTS:
        return None
    try:
        found = (root / path.lstrip("/")).resolve()
        return found if found.is_file() and _is_shown(found.relative_to(root)) else None
    # A name that no file can have, a place outside of the folder, or links that lead in a circle.
    except (OSError, ValueError, RuntimeError):
        return None


def _is_shown(path: Path) -> bool:
    # What begins with a dot is no part of a page: `.env`, `.git`. Nor is what makes ours a package.
    return path.suffix != ".py" and not any(part.startswith(".") for part in path.parts)


def _file(request: Request[Any, Any, Any], path: Path, headers: dict[str, str]) -> Response[Any]:
    at = path.stat()
    tag = ETag(value=f"{at.st_mtime_ns:x}-{at.st_size:x}")
    if _has_tag(request.headers.get("if-none-match"), tag):
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers={**headers, "ETag": tag.to_header()})
    # Who is told not to sniff runs no script, and shows no picture, of a type that is not said.
    media_type = MEDIA_TYPES.get(path.suffix) or guess_type(path.name)[0]
    return File(path, media_type=media_type, content_disposition_type="inline", headers=dict(headers), etag=tag)


def _has_tag(if_none_match: str | None, tag: ETag) -> bool:
    """Return whether the client has this version (RFC 9110 section 13.1.2); a weak tag of it counts."""
    given = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in given or tag.to_header() in given
