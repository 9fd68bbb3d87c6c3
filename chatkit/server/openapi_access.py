"""The part of the OpenAPI document about access: identities, tokens, invites, bans and settings of rooms."""

from typing import Any, Final

from chatkit.core.access import ALL_ROOMS, MAX_GRANTS
from chatkit.core.administration import MAX_OVERLAP_S, MAX_USES
from chatkit.core.model import MAX_ROOM_CHARS
from chatkit.core.moderation import MAX_KEEP, MAX_REASON_CHARS, MAX_SUBJECT_CHARS, MAX_TOPIC_CHARS
from chatkit.server.openapi_parts import (
    SECURITY,
    Json,
    error_responses,
    json_content,
    name_schema,
    operation,
    parameter,
    responses_of,
    room_parameter,
    room_schema,
    summary_of,
)
from chatkit.wire.access import (
    BanListing,
    BanRequest,
    BanView,
    InviteRequest,
    KickRequest,
    MeView,
    NewTokenView,
    RedeemRequest,
    RenameRequest,
    RoomSettingsChange,
    RotateRequest,
    SessionRequest,
    TokenList,
    TokenRequest,
    TokenView,
)
from chatkit.wire.http import RoomView

STRUCTS: Final = (
    MeView, SessionRequest, RedeemRequest, TokenView, NewTokenView, TokenList, TokenRequest, RotateRequest,
    InviteRequest, BanView, BanListing, BanRequest, KickRequest, RenameRequest, RoomSettingsChange,
)  # fmt: skip

PATTERN_PATTERN: Final = rf"^(\*|[\p{{L}}\p{{Nd}}_-][\p{{L}}\p{{M}}\p{{Nd}}._-]{{0,{MAX_ROOM_CHARS - 1}}}\*?)$"
NO_TOKEN: Final[Json] = {"security": [{}]}
TOKEN_REQUIRED: Final[Json] = {"security": SECURITY}
_GRANTS: Final = [{"rooms": "ops*", "rights": ["read", "write"]}]
_SECRET: Final = "ck_abcdefghij_" + "A" * 43
_COOKIE: Final = {"Set-Cookie": {"schema": {"type": "string"}, "description": "The session cookie of a browser."}}


def access_paths() -> dict[str, Json]:
    """Return the addresses below which no messages are, with their operations."""
    return {
        "/me": {"get": _access("showMe", "Show who the client is, and its rights", responses_of(MeView, 400))},
        "/session": {"post": _sign_in(), "delete": _sign_out()},
        **_token_paths(),
        **_ban_paths(),
    }


def _token_paths() -> dict[str, Json]:
    listed = _access("listTokens", "List the tokens and invites", responses_of(TokenList, 400, 503))
    revoked = responses_of(TokenView, 400, 404, 503)
    revoke = _access("revokeToken", "Revoke a token: what is open with it is closed", revoked)
    remove = _access("removeToken", "Remove a token that has ended: its name is free again", revoked)
    rotate = _change("rotateToken", "Replace the secret of a token", RotateRequest, {"overlap_s": 3600})
    rotate["requestBody"]["required"] = False
    add = _change("addToken", "Make a token", TokenRequest, {"name": "ann", "grants": _GRANTS})
    invite = _change("makeInvite", "Make an invite", InviteRequest, {"grants": _GRANTS, "uses": 5})
    token = _id_parameter("token_id", "The token. A client may revoke and rotate its own.")
    return {
        "/tokens": {"get": listed | TOKEN_REQUIRED, "post": add | _answering(NewTokenView, 201) | TOKEN_REQUIRED},
        "/tokens/{token_id}": {"parameters": [token], "delete": revoke | TOKEN_REQUIRED},
        "/tokens/{token_id}/rotate": {
            "parameters": [token],
            "post": rotate | _answering(NewTokenView, 200) | TOKEN_REQUIRED,
        },
        "/tokens/{token_id}/remove": {"parameters": [token], "post": remove | TOKEN_REQUIRED},
        "/invites": {"post": invite | _answering(NewTokenView, 201) | TOKEN_REQUIRED},
        "/invites/redeem": {"post": _redeem()},
    }


def _ban_paths() -> dict[str, Json]:
    listed = _moderation("listBans", "List the bans", responses_of(BanListing, 400, 503))
    removed = _moderation("removeBan", "Remove a ban", responses_of(BanView, 400, 404, 503))
    example = {"subject": "bob", "room": "ops", "reason": "spam"}
    ban = _change("addBan", "Ban or mute a name, a network or a token", BanRequest, example, tag="moderation")
    kick = _change("kick", "Ban a name from a room for a minute", KickRequest, {"name": "bob"}, tag="moderation")
    rename = _change("renameRoom", "Give a room another name", RenameRequest, {"name": "dev"}, tag="moderation")
    return {
        "/bans": {"get": listed, "post": ban | _answering(BanView, 201)},
        "/bans/{ban_id}": {"parameters": [_id_parameter("ban_id", "The ban.")], "delete": removed},
        "/rooms/{room}/kick": {"parameters": [room_parameter()], "post": kick | _answering(BanView, 201)},
        "/rooms/{room}/rename": {
            "parameters": [room_parameter()],
            "post": rename | _answering(RoomView, 200),
        },
    }


def room_operations() -> Json:
    """Return the operations that change a room."""
    gone = {"204": {"description": "The room is deleted. Its readers get a gap."}}
    example = {"topic": "Deployments", "keep_for_s": 2_592_000}
    change = _change("setRoom", "Change the settings of a room", RoomSettingsChange, example, tag="moderation")
    delete = _moderation("deleteRoom", "Delete a room with its log", gone | error_responses(400, 404, 503))
    return {"patch": change | _answering(RoomView, 200), "delete": delete}


def access_schemas() -> dict[str, Json]:
    """Return what msgspec cannot derive of the schemas of requests: limits and forms, by schema and property."""
    end = {"type": "string", "format": "date-time", "description": "A time in the future."}
    time = {"anyOf": [end, {"type": "null"}], "default": None}
    grants = {"type": "array", "maxItems": MAX_GRANTS, "items": {"$ref": "#/components/schemas/Grant"}}
    rights = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Right"}}
    name = name_schema()
    reason = {"type": "string", "maxLength": MAX_REASON_CHARS, "default": ""}
    keep = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_KEEP}, {"type": "null"}]}
    return {
        "Grant": {"rooms": {"type": "string", "pattern": PATTERN_PATTERN}, "rights": rights},
        "TokenRequest": {"name": name, "grants": grants, "expires": time},
        "RotateRequest": {"overlap_s": {"type": "integer", "minimum": 0, "maximum": MAX_OVERLAP_S, "default": 0}},
        "InviteRequest": {
            "grants": grants,
            "uses": {"type": "integer", "minimum": 1, "maximum": MAX_USES, "default": 1},
            "expires": time,
        },
        "RedeemRequest": {"name": name},
        "BanRequest": {
            "subject": {"type": "string", "minLength": 1, "maxLength": MAX_SUBJECT_CHARS},
            "room": {"anyOf": [{"const": ALL_ROOMS}, room_schema()], "default": ALL_ROOMS},
            "until": time,
            "reason": reason,
        },
        "RenameRequest": {"name": room_schema()},
        "KickRequest": {"name": name, "reason": reason},
        "RoomSettingsChange": {
            "topic": {"type": "string", "maxLength": MAX_TOPIC_CHARS},
            "keep": keep,
            "keep_for_s": keep,
        },
    }


def _sign_in() -> Json:
    signed_in = responses_of(MeView, 400, 413)
    signed_in["200"] |= {"headers": _COOKIE}
    body = _body(SessionRequest, {"token": _SECRET})
    return {**_access("signIn", "Sign a browser in", signed_in), **NO_TOKEN, "requestBody": body}


def _sign_out() -> Json:
    gone = {"204": {"description": "The session cookie is removed.", "headers": _COOKIE}}
    return {
        **_access("signOut", "Sign a browser out", {**gone, **error_responses()}),
        "description": "Other sessions of the token go on: to end them, rotate or revoke it.",
        **NO_TOKEN,
    }


def _redeem() -> Json:
    responses = responses_of(NewTokenView, 400, 413, 503, status=201)
    responses["201"] |= {"headers": _COOKIE}
    redeemed = _access("redeemInvite", "Redeem an invite for a token", responses)
    return {**redeemed, **NO_TOKEN, "requestBody": _body(RedeemRequest, {"secret": _SECRET, "name": "ann"})}


def _change(name: str, summary: str, request: type, example: Any, *, tag: str = "access") -> Json:
    """Return an operation with a body, which `_answering` completes."""
    return {**operation(name, summary, {}, tag=tag), "requestBody": _body(request, example)}


def _answering(struct: type, status: int) -> Json:
    return {"responses": responses_of(struct, 400, 404, 413, 503, status=status)}


def _body(struct: type, example: Any) -> Json:
    return {
        "required": True,
        "description": summary_of(struct),
        "content": json_content(struct, example),
    }


def _access(name: str, summary: str, responses: Json) -> Json:
    return operation(name, summary, responses, tag="access")


def _moderation(name: str, summary: str, responses: Json) -> Json:
    return operation(name, summary, responses, tag="moderation")


def _id_parameter(name: str, description: str) -> Json:
    return parameter(name, "path", {"type": "string", "pattern": "^[a-z0-9]{8,12}$"}, description)
