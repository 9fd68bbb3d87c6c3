"""AccessTable: who a secret belongs to, what a session may do now, and which sessions a change concerns."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from chatkit.core import access_records
from chatkit.core.access import Ban, BanSubject, Credential, Grant, Identity, Right, RoomSettings
from chatkit.core.access_records import NameHolders, encode, name_keys
from chatkit.core.access_table import USE_STEP_MS, AccessTable, TokenUse
from chatkit.core.access_watchers import NO_CHANGE, AccessChange
from chatkit.core.model import Cursor
from chatkit.core.records import Record, RecordChanges
from chatkit.core.token import Token, TokenKind, digest_of, new_secret
from chatkit.errors import Banned, Forbidden, NameTaken, NotFound, Unauthorized

READ_OPS = (Grant("ops", (Right.READ,)),)
SECRET = new_secret("abcdefghij")
OTHER_SECRET = new_secret("abcdefghij")
NOW = 1_000_000
ADDRESS = "192.0.2.7"


@dataclass(eq=False)
class Session:
    identity: Identity

    def on_access_changed(self) -> None:
        """Do nothing: the table only finds the sessions."""


def token(secret: str = SECRET, name: str = "ann", **changes: Any) -> Token:
    made = Token(secret.split("_")[1], name, TokenKind.PERSON, READ_OPS, digest_of(secret), 0, "bob")
    return msgspec.structs.replace(made, **changes)


def ban(kind: BanSubject, subject: str, room: str = "*", ban_id: str = "b1") -> Ban:
    return Ban(ban_id, kind, subject, room, "spam", "bob", 0)


def concerned(table: AccessTable, change: AccessChange) -> list[Session]:
    return [session for batch in table.watchers.concerned(change) for session in batch if isinstance(session, Session)]


def records(*values: Token | Ban | tuple[str, RoomSettings], deleted: bool = False) -> list[Record]:
    found: list[Record] = []
    for value in values:
        match value:
            case Token():
                found.append(Record(access_records.TOKEN, value.id, encode(value), 1))
                holders = encode(NameHolders(value.name, (value.id,)))
                found += [Record(access_records.NAME, key, holders, 1) for key in name_keys(value.name)]
            case Ban():
                found.append(Record(access_records.BAN, value.id, encode(value), 1))
            case (room, settings):
                found.append(Record(access_records.ROOM, room, encode(settings), 1))
    return [Record(one.kind, one.key, None, 2) for one in found] if deleted else found


def apply(table: AccessTable, *values: Token | Ban | tuple[str, RoomSettings], deleted: bool = False) -> AccessChange:
    return table.apply(RecordChanges(Cursor("e", 1), records(*values, deleted=deleted)))


def table_of(*values: Token | Ban, open_grants: tuple[Grant, ...] = (), is_loopback: bool = False) -> AccessTable:
    table = AccessTable(open_grants=open_grants, is_loopback=is_loopback)
    table.apply(RecordChanges(Cursor("e", 1), records(*values), whole=True))
    return table


def test_a_secret_gives_the_name_and_rights_of_its_token() -> None:
    identity = table_of(token(kind=TokenKind.BOT)).authenticate(SECRET, ADDRESS, NOW)
    assert (identity.name, identity.is_verified, identity.is_bot) == ("ann", True, True)
    assert (identity.token_id, identity.grants, identity.address) == ("abcdefghij", READ_OPS, ADDRESS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"revoked_ms": 1}, "this token was revoked"),
        ({"expires_ms": NOW}, "this token has expired"),
        (
            {"kind": TokenKind.INVITE},
            "this is an invite: open its link, or redeem it with 'chatkit redeem'",
        ),
    ],
)
def test_the_holder_of_the_right_secret_learns_why_it_is_refused(changes: dict[str, Any], sentence: str) -> None:
    table = table_of(token(**changes))
    with pytest.raises(Unauthorized, match=sentence):
        table.authenticate(SECRET, ADDRESS, NOW)
    with pytest.raises(Unauthorized, match="this token is not valid here"):
        table.authenticate(OTHER_SECRET, ADDRESS, NOW)


def test_other_secrets_are_refused_with_one_sentence() -> None:
    table = table_of(token())
    for secret in ("", "x", OTHER_SECRET, new_secret("zzzzzzzzzz"), "\ud800", "x" * 1_000_000):
        with pytest.raises(Unauthorized) as error:
            table.authenticate(secret, ADDRESS, NOW)
        assert str(error.value) == "this token is not valid here"


def test_a_token_ends_when_it_expires_even_if_it_was_used_before() -> None:
    table = table_of(token(expires_ms=NOW + 1))
    identity = table.authenticate(SECRET, ADDRESS, NOW)
    assert table.allows(identity, Right.READ, "ops", NOW)
    assert not table.allows(identity, Right.READ, "ops", NOW + 1)
    with pytest.raises(Unauthorized, match="expired"):
        table.authenticate(SECRET, ADDRESS, NOW + 1)
    with pytest.raises(Unauthorized, match="expired"):
        table.check(identity, Right.READ, "ops", NOW + 1)


def test_a_revoked_token_does_nothing_more() -> None:
    table = table_of(token())
    identity = table.authenticate(SECRET, ADDRESS, NOW)
    table.check(identity, Right.READ, "ops", NOW)
    apply(table, token(revoked_ms=NOW))
    for attempt in (lambda: table.check(identity, Right.READ, "ops", NOW), lambda: table.renew(identity, NOW)):
        with pytest.raises(Unauthorized, match="revoked"):
            attempt()


def test_rights_are_those_of_the_moment() -> None:
    table = table_of(token())
    identity = table.authenticate(SECRET, ADDRESS, NOW)
    with pytest.raises(Forbidden):
        table.check(identity, Right.WRITE, "ops", NOW)
    apply(table, token(grants=(Grant("*", (Right.READ, Right.WRITE)),)))
    table.check(identity, Right.WRITE, "ops", NOW)
    apply(table, token())
    with pytest.raises(Forbidden):
        table.check(identity, Right.WRITE, "ops", NOW)


def test_a_secret_that_was_replaced_is_valid_during_the_overlap() -> None:
    table = table_of(token())
    before = table.authenticate(SECRET, ADDRESS, NOW)
    rotated = token(OTHER_SECRET, previous_digest=digest_of(SECRET), previous_until_ms=NOW + 10)
    assert concerned(table, apply(table, rotated)) == []
    assert table.renew(before, NOW).expires_ms == NOW + 10
    assert table.authenticate(OTHER_SECRET, ADDRESS, NOW).expires_ms is None
    with pytest.raises(Unauthorized, match="expired"):
        table.authenticate(SECRET, ADDRESS, NOW + 10)
    with pytest.raises(Unauthorized, match="expired"):
        table.check(before, Right.READ, "ops", NOW + 10)


def test_without_tokens_a_loopback_server_is_open_to_everybody() -> None:
    table = table_of(is_loopback=True)
    guest, cat = table.guest("admin", "127.0.0.1", NOW), table.guest("cat", "127.0.0.1", NOW)
    assert not guest.is_verified
    table.check(guest, Right.MODERATE, "ops", NOW)
    with pytest.raises(Forbidden):
        table.check(guest, Right.ADMIN, None, NOW)  # that needs a token, or the store itself
    change = apply(table, token())
    assert change.everyone
    for identity, error in ((guest, NameTaken), (cat, NotFound)):
        with pytest.raises(error):
            table.check(identity, Right.READ, "ops", NOW)


def test_guests_have_the_open_grants_and_may_lose_them() -> None:
    table = table_of(token(), open_grants=READ_OPS)
    guest = table.guest("cat", ADDRESS, NOW)
    table.check(guest, Right.READ, "ops", NOW)
    with pytest.raises(Forbidden):
        table.check(guest, Right.WRITE, "ops", NOW)
    with pytest.raises(NotFound):
        table.check(guest, Right.READ, "dev", NOW)


def test_connections_of_one_name_and_address_share_an_identity_until_something_changes() -> None:
    table = table_of(open_grants=READ_OPS)
    cat = table.guest("cat", ADDRESS, NOW)
    assert table.guest("cat", ADDRESS, NOW) is cat
    assert table.guest("cat", "192.0.2.8", NOW).address == "192.0.2.8"
    assert table.named("cat", ADDRESS, NOW, Credential.PROXY).is_verified
    apply(table, ban(BanSubject.NAME, "cat"))
    with pytest.raises(Banned):
        table.guest("cat", ADDRESS, NOW)
    apply(table, ban(BanSubject.NAME, "cat"), deleted=True)
    assert table.guest("cat", ADDRESS, NOW) is not cat
    apply(table, token(name="cat"))
    with pytest.raises(NameTaken):
        table.guest("cat", ADDRESS, NOW)


@pytest.mark.parametrize("name", ["ann", "ANN", "\u0430nn", "a\u0300nn", "system", "adm\u0456n"])
def test_names_of_tokens_and_roles_are_refused_to_guests(name: str) -> None:
    table = table_of(token())
    for credential in (Credential.NONE, Credential.SECRET):
        with pytest.raises(NameTaken):
            table.named(name, ADDRESS, NOW, credential)


def test_a_proxy_names_people_that_have_tokens_too() -> None:
    table = table_of(token())
    assert table.named("ann", ADDRESS, NOW, Credential.PROXY).is_verified
    with pytest.raises(NameTaken):
        table.named("\u0430nn", ADDRESS, NOW, Credential.PROXY)


@pytest.mark.parametrize(
    "made",
    [
        ban(BanSubject.TOKEN, "abcdefghij"),
        ban(BanSubject.NAME, "\u0430nn"),
        ban(BanSubject.NETWORK, "192.0.2.0/24"),
        ban(BanSubject.NETWORK, "0.0.0.0/0"),
    ],
)
def test_a_ban_refuses_a_new_connection_and_ends_an_open_one(made: Ban) -> None:
    table = table_of(token())
    session = Session(table.authenticate(SECRET, ADDRESS, NOW))
    table.watchers.add(session)
    change = apply(table, made)
    assert concerned(table, change) == [session]
    for attempt in (
        lambda: table.authenticate(SECRET, ADDRESS, NOW),
        lambda: table.renew(session.identity, NOW),
        lambda: table.check(session.identity, Right.READ, "ops", NOW),
    ):
        with pytest.raises(Banned, match="spam"):
            attempt()
    apply(table, made, deleted=True)
    table.check(session.identity, Right.READ, "ops", NOW)


def test_a_ban_of_an_ipv6_address_covers_the_network_of_its_client() -> None:
    table = table_of(ban(BanSubject.NETWORK, "2001:db8::/64"), open_grants=READ_OPS)
    with pytest.raises(Banned):
        table.guest("cat", "2001:db8::1234", NOW)
    table.guest("cat", "2001:db8:0:1::1", NOW)
    table.guest("cat", "not an address", NOW)


@pytest.mark.parametrize("subject", ["192.0.2.0/24", "::ffff:192.0.2.0/120", "::ffff:192.0.2.7", "0.0.0.0/0"])
@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"])
def test_an_ipv4_address_is_banned_in_each_of_its_forms(subject: str, address: str) -> None:
    table = table_of(ban(BanSubject.NETWORK, subject), open_grants=READ_OPS)
    with pytest.raises(Banned):
        table.guest("cat", address, NOW)
    table.guest("cat", "2001:db8::7", NOW)


def test_an_archived_room_is_not_written() -> None:
    table = table_of(is_loopback=True)
    change = apply(table, ("ops", RoomSettings(archived=True)))
    assert change.rooms == {"ops"}
    with pytest.raises(Forbidden, match="archived"):
        table.check(table.guest("cat", "", NOW), Right.WRITE, "ops", NOW)


def test_a_change_concerns_only_the_sessions_that_it_is_about() -> None:
    table = table_of(token(), token(new_secret("bbbbbbbbbb"), "bob"), open_grants=READ_OPS)
    ann, cat, dan = (
        Session(table.authenticate(SECRET, ADDRESS, NOW)),
        Session(table.guest("cat", "192.0.2.8", NOW)),
        Session(table.guest("dan", "2001:db8::1", NOW)),
    )
    for session in (ann, cat, dan):
        table.watchers.add(session)

    assert concerned(table, apply(table, token(revoked_ms=1))) == [ann]
    assert concerned(table, apply(table, token(new_secret("cccccccccc"), "c\u0430t"))) == [cat]
    assert concerned(table, apply(table, ban(BanSubject.NETWORK, "2001:db8::/64"))) == [dan]
    assert concerned(table, apply(table, ("ops", RoomSettings(topic="x")))) == []
    table.watchers.discard(ann)
    table.watchers.discard(ann)
    whole = table.apply(RecordChanges(Cursor("f", 1), [], whole=True))
    assert {session.identity.name for session in concerned(table, whole)} == {"cat", "dan"}
    assert len(table.watchers) == 2


def test_the_time_of_use_concerns_nobody() -> None:
    table = table_of(token())
    before = table.generation
    assert apply(table, token(last_used_ms=5)) == NO_CHANGE
    assert table.generation == before


def test_uses_are_reported_once_an_hour() -> None:
    table = table_of(token())
    for now_ms in (NOW, NOW + 1, NOW + USE_STEP_MS - 1):
        table.authenticate(SECRET, ADDRESS, now_ms)
    assert table.drain_uses() == [TokenUse("abcdefghij", NOW, ADDRESS)]
    table.authenticate(SECRET, ADDRESS, NOW + USE_STEP_MS)
    assert table.drain_uses() == [TokenUse("abcdefghij", NOW + USE_STEP_MS, ADDRESS)]
    assert table.drain_uses() == []
    apply(table, token(last_used_ms=NOW + USE_STEP_MS))
    table.authenticate(SECRET, ADDRESS, NOW)  # the clock was ahead
    assert table.drain_uses() == [TokenUse("abcdefghij", NOW, ADDRESS)]


def test_sessions_are_found_when_they_expire() -> None:
    table = table_of(token(expires_ms=NOW + 5), token(new_secret("bbbbbbbbbb"), "bob"))
    session = Session(table.authenticate(SECRET, ADDRESS, NOW))
    ends = [table.watchers.next_expiry_ms]
    table.watchers.add(session)
    ends.append(table.watchers.next_expiry_ms)
    assert table.watchers.expired(NOW + 4) == []
    assert table.watchers.expired(NOW + 5) == [session]
    table.watchers.discard(session)
    ends.append(table.watchers.next_expiry_ms)
    assert ends == [None, NOW + 5, None]


def test_a_record_that_cannot_be_read_gives_no_right() -> None:
    table = table_of(token())
    identity = table.authenticate(SECRET, ADDRESS, NOW)
    change = table.apply(RecordChanges(Cursor("e", 2), [Record(access_records.TOKEN, "abcdefghij", b"{}", 2)]))
    assert len(change.unreadable) == 1
    with pytest.raises(Unauthorized):
        table.check(identity, Right.READ, "ops", NOW)


def name_record(key: str, name: str | None) -> Record:
    return Record(access_records.NAME, key, None if name is None else encode(NameHolders(name, ("t1",))), 1)


def test_a_name_is_held_as_long_as_a_token_has_it() -> None:
    table = table_of(token(name="Ann"))
    found = [table.held_name(text) for text in ("Ann", "ANN", "ann", "an", "bob")]
    apply(table, token(name="Ann"), deleted=True)
    assert (found, table.held_name("ann")) == (["Ann", "Ann", "Ann", None, None], None)


def test_a_name_stays_held_when_another_with_the_same_folded_form_is_released() -> None:
    """To reserve a name, its keys are taken one after another, and given back if one is another's."""
    held, other, capitals = "ηυ", "\u0397\u03c5", "\u0397\u03a5"  # Greek letters that look like Latin ones
    mine, more = name_keys(held), [key for key in name_keys(other) if key not in name_keys(held)]
    assert len(more) == 1
    table = table_of()
    found = []
    for record in (
        *(name_record(key, held) for key in mine),
        name_record(more[0], other),
        name_record(more[0], None),
        *(name_record(key, None) for key in mine),
    ):
        table.apply(RecordChanges(Cursor("e", 2), [record]))
        found.append(table.held_name(capitals))
    assert found == [held] * (2 * len(mine) + 1) + [None]


def test_a_name_whose_record_cannot_be_read_is_not_held() -> None:
    table = table_of(token(name="ann"))
    for value, name in ((b"{}", None), (encode(NameHolders("Ann", ("t1",))), "Ann")):
        table.apply(RecordChanges(Cursor("e", 2), [Record(access_records.NAME, name_keys("ann")[0], value, 2)]))
        assert table.held_name("ann") == name


def test_a_record_that_cannot_be_read_opens_no_server() -> None:
    table = table_of(is_loopback=True)
    table.apply(RecordChanges(Cursor("e", 2), [Record(access_records.TOKEN, "abcdefghij", b"{}", 2)]))
    assert not table.is_open
    apply(table, token(), deleted=True)
    assert table.is_open


def test_a_person_of_a_proxy_loses_what_only_an_open_server_gives() -> None:
    table = table_of(is_loopback=True, open_grants=READ_OPS)
    person = table.named("cat", ADDRESS, NOW, Credential.PROXY)
    table.check(person, Right.MODERATE, "ops", NOW)
    apply(table, token())
    table.check(person, Right.READ, "ops", NOW)
    with pytest.raises(Forbidden):
        table.check(person, Right.MODERATE, "ops", NOW)


def test_a_store_that_was_wiped_leaves_no_token() -> None:
    table = table_of(token())
    identity = table.authenticate(SECRET, ADDRESS, NOW)
    assert table.apply(RecordChanges(Cursor("f", 0), [], whole=True)).everyone
    with pytest.raises(Unauthorized):
        table.renew(identity, NOW)


def test_a_store_that_was_wiped_opens_no_server() -> None:
    table = table_of(token(), is_loopback=True)
    assert not table.is_open
    for _ in range(2):
        table.apply(RecordChanges(Cursor("f", 0), [], whole=True))
        assert (table.is_open, table.has_lost_tokens) == (False, True)
    apply(table, token())
    assert not table.has_lost_tokens
    apply(table, token(), deleted=True)  # by an administrator
    assert table.is_open


def test_a_guest_whose_name_is_given_to_a_token_may_do_nothing_more() -> None:
    table = table_of(token(new_secret("bbbbbbbbbb"), "bob"), open_grants=READ_OPS)
    cat = table.guest("cat", ADDRESS, NOW)
    table.check(cat, Right.READ, "ops", NOW)
    apply(table, token(new_secret("cccccccccc"), "c\u0430t"))
    with pytest.raises(NameTaken):
        table.check(cat, Right.READ, "ops", NOW)
