"""How to reach a server: its proxy, its certificates, and where its redirects lead.

HTTP and WebSocket follow the same decisions, which are made here and nowhere else. Opens no connection.
"""

import os
import ssl
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from chatkit.client.endpoint import Endpoint, public_url
from chatkit.errors import BadRequest, ChatkitError, Unavailable, system_reason

MAX_REDIRECTS: Final = 5  # http to https, and one more host name; a longer chain is a loop
MAX_SHOWN_CHARS: Final = 200  # of a text from the other end that is repeated in a sentence

# What OpenSSL says of an answer that is not TLS: until version 3.1, and since.
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"})

REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD_STATUSES: Final = frozenset({307, 308})  # RFC 9110, section 15.4: after any other, a client may send GET

_SOCKS_SCHEMES: Final = frozenset({"socks5h", "socks5", "socks4a", "socks4"})
_SUPPORTED_PROXIES: Final = "http://HOST:PORT or socks5h://HOST:PORT"


class Proxy(msgspec.Struct, frozen=True):
    """A proxy. `scheme` is `http`, `socks5h`, `socks5`, `socks4a` or `socks4`.

    With `socks5h` and `socks4a`, the proxy looks up the server's name. `user` and `password` are decoded; `url`
    contains them encoded and must not be shown.
    """

    scheme: str
    host: str
    port: int
    url: str
    user: str | None = None
    password: str | None = None

    @property
    def is_socks(self) -> bool:
        """Whether the proxy speaks SOCKS; any other is asked to CONNECT (RFC 9110, section 9.3.6)."""
        return self.scheme in _SOCKS_SCHEMES

    @property
    def public_url(self) -> str:
        """The proxy's URL without credentials."""
        return f"{self.scheme}://{self.host}:{self.port}"


def proxy_for(endpoint: Endpoint) -> Proxy | None:
    """Return the proxy through which a server is reached, or None where it is reached directly.

    The environment variables are `http_proxy` for an `http` URL and `https_proxy` for an `https` URL, then `all_proxy`
    and `socks_proxy`, in small or capital letters; macOS and Windows have settings of their own. Servers in `no_proxy`
    and on this machine are reached directly. Raise `BadRequest` for a proxy that cannot be used.
    """
    if endpoint.is_loopback or not _has_proxy_settings():
        return None
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - loaded only where a proxy may be set

    proxies = getproxies()
    names = ("https" if endpoint.is_secure else "http", "all", "socks")
    name = next((each for each in names if proxies.get(each)), None)
    if name is None or proxy_bypass(f"{endpoint.host}:{endpoint.port}"):
        return None
    return _parse_proxy(name, proxies[name])


def _has_proxy_settings() -> bool:
    return sys.platform in {"darwin", "win32"} or any(name.lower().endswith("_proxy") for name in os.environ)


def _parse_proxy(name: str, url: str) -> Proxy:
    url = url if "://" in url else f"{'socks5h' if name == 'socks' else 'http'}://{url}"
    if name == "socks" and url.startswith("http://"):  # as macOS reports it
        url = f"socks5h{url.removeprefix('http')}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        user = None if parts.username is None else unquote(parts.username, errors="strict")
        password = None if user is None else unquote(parts.password or "", errors="strict")
        is_usable = bool(host) and url.isascii() and url.isprintable() and not (parts.query or parts.fragment)
    except ValueError:
        host, is_usable = None, False
    if host is None or not is_usable or parts.path not in {"", "/"}:
        raise BadRequest(f"the proxy in {name}_proxy cannot be used: its address has the form {_SUPPORTED_PROXIES}")
    if parts.scheme != "http" and parts.scheme not in _SOCKS_SCHEMES:
        raise BadRequest(
            f"the proxy in {name}_proxy cannot be used: {parts.scheme}:// is not supported; give {_SUPPORTED_PROXIES},"
            " or name the server in no_proxy to reach it directly"
        )
    is_socks = parts.scheme in _SOCKS_SCHEMES
    if is_socks:
        _check_socks(name)
    login = "" if parts.username is None else f"{parts.username}:{parts.password or ''}@"
    port = port or (1080 if is_socks else 80)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Proxy(parts.scheme, host, port, f"{parts.scheme}://{login}{authority}", user, password)


def _check_socks(name: str) -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - as above

    if find_spec("python_socks") is None:
        raise BadRequest(
            f"the proxy in {name}_proxy speaks SOCKS, which needs the package python-socks:"
            " pip install 'python-socks[asyncio]'; or name the server in no_proxy to reach it directly"
        )


def tls_context() -> ssl.SSLContext:
    """Return what certificates are checked with: the system's authorities, or those of `SSL_CERT_FILE`, `SSL_CERT_DIR`.

    Raise `BadRequest` where one of these names nothing that can be used: OpenSSL ignores it silently.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    context = ssl.create_default_context()
    if file:
        try:
            context.load_verify_locations(cafile=file)
        except OSError as error:  # an SSLError is one
            reason = "not a PEM file with certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise BadRequest(f"SSL_CERT_FILE cannot be used: {file}: {reason}") from error
    if folder and not any(os.path.isdir(each) for each in folder.split(os.pathsep)):  # noqa: PTH112 - starts fast
        raise BadRequest(f"SSL_CERT_DIR cannot be used: {folder}: not a folder")
    return context


def redirected(endpoint: Endpoint, target: str, method: str, status: int, location: str | None) -> Endpoint:
    """Return the endpoint to which a server redirects a request for `target`.

    The path below the endpoint's own must stay the same: a redirect changes where the server is, not what is asked. It
    is followed on the same host, with the same scheme or from http to https, and for another method than GET only with
    status 307 or 308. Credentials are sent only to the same port, or from port 80 to 443. Raise `ChatkitError` for any
    other redirect, with a sentence that names the new address.
    """
    new = _new_endpoint(endpoint, target, location)
    if new.host != endpoint.host or (endpoint.is_secure and not new.is_secure):
        raise _refused(endpoint, new, "another host" if new.host != endpoint.host else "a server without TLS")
    if method != "GET" and status not in _SAME_METHOD_STATUSES:
        raise _refused(endpoint, new, f"a {method} is not sent again")
    is_same_port = new.port == endpoint.port or (endpoint.port, new.port) == (80, 443)
    if endpoint.headers and not is_same_port:
        raise _refused(endpoint, new, "credentials are not sent to another port")
    return new


def _new_endpoint(endpoint: Endpoint, target: str, location: str | None) -> Endpoint:
    suffix = target.partition("?")[0].removeprefix(endpoint.path)
    base: Endpoint | None = None
    with suppress(ValueError, BadRequest):
        address = urljoin(f"{endpoint.url}{suffix}", location or "").partition("#")[0].partition("?")[0]
        base = Endpoint.parse(address.removesuffix(suffix)) if address.endswith(suffix) else None
    if base is None:
        raise ChatkitError(
            f"{endpoint.url} redirects to {public_url(location or '')[:MAX_SHOWN_CHARS]!r}, which is not the address of"
            " a chatkit server: give the server's own address"
        )
    return msgspec.structs.replace(base, name=endpoint.name, token=endpoint.token, login=endpoint.login)


def _refused(endpoint: Endpoint, new: Endpoint, reason: str) -> ChatkitError:
    return ChatkitError(f"{endpoint.url} redirects to {new.url}, which is not followed ({reason}): give that address")


def too_many_redirects(endpoint: Endpoint) -> ChatkitError:
    """Return the error for a server that redirects again and again."""
    return ChatkitError(f"{endpoint.url} redirects more than {MAX_REDIRECTS} times")


def no_answer(endpoint: Endpoint, error: BaseException) -> Unavailable:
    """Return the error for a server that does not answer, with the operating system's reason."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the certificate of {endpoint.url} is not trusted: {error.verify_message or error}; if its authority is"
            " your own, name the authority's PEM file in SSL_CERT_FILE"
        )
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return Unavailable(f"the server at {endpoint.url} does not speak TLS: use http:// in place of https://")
    reason = (system_reason(error) if isinstance(error, OSError) else str(error)) or type(error).__name__
    return Unavailable(f"no server answers at {endpoint.url}: {reason[:MAX_SHOWN_CHARS]}")


def refused_by_proxy(endpoint: Endpoint, proxy: Proxy, status: int) -> Unavailable:
    """Return the error for a proxy that answers CONNECT with another status than 2xx."""
    advice = ": give its user name and password in its URL" if status == 407 else ""
    return Unavailable(
        f"the proxy {proxy.public_url} does not connect to {endpoint.authority}: it answers {status}{advice}"
    )
