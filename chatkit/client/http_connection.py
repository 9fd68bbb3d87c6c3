"""One blocking HTTP connection to a server, directly or through a proxy, each request of which ends by a deadline.

Knows nothing of the requests' meaning. The timeout of `http.client` starts again with each byte; a deadline does not.
"""

import http.client
import io
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from chatkit.client.connect import Proxy, proxy_for, refused_by_proxy, tls_context
from chatkit.client.endpoint import Endpoint
from chatkit.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_ANSWER_BYTES: Final = 32 * 2**20  # a list of 200,000 rooms; a page of history is 1 MiB of text
MAX_PROXY_HEAD_BYTES: Final = 16_384  # of a proxy's answer to CONNECT
WRITE_BYTES: Final = 65_536  # written at once: the timeout of a TLS socket starts again with each write


class Answer:
    """A response, read to its end: its status, the two headers that matter, and its body."""

    __slots__ = ("body", "location", "retry_after", "status")

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.location = response.getheader("Location")
        self.retry_after = response.getheader("Retry-After")
        self.body = body


class DeadlineSocket:
    """The part of a socket that `http.client` uses; every operation on it raises `TimeoutError` after `deadline`."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.deadline = deadline  # of `time.monotonic`
        self._socket = connected

    def arm(self) -> None:
        """Limit the next operation to the time until the deadline; raise `TimeoutError` after it."""
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(remaining_s)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        for start in range(0, len(data), WRITE_BYTES):
            self.arm()
            self._socket.sendall(data[start : start + WRITE_BYTES])

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file that reads from the socket."""
        return io.BufferedReader(_DeadlineReader(self, self._socket.makefile("rb", buffering=0)))

    def shut_down(self) -> None:
        """End the operation in progress in another thread, which then fails or reads the end of the stream."""
        with suppress(OSError):  # the connection is closed already
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, whose state the other thread uses

    def close(self) -> None:
        """Close the socket, when the files that `makefile` returned are closed too."""
        self._socket.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, owner: DeadlineSocket, raw: io.RawIOBase) -> None:
        self._owner = owner
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        self._owner.arm()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineConnection:
    """A kept connection to `endpoint`. Raises what the socket and `http.client` raise, and `ChatkitError`."""

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self.endpoint = endpoint
        self._socket = _open_socket(endpoint, deadline)
        self._http = http.client.HTTPConnection(endpoint.host, endpoint.port)
        self._http.auto_open = 0  # it would open one without the proxy, the certificates and the deadline
        self._http.sock = self._socket

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent: the server may have closed the connection behind its answer."""
        return self._http.sock is not None

    def request(self, method: str, target: str, body: bytes | None, headers: dict[str, str], deadline: float) -> Answer:
        """Send a request and read its answer, until `deadline`, a time of `time.monotonic`."""
        self._socket.deadline = deadline
        self._http.request(method, target, body, headers)
        with self._http.getresponse() as response:
            answer = response.read(MAX_ANSWER_BYTES + 1)
            if len(answer) > MAX_ANSWER_BYTES:
                raise Unavailable(f"{self.endpoint.url} sends an answer of more than {MAX_ANSWER_BYTES} bytes")
            if response.length:  # `http.client` reports a body that is too short only where all of it is asked for
                raise http.client.IncompleteRead(answer, response.length)
            return Answer(response, answer)

    def shut_down(self) -> None:
        """End the request in progress in another thread."""
        self._socket.shut_down()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
        self._socket.close()


def _open_socket(endpoint: Endpoint, deadline: float) -> DeadlineSocket:
    proxy = proxy_for(endpoint)
    context = tls_context() if endpoint.is_secure else None
    connected = _connect(endpoint, proxy, deadline)
    try:
        if proxy is not None and not proxy.is_socks:
            _open_tunnel(DeadlineSocket(connected, deadline), connected, endpoint, proxy)
        if context is not None:
            connected.settimeout(_remaining_s(deadline))  # OpenSSL counts it for the whole handshake
            connected = context.wrap_socket(connected, server_hostname=endpoint.host)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connected.close()
        raise
    return DeadlineSocket(connected, deadline)


def _connect(endpoint: Endpoint, proxy: Proxy | None, deadline: float) -> socket.socket:
    if proxy is not None and proxy.is_socks:
        return _connect_by_socks(endpoint, proxy, deadline)
    address = (endpoint.host, endpoint.port) if proxy is None else (proxy.host, proxy.port)
    return socket.create_connection(address, _remaining_s(deadline))


def _connect_by_socks(endpoint: Endpoint, proxy: Proxy, deadline: float) -> socket.socket:
    from python_socks import ProxyType  # noqa: PLC0415 - an optional package
    from python_socks.sync import Proxy as SocksProxy  # noqa: PLC0415

    kind = ProxyType.SOCKS5 if proxy.scheme.startswith("socks5") else ProxyType.SOCKS4
    looks_up = proxy.scheme in {"socks5h", "socks4a"}
    socks = SocksProxy(kind, proxy.host, proxy.port, proxy.user, proxy.password, rdns=looks_up)
    try:
        connected: socket.socket = socks.connect(endpoint.host, endpoint.port, timeout=_remaining_s(deadline))
    except OSError:
        raise
    except Exception as error:  # the package has errors of its own, below `Exception`
        raise Unavailable(f"the proxy {proxy.public_url} does not connect to {endpoint.authority}: {error}") from error
    return connected


def _open_tunnel(opening: DeadlineSocket, connected: socket.socket, endpoint: Endpoint, proxy: Proxy) -> None:
    """Ask an HTTP proxy to connect (RFC 9110, section 9.3.6)."""
    head = [f"CONNECT {endpoint.authority} HTTP/1.1", f"Host: {endpoint.authority}", *_proxy_login(proxy), "", ""]
    opening.sendall("\r\n".join(head).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        opening.arm()
        received = connected.recv(MAX_PROXY_HEAD_BYTES)
        answer += received
        if not received or len(answer) > MAX_PROXY_HEAD_BYTES:
            raise Unavailable(f"the proxy {proxy.public_url} does not answer as an HTTP proxy")
    version, _, rest = answer.partition(b" ")
    status = rest[:3]
    if not version.startswith(b"HTTP/1.") or not status.isdigit() or not answer.endswith(b"\r\n\r\n"):
        raise Unavailable(f"the proxy {proxy.public_url} does not answer as an HTTP proxy")
    if not 200 <= int(status) < 300:
        raise refused_by_proxy(endpoint, proxy, int(status))


def _proxy_login(proxy: Proxy) -> list[str]:
    if proxy.user is None:
        return []
    from base64 import b64encode  # noqa: PLC0415 - hardly ever needed

    login = b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return [f"Proxy-Authorization: Basic {login}"]


def _remaining_s(deadline: float) -> float:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("timed out")
    return remaining_s
