"""The browser page: `GET /`, its files, and the client module for other pages.

The page has headers that isolate it from other sites.
"""

import asyncio
from contextlib import suppress
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

from litestar import HttpMethod, Response, route
from litestar.datastructures import ETag
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import File, Redirect
from litestar.status_codes import HTTP_304_NOT_MODIFIED
from msgspec.structs import replace

import chatkit
from chatkit.core.access import Credential, Identity
from chatkit.errors import Banned, ChatkitError, Forbidden, Unauthorized
from chatkit.server.access import port_of
from chatkit.server.admission import Admission
from chatkit.server.browser_site import is_secure
from chatkit.server.error_pages import unknown_host, wants_page
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.page_files import PageFiles, read_page_files, split_version

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
# Of a file at an address that has its version: it never changes, and a year is long enough.
VERSIONED_HEADERS: Final = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
# The service worker is in `static/`, but the page that it serves offline is above.
WORKER_HEADERS: Final = {**HEADERS, "Service-Worker-Allowed": "../"}
CUSTOM_PAGE_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
COMPRESSIBLE: Final = frozenset({".css", ".html", ".js", ".svg", ".webmanifest"})
MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
MAX_PATH_CHARS: Final = 1_024  # of a file's path below the page's folder
MAX_PATH_PARTS: Final = 16  # the disk is asked about each


def static_folder() -> Path:
    """Return the folder of the page's files: in the installed package, or beside it in a source tree."""
    installed = Path(chatkit.__file__).parent / "static"
    return installed if (installed / "index.html").is_file() else Path(chatkit.__file__).parent.parent / "static"


class PageFolder(NamedTuple):
    """The folder of the page's files: chatkit's own, or one that the settings name."""

    root: Path
    is_own: bool

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """Return the folder of the settings; None is chatkit's own page."""
        return cls((folder or static_folder()).resolve(), is_own=folder is None)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of its files. A page in a folder of the settings declares its own security policy."""
        return HEADERS if self.is_own else CUSTOM_PAGE_HEADERS


@route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def index(
    request: HttpRequest, admission: NamedDependency[Admission], token: FromQuery[str | None] = None
) -> Response[Any]:
    """Answer with the page, or exchange the token of a link for a cookie."""
    host = request.headers.get("host")
    try:
        admission.policy.check_host(host)
    except Forbidden:
        if host is None or not wants_page(request):
            raise  # a problem document, for programs
        return unknown_host(host, "https" if is_secure(request, admission) else "http")
    if token is not None:
        return _exchange_token(request, admission, token)
    folder: PageFolder = request.app.state.page
    if not folder.is_own:
        return _file(request, folder.root / "index.html", folder.headers)
    files = await _own_files()
    return _content(request, files, files.index, ".html", _page_headers(files))


@route("/static/{path:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def asset(request: HttpRequest, path: FromPath[str]) -> Response[Any]:
    """Answer with a file of the page. A page in a folder of the settings can import chatkit's client module, too."""
    version, name = split_version(path)
    if version is not None and (answer := await _versioned(request, version, name)):
        return answer
    # A page of another version, which is open while the server is replaced, gets the present files.
    folder: PageFolder = request.app.state.page
    found = _find(folder.root, name)
    if found is None:
        raise NotFoundException(f"there is no file {path[:80]}")
    is_worker = folder.is_own and found == folder.root / "service_worker.js"
    return _file(request, found, WORKER_HEADERS if is_worker else folder.headers)


@route("/client.js", http_method=[HttpMethod.GET, HttpMethod.HEAD])
async def client_module(request: HttpRequest) -> Response[Any]:
    """Answer with the module that pages import to use this server."""
    files = await _own_files()
    return _content(request, files, files.client_module, ".js", HEADERS)


page_handlers = (index, asset, client_module)


def _page_headers(files: PageFiles) -> dict[str, str]:
    """Return the headers of chatkit's own page, which allow the script in it."""
    policy = POLICY.replace("script-src 'self'", f"script-src 'self' {files.script_source}")
    return {**HEADERS, "Content-Security-Policy": policy}


async def _own_files() -> PageFiles:
    # In a thread, because the first call takes 100 ms.
    return await asyncio.to_thread(read_page_files, static_folder())


async def _versioned(request: HttpRequest, version: str, name: str) -> Response[Any] | None:
    """Answer with a file of chatkit's own page, or return None if this is not its version or there is no such file."""
    files = await _own_files()
    content = files.get(name)
    if content is None or version != files.version:
        return None
    return _content(request, files, content, Path(name).suffix, VERSIONED_HEADERS)


def _exchange_token(request: HttpRequest, admission: Admission, token: str) -> Response[Any]:
    """Redirect to the page without the token, and set a cookie in its place.

    So the token stays neither in the address bar nor in the browser's history. The redirect is relative, because a
    proxy may serve the page below a prefix that this server does not know.

    A link that somebody else made must not sign a visitor in as another without asking. If it may, the redirect passes
    the token on to the page, which asks, in the fragment.
    """
    authenticator = admission.authenticator
    address = authenticator.address(authenticator.read(request.scope))
    path, headers = "./", {"Referrer-Policy": "no-referrer"}
    with suppress(Unauthorized, Banned):
        identity = authenticator.by_token(token, None, address)
        value = authenticator.cookie_value(identity)
        if value is not None and _may_replace_another(request, admission, identity):
            path = f"./#token={quote(token, safe='')}"
        elif value is not None:
            headers["Set-Cookie"] = session_cookie(request, admission, value)
    return Redirect(path, status_code=303, headers=headers)


def _may_replace_another(request: HttpRequest, admission: Admission, identity: Identity) -> bool:
    """Return whether the visitor may be signed in already, and not as this identity.

    When a page of another site opens the link, the browser does not send the cookie, which is `SameSite=Strict`.
    """
    if request.headers.get("sec-fetch-site") == "cross-site":
        return True
    authenticator = admission.authenticator
    try:
        present = authenticator.identify(replace(authenticator.read(request.scope), token=None))
    except ChatkitError:
        return False
    is_signed_in = present.credential in {Credential.TOKEN, Credential.SECRET, Credential.PROXY}
    return is_signed_in and (present.credential, present.token_id) != (identity.credential, identity.token_id)


def session_cookie(request: HttpRequest, admission: Admission, value: str | None) -> str:
    """Return the `Set-Cookie` header with a value for the browser that sends a request; None removes the cookie."""
    server = request.scope.get("server")
    own_port = (server[1] if server else None) or 0  # a Unix socket has no port
    port = port_of(request.headers.get("host"), own_port)
    cookie, secure = admission.authenticator.cookie, is_secure(request, admission)
    if value is None:
        return cookie.removal(port, is_secure=secure)
    return cookie.header(value, port, is_secure=secure)


def _find(root: Path, path: str) -> Path | None:
    if len(path) > MAX_PATH_CHARS or path.count("/") > MAX_PATH_PARTS:
        return None
    try:
        found = (root / path.lstrip("/")).resolve()
        return found if found.is_file() and _is_public(found.relative_to(root)) else None
    # A name that no file can have, a path outside the folder, or a loop of symbolic links.
    except (OSError, ValueError, RuntimeError):
        return None


def _is_public(path: Path) -> bool:
    # Hidden files such as `.env` and `.git` are not part of a page, nor is the `__init__.py` that makes ours a package.
    return path.suffix != ".py" and not any(part.startswith(".") for part in path.parts)


def _file(request: HttpRequest, path: Path, headers: dict[str, str]) -> Response[Any]:
    status = path.stat()
    tag = ETag(value=f"{status.st_mtime_ns:x}-{status.st_size:x}")
    if _has_tag(request.headers.get("if-none-match"), tag):
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers={**headers, "ETag": tag.to_header()})
    # With nosniff, browsers ignore scripts and images without a declared type.
    media_type = MEDIA_TYPES.get(path.suffix) or guess_type(path.name)[0]
    return File(path, media_type=media_type, content_disposition_type="inline", headers=dict(headers), etag=tag)


def _content(
    request: HttpRequest, files: PageFiles, content: bytes, suffix: str, headers: dict[str, str]
) -> Response[Any]:
    """Answer with content that is in memory, compressed if the client accepts it."""
    tag = ETag(value=sha256(content).hexdigest()[:16])
    headers = {**headers, "Vary": "Accept-Encoding", "ETag": tag.to_header()}
    if _has_tag(request.headers.get("if-none-match"), tag):
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers=headers)
    if suffix in COMPRESSIBLE and _accepts_gzip(request.headers.get("accept-encoding")):
        content, headers["Content-Encoding"] = files.compress(content), "gzip"
    return Response(content, media_type=MEDIA_TYPES.get(suffix) or guess_type(f"file{suffix}")[0], headers=headers)


def _accepts_gzip(accept_encoding: str | None) -> bool:
    """Return whether a client accepts gzip (RFC 9110 section 12.5.3): browsers name it, without a weight."""
    return "gzip" in [each.strip().lower() for each in (accept_encoding or "").split(",")]


def _has_tag(if_none_match: str | None, tag: ETag) -> bool:
    """Return whether the client has this version (RFC 9110 section 13.1.2). A weak tag of it counts as well."""
    tags = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return "*" in tags or tag.to_header() in tags
