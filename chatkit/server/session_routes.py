"""The HTTP API of one's own identity: `/me`, signing in and out, and redeeming an invite."""

from typing import Any

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency

from chatkit.core.access import Identity
from chatkit.server.admission import Admission, check_request, check_visitor
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.page import session_cookie
from chatkit.server.request_body import read_body
from chatkit.wire.access import MeView, NewTokenView, RedeemRequest, SessionRequest
from chatkit.wire.costs import ME_COST


@get("/me", guards=[check_request])
async def show_me(admission: NamedDependency[Admission], request: HttpRequest) -> MeView:
    """Show who the client is, and its rights."""
    await admission.charge(request, ME_COST)
    return _me(admission, admission.current(request))


def _me(admission: Admission, identity: Identity) -> MeView:
    return MeView(
        identity.name,
        identity.grants,
        identity.is_verified,
        identity.is_bot,
        identity.token_id,
        admission.hub.access.is_open,
    )


@post("/session", guards=[check_visitor], status_code=200)
async def sign_in(admission: NamedDependency[Admission], request: HttpRequest) -> Response[MeView]:
    """Set the session cookie of a browser that has a token. An open server sets none."""
    admission.consume(request)
    body = await read_body(request, SessionRequest)
    authenticator = admission.authenticator
    identity = authenticator.by_token(body.token, None, request.user.address)
    return _with_cookie(request, admission, identity, _me(admission, identity))


@delete("/session", guards=[check_visitor], status_code=204)
async def sign_out(admission: NamedDependency[Admission], request: HttpRequest) -> Response[None]:
    """Remove the session cookie. To end other sessions with the same token too, rotate or revoke it."""
    admission.consume(request)
    return Response(None, status_code=204, headers={"Set-Cookie": session_cookie(request, admission, None)})


@post("/invites/redeem", guards=[check_visitor])
async def redeem_invite(admission: NamedDependency[Admission], request: HttpRequest) -> Response[NewTokenView]:
    """Redeem an invite for a token with a name that is free, and set its session cookie."""
    admission.consume(request)
    body = await read_body(request, RedeemRequest)
    new = await admission.authenticator.redeem(body.secret, body.name, request.user.address)
    identity = new.token.identity(new.token.digest, new.token.expires_ms, request.user.address)
    view = NewTokenView.made(new.token, new.secret)
    return _with_cookie(request, admission, identity, view, status_code=201)


def _with_cookie(
    request: HttpRequest, admission: Admission, identity: Identity, body: Any, status_code: int = 200
) -> Response[Any]:
    value = admission.authenticator.cookie_value(identity)
    headers = {} if value is None else {"Set-Cookie": session_cookie(request, admission, value)}
    return Response(body, status_code=status_code, headers=headers)


session_router = Router("/", route_handlers=[show_me, sign_in, sign_out, redeem_invite])
