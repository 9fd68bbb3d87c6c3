"""Who operates the server: the one place that decides who may see its counts, in `/health` and in `/metrics`."""

from chatkit.core.access import Credential, Right
from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest


def check_operator(request: HttpRequest, admission: Admission) -> None:
    """Allow an administrator's token, the server's secret and, while the server is open, everybody on this machine.

    Raise `Forbidden`, or as `Authenticator.identify` does, for any other.
    """
    admission.policy.check_host(request.headers.get("host"))
    authenticator = admission.authenticator
    credentials = request.scope["auth"] = authenticator.read(request.scope)
    identity = request.scope["user"] = authenticator.identify(credentials)
    if not admission.hub.access.is_open and identity.credential is not Credential.SECRET:
        admission.check(identity, Right.ADMIN, None)
