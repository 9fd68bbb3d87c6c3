"""What a browser knows this server as: whether it uses TLS, and the address of the page."""

from chatkit.server.admission import Admission
from chatkit.server.litestar_types import HttpRequest


def is_secure(request: HttpRequest, admission: Admission) -> bool:
    """Return whether the browser uses TLS, to this server or to a trusted proxy in front of it."""
    headers, proxies = request.headers, admission.authenticator.proxies
    forwarded_proto = headers.get("x-forwarded-proto") if proxies.trusts(_peer(request)) else None
    return admission.policy.is_https(headers.get("host"), request.scope["scheme"], forwarded_proto)


def page_url(request: HttpRequest, admission: Admission) -> str:
    """Return the address of the page, which ends in `/`, as the client that sends a request reaches it."""
    headers, proxies = request.headers, admission.authenticator.proxies
    host = headers.get("host", "")
    forwarded_host = headers.get("x-forwarded-host")
    if forwarded_host and proxies.are_given and proxies.trusts(_peer(request)):
        host = forwarded_host.rpartition(",")[2].strip()
    scheme = "https" if is_secure(request, admission) else "http"
    return f"{scheme}://{host}{request.app.state.path_prefix}/"


def _peer(request: HttpRequest) -> str:
    return request.client.host if request.client else ""
