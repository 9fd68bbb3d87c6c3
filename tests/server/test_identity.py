"""Who sends a request: tokens, the server's secret, cookies, proxies and names that were chosen."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from access_server import ROOT, grant
from harness import run, turns
from msgspec.structs import replace

from chatkit.backends.memory import MemoryBackend
from chatkit.core.access import Credential, Identity, Right
from chatkit.core.hub import Hub
from chatkit.errors import Banned, ChatkitError, NameTaken, Unauthorized
from chatkit.server.client_address import TrustedProxies, parse_networks
from chatkit.server.identity import Authenticator, Credentials, access_table, bearer
from chatkit.server.settings import Settings
from chatkit.server.token_attempts import TooManyAttempts

NOBODY = Credentials(None, None, None, None, (), "192.0.2.9")
EVERYBODY = (grant("*", "read", "write"),)


class Server:
    """A hub, and the authenticator of a server with some settings."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.hub = hub
        self.authenticator = Authenticator(settings, hub)

    def identify(self, **given: Any) -> Identity:
        return self.authenticator.identify(replace(NOBODY, **given))

    def refusal(self, **given: Any) -> str:
        with pytest.raises(ChatkitError) as refused:
            self.identify(**given)
        return refused.value.code

    async def secret(self, name: str = "ann", **more: Any) -> str:
        return (await self.hub.administration.add_token(ROOT, name, EVERYBODY, **more)).secret

    def cookie(self, identity: Identity) -> str:
        return f"chatkit_8000={self.authenticator.cookie_value(identity)}"


def served(test: Callable[[Server], Any], **given: Any) -> None:
    async def main() -> None:
        settings = Settings(**{"host": "0.0.0.0", **given})
        async with MemoryBackend() as backend, Hub(backend, access=access_table(settings)) as hub:
            await test(Server(settings, hub))

    run(main())


def test_a_bearer_token_is_read_from_the_header() -> None:
    assert [bearer(header) for header in ("Bearer  a b ", "bearer x", "Basic x", "", None)] == [
        "a b", "x", None, None, None,
    ]  # fmt: skip


def test_an_open_server_accepts_everybody_and_ignores_tokens() -> None:
    async def test(server: Server) -> None:
        for given in ({}, {"token": "stale"}, {"cookie": "chatkit_8000=stale"}, {"name": "admin"}):
            identity = server.identify(peer="127.0.0.1", **given)
            assert (identity.is_verified, identity.token_id) == (False, None)
            server.hub.access.check(identity, Right.MODERATE, "ops", 0)

    served(test, host="127.0.0.1")


def test_an_open_server_is_not_open_to_the_clients_of_a_proxy() -> None:
    async def test(server: Server) -> None:
        for given in (
            {"peer": "192.0.2.9"},
            {"forwarded_for": "192.0.2.9"},
            {"forwarded_for": "127.0.0.1, 192.0.2.9"},
            {"forwarded_for": "192.0.2.9:4711"},
            {"forwarded_for": "unknown"},
            {"forwarded_for": None},
            {"forwarded_for": ""},
            {"forwarded_for": "192.0.2.9", "token": "stale"},
        ):
            assert server.refusal(**{"peer": "127.0.0.1", "is_forwarded": "forwarded_for" in given, **given}) == (
                "unauthorized"
            )
        for peer in ("127.0.0.1", "::1", "::ffff:127.0.0.1", ""):
            server.identify(peer=peer)
            server.identify(peer=peer, forwarded_for="::1", is_forwarded=True)

    served(test, host="127.0.0.1")


def test_the_servers_secret_gives_every_right_except_to_administer() -> None:
    async def test(server: Server) -> None:
        identity = server.identify(token="eight-or-more", name="bob")
        assert (identity.name, identity.is_verified, identity.credential) == ("bob", False, Credential.SECRET)
        server.hub.access.check(identity, Right.MODERATE, "ops", 0)
        assert not server.hub.access.allows(identity, Right.ADMIN, None, 0)
        assert not server.hub.access.allows(identity, Right.READ, ".audit", 0)
        for token in ("eight-or-mor", "eight-or-more ", "\udcff\u00e9", "x" * 1_000_000):
            assert server.refusal(token=token) == "unauthorized"
        assert server.refusal() == "unauthorized"

    served(test, secret="eight-or-more")


def test_a_token_names_its_holder_whatever_name_is_asked_for() -> None:
    async def test(server: Server) -> None:
        identity = server.identify(token=await server.secret(), name="bob")
        assert (identity.name, identity.is_verified, identity.address) == ("ann", True, "192.0.2.9")

    served(test)


def test_a_wrong_token_is_never_a_guest() -> None:
    async def test(server: Server) -> None:
        secret = await server.secret()
        wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
        for token in (wrong, "ck_abcdefghij_" + "x" * 43, "x", secret + "x"):
            assert server.refusal(token=token, name="guest") == "unauthorized"
        assert server.identify(name="guest").credential is Credential.NONE

    served(test, open_grants=EVERYBODY)


def test_a_cookie_stands_for_its_token_and_ends_with_it() -> None:
    async def test(server: Server) -> None:
        secret = await server.secret()
        identity = server.identify(token=secret)
        cookie = server.cookie(identity)
        assert secret not in cookie
        assert identity.digest not in cookie
        again = server.identify(cookie=f"a=b; {cookie}", name="bob")
        assert (again.name, again.token_id, again.digest) == ("ann", identity.token_id, identity.digest)
        assert server.refusal(cookie=cookie[:-1] + "x") == "unauthorized"
        token_id = identity.token_id or ""
        rotated = await server.hub.administration.rotate(ROOT, token_id, overlap_s=60)
        assert server.identify(cookie=cookie).expires_ms is not None
        assert server.identify(cookie=server.cookie(server.identify(token=rotated.secret))).expires_ms is None
        await server.hub.administration.revoke(ROOT, token_id)
        assert server.refusal(cookie=cookie) == "unauthorized"
        assert server.refusal(cookie=cookie, name="guest") == "unauthorized"

    served(test, open_grants=EVERYBODY)


def test_the_cookies_of_other_servers_on_the_host_are_ignored() -> None:
    async def test(server: Server) -> None:
        others = "chatkit_1=of-another-port; chatkit_2=abcdefghij." + "0" * 64
        cookie = server.cookie(server.identify(token=await server.secret()))
        assert server.identify(cookie=f"{others}; {cookie}").name == "ann"
        assert server.identify(cookie=others).credential is Credential.NONE

    served(test, open_grants=EVERYBODY)


def test_a_cookie_of_a_former_secret_is_like_none() -> None:
    async def test(server: Server) -> None:
        assert server.refusal(cookie="chatkit_8000=" + "0" * 64) == "unauthorized"
        cookie = server.cookie(server.identify(token="eight-or-more"))
        assert server.identify(cookie=cookie, name="bob").name == "bob"

    served(test, secret="eight-or-more")


def test_a_name_comes_from_a_trusted_proxy_only() -> None:
    async def test(server: Server) -> None:
        by_proxy = server.identify(proxy_names=("ann",), peer="10.0.0.1", forwarded_for="192.0.2.7", name="bob")
        assert (by_proxy.name, by_proxy.is_verified, by_proxy.address) == ("ann", True, "192.0.2.7")
        directly = server.identify(proxy_names=("ann",), peer="192.0.2.1", name="bob")
        assert (directly.name, directly.is_verified) == ("bob", False)
        from_here = server.identify(proxy_names=("ann",), peer="127.0.0.1", name="bob")
        assert (from_here.name, from_here.is_verified) == ("bob", False)
        assert server.refusal(proxy_names=("ann", "root"), peer="10.0.0.1") == "unauthorized"
        assert server.identify(token=await server.secret(), proxy_names=("eve",), peer="10.0.0.1").name == "ann"

    served(test, open_grants=EVERYBODY, trust_proxies=("10.0.0.0/8",), trust_header="Remote-User")


def test_the_header_of_the_proxy_is_read_from_the_request() -> None:
    scope: Any = {
        "headers": [
            (b"remote-user", "j\u00f6rg".encode()),
            (b"x-forwarded-for", b"192.0.2.7"),
            (b"x-forwarded-for", b"10.0.0.2"),
        ],
        "query_string": b"name=bob&token=t%20k",
        "client": ("10.0.0.1", 5),
    }
    found = Credentials.read(scope, b"remote-user")
    assert found == Credentials(
        "t k", None, "bob", "192.0.2.7, 10.0.0.2", ("j\u00f6rg",), "10.0.0.1", is_forwarded=True
    )
    assert Credentials.read(scope, None).proxy_names == ()


@pytest.mark.parametrize(
    ("peer", "headers", "is_local"),
    [
        ("127.0.0.1", [], True),
        ("::1", [(b"host", b"x")], True),
        ("", [], True),
        ("192.0.2.1", [], False),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], False),
        ("127.0.0.1", [(b"via", b"1.1 proxy")], False),
        ("127.0.0.1", [(b"x-real-ip", b"192.0.2.1")], False),
    ],
)
def test_a_program_on_this_machine_is_one_that_no_proxy_forwards(
    peer: str, headers: list[tuple[bytes, bytes]], is_local: bool
) -> None:
    scope: Any = {"headers": headers, "query_string": b"", "client": (peer, 5) if peer else None}
    assert Credentials.read(scope, None).is_local is is_local


def test_bans_and_reserved_names_are_refused_with_the_reason() -> None:
    async def test(server: Server) -> None:
        secret = await server.secret()
        with pytest.raises(NameTaken):
            server.identify(name="Ann")
        await server.hub.moderation.ban(ROOT, "ann")
        with pytest.raises(Banned):
            server.identify(token=secret)

    served(test, open_grants=EVERYBODY)


def test_guesses_are_slowed_down_and_are_entries_of_the_audit_once(caplog: pytest.LogCaptureFixture) -> None:
    async def test(server: Server) -> None:
        secret = await server.secret()
        refused = []
        for number in range(40):
            with pytest.raises(ChatkitError) as error:
                server.identify(token=f"guess-{number}")
            refused.append(type(error.value))
        assert refused[0] is Unauthorized
        assert refused[-1] is TooManyAttempts
        with pytest.raises(TooManyAttempts):
            server.identify(token=secret)  # a right guess must get the same answer
        assert server.identify(token=secret, peer="192.0.2.8").name == "ann"
        await turns()
        entries = (await server.hub.history(".audit")).messages
        attempts = [entry for entry in entries if entry.data["event"] == "attempt-refused"]
        assert len(attempts) == 1
        assert attempts[0].data["target"] == "192.0.2.9"
        assert "guess-" not in str(entries)
        assert secret not in str(entries)

    with caplog.at_level(logging.WARNING):
        served(test)
    assert caplog.text.count("too many wrong tokens") == 1


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
        ("127.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("::1", "10.0.0.1, 203.0.113.5", "203.0.113.5"),
        ("", "203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "203.0.113.5, nonsense", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%\x1b[31m", "127.0.0.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "203.0.113.5, 127.0.0.1", "203.0.113.5"),
        ("not an address", "203.0.113.5", "not an address"),
    ],
)
def test_without_the_option_x_forwarded_for_is_believed_from_this_machine(
    peer: str, forwarded_for: str | None, address: str
) -> None:
    assert TrustedProxies().client_address(peer, forwarded_for) == address


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("127.0.0.1", "203.0.113.5", "127.0.0.1"),
        ("10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("::ffff:10.1.2.3", "203.0.113.5", "203.0.113.5"),
        ("10.1.2.3", "198.51.100.1, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.1.2.3", ", ".join(["10.0.0.1"] * 1_000), "10.0.0.1"),
        ("fd00::1", "203.0.113.5", "203.0.113.5"),
        ("", "203.0.113.5", "203.0.113.5"),
    ],
)
def test_with_the_option_it_is_believed_from_there_and_from_nowhere_else(
    peer: str, forwarded_for: str, address: str
) -> None:
    proxies = TrustedProxies(parse_networks(["10.0.0.0/8", "fd00::/8"]))
    assert proxies.client_address(peer, forwarded_for) == address
