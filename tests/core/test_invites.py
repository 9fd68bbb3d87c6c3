"""Invites: redeeming them for a token, and their end."""

import asyncio

import msgspec
import pytest
from administration_site import READ_OPS, ROOT, Site, outcome, with_site

from chatkit.core.access import Identity
from chatkit.core.token import TokenKind
from chatkit.errors import InviteUsed, NameTaken, Unauthorized


@with_site
async def test_the_former_link_of_an_invite_ends_with_the_overlap(at: Site) -> None:
    invite = await at.admin.make_invite(ROOT, READ_OPS, uses=3)
    rotated = await at.admin.rotate(ROOT, invite.token.id, overlap_s=10)
    await at.redeem(at.admin, invite, "dan")
    at.now_ms += 10_000
    assert await outcome(at.redeem(at.admin, invite, "eve")) == "invite-used"
    await at.redeem(at.admin, rotated, "eve")


@with_site
async def test_an_invite_gives_a_token_with_a_free_name(at: Site) -> None:
    await at.admin.add_token(ROOT, "ann", READ_OPS)
    invite = await at.admin.make_invite(ROOT, READ_OPS)
    guest = Identity("\u0430nn", address="192.0.2.9")
    for name in (guest, msgspec.structs.replace(guest, name="support"), msgspec.structs.replace(guest, name="ann")):
        with pytest.raises(NameTaken):
            await at.admin.redeem(invite.secret, name)
    dan = await at.identity(await at.redeem(at.admin, invite, "dan"))
    assert (dan.name, dan.is_verified, dan.grants) == ("dan", True, READ_OPS)
    with pytest.raises(InviteUsed):
        await at.redeem(at.admin, invite, "eve")
    assert (await at.table()).holder_of("eve") is None


@with_site
async def test_an_invite_is_used_once_on_two_servers_at_the_same_moment(at: Site) -> None:
    invite = await at.admin.make_invite(ROOT, READ_OPS, uses=2)
    jobs = [at.redeem((at.admin, at.other)[n % 2], invite, f"user{n}") for n in range(8)]
    results = await asyncio.gather(*map(outcome, jobs))
    assert sorted(results) == ["done", "done", *["invite-used"] * 6]
    people = [token.name for token in await at.admin.tokens(ROOT) if token.kind is TokenKind.PERSON]
    assert len(people) == 2
    table = await at.table()
    assert [table.holder_of(f"user{n}") is not None for n in range(8)].count(True) == 2


@with_site
async def test_an_invite_that_has_ended_is_not_redeemed(at: Site) -> None:
    expiring = await at.admin.make_invite(ROOT, READ_OPS, expires_ms=at.now_ms + 1)
    revoked = await at.admin.make_invite(ROOT, READ_OPS)
    await at.admin.revoke(ROOT, revoked.token.id)
    at.now_ms += 1
    for invite in (expiring, revoked):
        with pytest.raises(InviteUsed):
            await at.redeem(at.admin, invite, "dan")
    token = await at.admin.add_token(ROOT, "ann", READ_OPS)
    for secret in (token.secret, "", "ck_x", expiring.secret[:-1] + "-"):
        with pytest.raises(Unauthorized):
            await at.admin.redeem(secret, Identity("dan"))
