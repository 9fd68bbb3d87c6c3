"""The HTTP API of tokens and invites. `Administration` decides who may do what."""

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from chatkit.core.token import TokenKind
from chatkit.server.admission import Admission, check_request
from chatkit.server.browser_site import page_url
from chatkit.server.litestar_types import HttpRequest
from chatkit.server.long_answer import answer_list
from chatkit.server.request_body import read_body
from chatkit.wire.access import (
    InviteRequest,
    NewTokenView,
    RotateRequest,
    TokenList,
    TokenRequest,
    TokenView,
    read_wire_time,
)
from chatkit.wire.costs import LIST_COST


@get("/tokens")
async def list_tokens(admission: NamedDependency[Admission], request: HttpRequest) -> Response[TokenList]:
    """List all tokens and invites, without their secrets."""
    await admission.charge(request, LIST_COST)
    tokens = await admission.hub.administration.tokens(admission.current(request))
    return await answer_list("tokens", tokens, TokenView.of)


@post("/tokens")
async def add_token(admission: NamedDependency[Admission], request: HttpRequest) -> NewTokenView:
    """Make a token for a name."""
    admission.consume(request)
    body = await read_body(request, TokenRequest)
    new = await admission.hub.administration.add_token(
        admission.current(request),
        body.name,
        body.grants,
        kind=body.kind,
        expires_ms=read_wire_time(body.expires),
        signing_secret=body.signing_secret,
    )
    url = f"{page_url(request, admission)}hooks/{new.secret}" if body.kind is TokenKind.HOOK else None
    return NewTokenView.made(new.token, new.secret, url)


@delete("/tokens/{token_id:str}", status_code=200)
async def revoke_token(
    token_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> TokenView:
    """Revoke a token: what is open with it is closed. A client may revoke its own token."""
    admission.consume(request)
    return TokenView.of(await admission.hub.administration.revoke(admission.current(request), token_id))


@post("/tokens/{token_id:str}/rotate", status_code=200)
async def rotate_token(
    token_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> NewTokenView:
    """Replace the secret of a token. A client may rotate its own token."""
    admission.consume(request)
    body = await read_body(request, RotateRequest)
    by = admission.current(request)
    new = await admission.hub.administration.rotate(by, token_id, overlap_s=body.overlap_s)
    return NewTokenView.made(new.token, new.secret)


@post("/tokens/{token_id:str}/remove", status_code=200)
async def remove_token(
    token_id: FromPath[str], admission: NamedDependency[Admission], request: HttpRequest
) -> TokenView:
    """Remove a token that was revoked or has expired, so that its name can be used by others."""
    admission.consume(request)
    return TokenView.of(await admission.hub.administration.remove(admission.current(request), token_id))


@post("/invites")
async def make_invite(admission: NamedDependency[Admission], request: HttpRequest) -> NewTokenView:
    """Make an invite. Its link holds the secret in a fragment, which browsers do not send to any server."""
    admission.consume(request)
    body = await read_body(request, InviteRequest)
    new = await admission.hub.administration.make_invite(
        admission.current(request), body.grants, uses=body.uses, expires_ms=read_wire_time(body.expires)
    )
    return NewTokenView.made(new.token, new.secret, f"{page_url(request, admission)}#invite={new.secret}")


tokens_router = Router(
    "/",
    route_handlers=[list_tokens, add_token, revoke_token, rotate_token, remove_token, make_invite],
    guards=[check_request],
)
