"""One request to a webhook: its signature, to which address it goes, and what answers can not do."""

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from harness import run
from receiver import OK, Receiver, receiver, status
from standardwebhooks import WebhookVerificationError

from chatkit.core.webhook import Webhook, WebhookEvent, new_secret
from chatkit.webhooks.address import Address, AddressPolicy
from chatkit.webhooks.exchange import Exchange
from chatkit.webhooks.resolver import resolve
from chatkit.webhooks.sender import MAX_ANSWER_BYTES, Sender

LOOPBACK = AddressPolicy(["127.0.0.0/8"])
BODY = '{"type":"test","data":"é"}'.encode()


def webhook(url: str) -> Webhook:
    return Webhook("k3f9x2m4qa", url, ("ops",), (WebhookEvent.MESSAGE,), new_secret(), "ann", 0)


def host(to: Receiver, name: str) -> str:
    return f"http://{name}:{to.port}/hook"


def names(**addresses: str) -> Callable[[str], Awaitable[list[Address]]]:
    async def look_up(name: str) -> list[Address]:
        return [ip_address(text) for text in addresses[name.replace(".", "_")].split()]

    return look_up


async def send(sender: Sender, url: str) -> Exchange:
    try:
        return await sender.send(webhook(url), "msg_1", BODY)
    finally:
        await sender.close()


def with_receiver(test: Callable[[Receiver], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with receiver() as made:
            await test(made)

    def wrapped() -> None:
        run(main())

    wrapped.__name__ = test.__name__
    return wrapped


@with_receiver
async def test_a_request_is_signed_after_standard_webhooks(to: Receiver) -> None:
    sender, hook = Sender(LOOPBACK), webhook(f"{to.url}?key=1")
    exchange = await sender.send(hook, "msg_1", BODY)
    assert (exchange.is_delivered, exchange.answer and exchange.answer.status) == (True, 204)
    received = await to.next()
    assert received.verify(hook.secret) == {"type": "test", "data": "é"}
    assert (received.path, received.id, received.headers["content-type"]) == (
        "/hook?key=1",
        "msg_1",
        "application/json",
    )
    assert dict(received.headers) == {each.name.lower(): each.value for each in exchange.headers}
    assert (exchange.body, received.body) == (BODY.decode(), BODY)
    for other in (new_secret(), hook.secret[:-4] + "AAA="):
        with pytest.raises(WebhookVerificationError):
            received.verify(other)
    await sender.send(hook, "msg_2", BODY)
    assert to.n_open == 1  # the connection is used again
    await sender.close()


@with_receiver
async def test_no_request_goes_to_an_address_that_is_not_allowed(to: Receiver) -> None:
    for name in (
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0",
        "localhost",
    ):
        exchange = await send(Sender(AddressPolicy()), host(to, name))
        assert "--webhook-allow" in exchange.error, name
    assert to.all == []


@with_receiver
async def test_odd_spellings_of_an_address_are_what_they_resolve_to(to: Receiver) -> None:
    for name in ("2130706433", "0177.0.0.1", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"):
        exchange = await send(Sender(LOOPBACK), host(to, name))
        assert exchange.is_delivered, (name, exchange.error)


@with_receiver
async def test_a_name_that_resolves_to_another_address_the_next_time_is_connected_to_the_checked_one(
    to: Receiver,
) -> None:
    """DNS rebinding: a public address for the check, and a private one for the connection."""
    asked = []

    async def rebind(name: str) -> list[Address]:
        asked.append(name)
        return [ip_address("127.0.0.1" if len(asked) == 1 else "169.254.169.254")]

    exchange = await send(Sender(LOOPBACK, resolve_host=rebind), host(to, "rebind.test"))
    assert exchange.is_delivered
    assert asked == ["rebind.test"]  # resolved once, so nothing can change between the check and the connection
    assert (await to.next()).headers["host"] == f"rebind.test:{to.port}"
    again = await send(Sender(LOOPBACK, resolve_host=rebind), host(to, "rebind.test"))
    assert "no address on the internet" in again.error


@with_receiver
async def test_of_several_addresses_only_the_allowed_ones_are_tried(to: Receiver) -> None:
    mixed = names(a_test="10.0.0.1 ::1 127.0.0.1", nat_test="64:ff9b::7f00:1", mapped_test="::ffff:10.0.0.1")
    assert (await send(Sender(LOOPBACK, resolve_host=mixed), host(to, "a.test"))).is_delivered
    for name in ("nat.test", "mapped.test"):
        assert (
            "no address on the internet"
            in (await send(Sender(AddressPolicy(), resolve_host=mixed), host(to, name))).error
        )
    assert len(to.all) == 1


@with_receiver
async def test_the_next_address_is_tried_if_one_refuses(to: Receiver) -> None:
    two = names(a_test="127.0.0.2 127.0.0.1")
    assert (await send(Sender(LOOPBACK, resolve_host=two), host(to, "a.test"))).is_delivered


@with_receiver
async def test_redirects_are_not_followed(to: Receiver) -> None:
    for code in (301, 302, 303, 307, 308):
        to.answers = [status(code, f"Location: {to.url}/other")]
        exchange = await send(Sender(LOOPBACK), to.url)
        assert not exchange.is_delivered
        assert f"answered {code}" in exchange.reason
        assert "redirects are not followed" in exchange.reason
    assert {received.path for received in to.all} == {"/hook"}


@with_receiver
async def test_proxies_and_passwords_of_the_environment_are_not_used(to: Receiver) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            patch.setenv(name, "http://127.0.0.1:9")
        assert (await send(Sender(LOOPBACK), to.url)).is_delivered


@with_receiver
async def test_an_answer_that_comes_byte_by_byte_ends_in_time(to: Receiver) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1_000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    to.answers = [drip]
    exchange = await send(Sender(LOOPBACK, request_s=0.2), to.url)
    assert exchange.reason == "the receiver did not answer within 0.2 seconds"


@with_receiver
async def test_a_receiver_that_does_not_answer_ends_in_time(to: Receiver) -> None:
    async def wait(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    to.answers = [wait]
    assert not (await send(Sender(LOOPBACK, request_s=0.1), to.url)).is_delivered


@with_receiver
async def test_a_name_that_does_not_resolve_ends_in_time(to: Receiver) -> None:
    async def never(_: str) -> list[Address]:
        await asyncio.sleep(30)
        return []

    exchange = await send(Sender(LOOPBACK, resolve_host=never, request_s=0.1), host(to, "slow.test"))
    assert "did not answer within" in exchange.reason


@with_receiver
async def test_the_body_of_an_answer_is_read_up_to_a_bound(to: Receiver) -> None:
    to.answers = [status(200, body=b"x" * 10_000_000), status(200, body=b"x" * MAX_ANSWER_BYTES)]
    sender = Sender(LOOPBACK)
    long, exact = [await sender.send(webhook(to.url), "msg_1", BODY) for _ in range(2)]
    await sender.close()
    assert long.answer is not None
    assert exact.answer is not None
    assert (len(long.answer.body), long.answer.cut, long.is_delivered) == (MAX_ANSWER_BYTES, True, True)
    assert (len(exact.answer.body), exact.answer.cut) == (MAX_ANSWER_BYTES, False)


@with_receiver
async def test_answers_that_are_not_http_are_failures(to: Receiver) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1_000) for n in range(1_000))
    for answer in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n", endless, b""):
        to.answers = [answer, OK]
        exchange = await send(Sender(LOOPBACK, request_s=1), to.url)
        assert not exchange.is_delivered
        assert exchange.reason


def test_a_closed_port_and_an_unknown_name_are_failures() -> None:
    async def go() -> None:
        assert (await send(Sender(LOOPBACK), "http://127.0.0.1:9/")).reason
        assert "cannot be resolved" in (await send(Sender(LOOPBACK), "http://does-not-exist.invalid/")).reason

    run(go())


@pytest.mark.parametrize("name", ["a" * 70 + ".test", "a..b", "xn--\N{SNOWMAN}"])
def test_a_text_that_is_no_name_of_a_host_is_an_error_of_the_system(name: str) -> None:
    async def go() -> None:
        with pytest.raises(OSError, match=r"."):
            await resolve(name)

    run(go())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own authority for hook.test, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    file = folder / "both.pem"
    key, made = folder / "key.pem", folder / "made.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=hook.test", "-addext", "subjectAltName=DNS:hook.test", "-keyout", key, "-out", made],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes(key.read_bytes() + made.read_bytes())
    return file


def test_tls_is_verified_with_the_name_of_the_host(certificate: Path) -> None:
    async def go() -> None:
        served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        served.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=str(certificate))
        look_up = names(hook_test="127.0.0.1", other_test="127.0.0.1")
        async with receiver(served) as to:
            good = await send(Sender(LOOPBACK, resolve_host=look_up, trust=trusting), f"https://hook.test:{to.port}/")
            assert good.is_delivered, good.error
            wrong = await send(Sender(LOOPBACK, resolve_host=look_up, trust=trusting), f"https://other.test:{to.port}/")
            unknown = await send(Sender(LOOPBACK, resolve_host=look_up), f"https://hook.test:{to.port}/")
            for refused in (wrong, unknown):
                assert "CERTIFICATE_VERIFY_FAILED" in refused.reason
            assert len(to.all) == 1

    run(go())


def test_no_text_of_a_webhook_holds_its_secret() -> None:
    hook = webhook("https://example.org/")
    assert hook.secret not in repr(hook)
    assert hook.secret.removeprefix("whsec_") not in f"{hook}"
