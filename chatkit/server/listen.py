"""Address: where the server listens, and what to say where it cannot. Knows nothing of who serves there."""

import errno
import socket
from typing import Final

from chatkit.server.settings import Settings

BACKLOG: Final = 4_096  # a restart brings every client back at once


def listen(settings: Settings) -> socket.socket:
    """Bind the address before anything else is opened. Raise `OSError` with a sentence."""
    host = settings.host.strip("[]")
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)  # before this, another one could have bound the same port
    except UnicodeError as error:  # a name with a part that is empty, or too long
        raise OSError(errno.EINVAL, f"cannot listen on {settings.host}: it is no name of a host") from error
    except OSError as error:
        raise OSError(error.errno, _why_not(error, settings)) from error
    return listening


def url_of(settings: Settings, port: int) -> str:
    """Return what to type to get to the server from where it is most likely wanted."""
    host = socket.gethostname() if settings.is_wildcard else settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.path_prefix}"


def _why_not(error: OSError, settings: Settings) -> str:
    if error.errno == errno.EADDRINUSE and settings.port == 0:
        return "no port is free: connections that ended a moment ago may hold them; --port takes a certain one"
    if error.errno == errno.EADDRINUSE:
        return f"port {settings.port} is in use: is another chatkit serving here? --port takes another"
    return f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}"
