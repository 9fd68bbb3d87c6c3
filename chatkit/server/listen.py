"""The listening socket: binds the address, and explains why if that fails. Knows nothing of the server."""

import errno
import socket
from typing import Final

from chatkit.server.settings import Settings

BACKLOG: Final = 4_096  # after a restart, every client connects again at once
RECEIVE_BUFFER_BYTES: Final = 131_072  # of each connection, which Linux doubles; it keeps up to 32 MiB otherwise


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address of the settings. Raise `OSError` with a sentence for the user."""
    host = settings.host.strip("[]")
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listening.bind(address)
        listening.listen(BACKLOG)  # not later: until then, another process can bind the same port
    except UnicodeError as error:  # a part of the name is empty or too long
        raise OSError(errno.EINVAL, f"cannot listen on {settings.host}: it is not a valid host name") from error
    except OSError as error:
        raise OSError(error.errno, _why_not(error, settings)) from error
    return listening


def url_of(settings: Settings, port: int) -> str:
    """Return the URL of the server: with this machine's name if it listens on all addresses."""
    host = socket.gethostname() if settings.is_wildcard else settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.path_prefix}"


def _why_not(error: OSError, settings: Settings) -> str:
    if error.errno == errno.EADDRINUSE and settings.port == 0:
        return (
            "no port is free: recently closed connections may still hold them; try again, or choose a port with --port"
        )
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is in use: is another chatkit serving here? choose another port with --port"
    return f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"
