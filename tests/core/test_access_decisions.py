"""The one decision of access: rights are a union, bans come first, and hidden rooms do not exist."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkit.core.access import (
    EVERYTHING,
    MAX_GRANTS,
    Ban,
    BanSubject,
    Grant,
    Identity,
    Right,
    RoomSettings,
    allows,
    check_grants,
    parse_open,
    refusal,
)
from chatkit.core.token import MAX_SECRET_CHARS, Token, TokenKind, digest_of, new_secret, new_token_id, parse_secret
from chatkit.errors import BadRequest, Banned, Forbidden, NotFound

ROOMS = st.text("ab_%?[-.", min_size=1, max_size=4).filter(lambda room: room[0] != ".")
PATTERNS = st.one_of(st.just("*"), ROOMS, ROOMS.map(lambda room: room + "*"))
RIGHTS = st.sampled_from(Right)
GRANTS = st.builds(Grant, PATTERNS, st.lists(RIGHTS, min_size=1, max_size=3).map(tuple))
IDENTITIES = st.lists(GRANTS, max_size=4).map(lambda grants: Identity("ann", grants=tuple(grants)))


def ban(room: str = "*", until_ms: int | None = None, *, is_mute: bool = False) -> Ban:
    return Ban("b1", BanSubject.NAME, "ann", room, "spam", "bob", 0, until_ms, is_mute)


def with_rights(*rights: Right, rooms: str = "ops") -> Identity:
    return Identity("ann", grants=(Grant(rooms, rights),))


@given(IDENTITIES, GRANTS, RIGHTS, ROOMS)
def test_an_added_grant_removes_no_right_and_adds_only_its_own(
    identity: Identity, grant: Grant, right: Right, room: str
) -> None:
    before = allows(identity, right, room, (), 0)
    alone = allows(Identity("ann", grants=(grant,)), right, room, (), 0)
    both = Identity("ann", grants=(*identity.grants, grant))
    assert allows(both, right, room, (), 0) == (before or alone)


@given(IDENTITIES, RIGHTS, ROOMS)
def test_a_banned_identity_is_never_allowed(identity: Identity, right: Right, room: str) -> None:
    assert not allows(identity, right, room, [ban()], 0)
    assert not allows(identity, right, room, [ban(room)], 0)
    assert right is Right.READ or not allows(identity, right, room, [ban(is_mute=True)], 0)


@given(ROOMS, ROOMS)
def test_only_a_final_star_is_a_wildcard(pattern: str, room: str) -> None:
    assert Grant(pattern, (Right.READ,)).matches(room) == (pattern == room)
    assert Grant(f"{pattern}*", (Right.READ,)).matches(room) == room.startswith(pattern)


@pytest.mark.parametrize("room", ["opsX", "opsY", "xops_", "ops"])
@pytest.mark.parametrize("pattern", ["ops_", "ops%", "ops?", "ops[XY]"])
def test_characters_of_sql_and_of_globs_stand_for_themselves(pattern: str, room: str) -> None:
    assert not Grant(pattern, (Right.READ,)).matches(room)


@pytest.mark.parametrize(
    ("given_right", "included"),
    [
        (Right.READ, {Right.READ}),
        (Right.WRITE, {Right.WRITE}),
        (Right.MODERATE, {Right.READ, Right.WRITE, Right.MODERATE}),
        (Right.ADMIN, set(Right)),
    ],
)
def test_a_right_includes_lesser_ones(given_right: Right, included: set[Right]) -> None:
    assert {right for right in Right if allows(with_rights(given_right), right, "ops", (), 0)} == included


@pytest.mark.parametrize("right", Right)
def test_a_system_room_needs_admin_on_all_rooms(right: Right) -> None:
    assert allows(Identity("ann", grants=EVERYTHING), right, ".audit", (), 0)
    for rooms, rights in ((".audit", (Right.ADMIN,)), (".*", (Right.ADMIN,)), ("*", (Right.MODERATE,))):
        assert isinstance(refusal(with_rights(*rights, rooms=rooms), right, ".audit", (), 0), NotFound)


def test_a_room_that_may_not_be_read_does_not_exist() -> None:
    error = refusal(with_rights(Right.WRITE), Right.READ, "ops", (), 0)
    assert isinstance(error, NotFound)
    assert str(error) == "there is no room 'ops'"
    # Not even a ban from it shows that it exists.
    assert isinstance(refusal(Identity("ann"), Right.WRITE, "ops", [ban("ops")], 0), NotFound)


def test_a_right_that_is_missing_on_a_readable_room_is_named() -> None:
    error = refusal(with_rights(Right.READ), Right.WRITE, "ops", (), 0)
    assert isinstance(error, Forbidden)
    assert str(error) == "this needs the right 'write' in the room 'ops'"
    assert isinstance(refusal(with_rights(Right.ADMIN), Right.ADMIN, None, (), 0), Forbidden)


def test_a_ban_names_its_reason_and_ends() -> None:
    error = refusal(with_rights(Right.READ), Right.READ, "ops", [ban(until_ms=1000)], 999)
    assert isinstance(error, Banned)
    assert str(error) == "banned: spam, until 1970-01-01T00:00:01.000Z"
    assert error.until_ms == 1000
    assert allows(with_rights(Right.READ), Right.READ, "ops", [ban(until_ms=1000)], 1000)


def test_a_ban_from_one_room_leaves_the_others() -> None:
    identity = with_rights(Right.READ, rooms="*")
    assert not allows(identity, Right.READ, "ops", [ban("ops")], 0)
    assert allows(identity, Right.READ, "dev", [ban("ops")], 0)


def test_nobody_writes_to_an_archived_room() -> None:
    archived = RoomSettings(archived=True)
    identity = Identity("ann", grants=EVERYTHING)
    assert isinstance(refusal(identity, Right.WRITE, "ops", (), 0, settings=archived), Forbidden)
    assert allows(identity, Right.READ, "ops", (), 0, settings=archived)
    assert allows(identity, Right.MODERATE, "ops", (), 0, settings=archived)


@pytest.mark.parametrize("pattern", ["", "a b", ".audit", ".*", "**", "a*b", "x" * 65, "x" * 10_000])
def test_patterns_that_match_no_room_are_refused(pattern: str) -> None:
    with pytest.raises(BadRequest):
        check_grants([Grant(pattern, (Right.READ,))])


def test_grants_are_bounded_and_normalised() -> None:
    assert check_grants([Grant("cafe\u0301*", (Right.WRITE, Right.READ, Right.READ))]) == (
        Grant("caf\xe9*", (Right.READ, Right.WRITE)),
    )
    with pytest.raises(BadRequest):
        check_grants([Grant("ops", ())])
    with pytest.raises(BadRequest):
        check_grants([Grant("ops", (Right.READ,))] * (MAX_GRANTS + 1))


def test_an_open_grant_is_parsed() -> None:
    assert parse_open("lobby*:read,write") == Grant("lobby*", (Right.READ, Right.WRITE))
    for text in ("lobby", "lobby:", "lobby:fly", ":read"):
        with pytest.raises(BadRequest):
            parse_open(text)


@given(
    st.builds(
        Token,
        st.text(),
        st.text(),
        st.sampled_from(TokenKind),
        st.lists(GRANTS, max_size=3).map(tuple),
        st.text(),
        st.integers(0, 2**53),
        st.text(),
        st.none() | st.integers(0, 2**53),
    )
)
def test_a_token_survives_a_round_trip_as_json(token: Token) -> None:
    assert msgspec.json.decode(msgspec.json.encode(token), type=Token) == token


def test_only_the_text_of_a_secret_is_parsed() -> None:
    token_id = new_token_id()
    secret = new_secret(token_id)
    assert len(secret) <= MAX_SECRET_CHARS
    assert parse_secret(secret) == (token_id, digest_of(secret))
    for text in ("", "ck_", secret[:-1], f"{secret}x", f" {secret}", secret.upper(), f"{secret}\n", "x" * 1_000_000):
        assert parse_secret(text) is None


def test_the_text_of_a_token_in_a_log_holds_no_secret() -> None:
    secret = new_secret("abcdefghij")
    token = Token("abcdefghij", "ann", TokenKind.PERSON, (), digest_of(secret), 0, "bob")
    assert secret[-43:] not in repr(token)
