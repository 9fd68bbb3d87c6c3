"""Who operates the server: the one place that decides who may see its counts, in `/health` and in `/metrics`."""

from chatkit.errors import Forbidden
from chatkit.server.admission import Admission, credentials
from chatkit.server.litestar_types import HttpRequest


def check_operator(request: HttpRequest, admission: Admission) -> None:
    """Allow a client with the token or, on a server without one, a client on this machine.

    Raise `Forbidden`, `Unauthorized` or `TooManyAttempts` for any other.
    """
    policy = admission.policy
    policy.check_host(request.headers.get("host"))
    policy.check(*credentials(request))
    if policy.token is None and not policy.is_loopback:
        raise Forbidden("only a server with a token, or one that listens on this machine alone, shows its counts")
