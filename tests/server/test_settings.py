"""Settings: defaults, and one error that names every invalid value."""

from pathlib import Path
from typing import Any

import pytest

from chatkit.core.access import Grant, Right
from chatkit.errors import BadRequest
from chatkit.server.settings import Settings, is_loopback

SECRET = "the secret must have at least 8 characters: ASCII, no spaces at the ends, no escapes such as %41"


def test_the_defaults_match_the_help_of_the_command() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.history) == ("127.0.0.1", 8000, 10)
    assert (settings.rate_limit, settings.max_connections) == (100, 10_000)
    assert settings.secret is None
    assert settings.is_loopback
    assert not settings.is_wildcard


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"port": -1}, "port must be 0 to 65535"),
        ({"port": 65_536}, "port must be 0 to 65535"),
        ({"history": -1}, "history must be 0 to 1000"),
        ({"history": 1_001}, "history must be 0 to 1000"),
        ({"keep": 0}, "keep must be at least 1"),
        ({"keep_for_s": 0.0}, "keep-for must be longer than 0 seconds"),
        ({"rate_limit": -0.5}, "rate-limit must be at least 0"),
        ({"rate_limit": float("nan")}, "rate-limit must be at least 0"),
        ({"max_connections": 0}, "max-connections must be at least 1"),
        ({"log_level": "loud"}, "log-level must be one of debug, info, warning, error, critical"),
        ({"keep": 1 << 63}, "keep must be at most 9223372036854775807"),
        ({"rate_limit": float("inf")}, "rate-limit must be finite; for no limit, use 0"),
        ({"secret": "short"}, SECRET),
        ({"secret": "p\u00e4ssw\u00f6rter"}, SECRET),
        ({"secret": "line\nline\nline"}, SECRET),
        ({"secret": " in-a-header-it-goes"}, SECRET),
        ({"secret": "a%41cookie"}, SECRET),
        ({"origins": ("chat.example",)}, "an origin must look like https://chat.example, not 'chat.example'"),
        ({"origins": ("http://[",)}, "an origin must look like https://chat.example, not 'http://['"),
        ({"trust_proxies": ("proxy",)}, "trust-proxy must be an IP address or network, not 'proxy'"),
        (
            {"trust_proxies": ("::1",), "trust_header": "Remote User"},
            "trust-header must be the name of a header, such as Remote-User, not 'Remote User'",
        ),
        ({"trust_header": "Remote-User"}, "trust-header needs --trust-proxy: anybody else could send that header too"),
        ({"page": Path("/nowhere")}, "page must be a folder with an index.html, and /nowhere has none"),
    ],
)
def test_an_invalid_value_is_refused_with_a_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**given)  # type: ignore[arg-type]  # the values are wrong on purpose
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("given", "is_open"),
    [
        ({}, True),
        ({"host": "localhost"}, True),
        ({"origins": ("https://chat.example",)}, True),
        ({"host": "0.0.0.0"}, False),
        ({"secret": "eight-or-more"}, False),
        ({"open_grants": (Grant("*", (Right.READ,)),)}, False),
        ({"trust_proxies": ("127.0.0.1",)}, False),
    ],
)
def test_a_server_is_open_unless_others_can_reach_it_or_its_operator_said_who_may(
    given: dict[str, Any], is_open: bool
) -> None:
    assert Settings(**given).is_open is is_open


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://*.example",
        "https://chat.example/app",
        "https://chat.example:443",
        "http://chat.example:80/",
        "https://chat.example:99999",
        "https://ann@chat.example",
        "https://a.example,https://b.example",
        "https://chat.example?x",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(BadRequest, match=r"an origin must look like https://chat\.example, not "):
        Settings(origins=(origin,))


@pytest.mark.parametrize(
    "origin",
    ["https://Chat.Example/", "http://chat.example:8080", "https://[2001:db8::1]:8443", "tauri://localhost"],
)
def test_an_origin_that_a_browser_sends_is_accepted(origin: str) -> None:
    assert Settings(origins=(origin,)).origins == (origin,)


@pytest.mark.parametrize("secret", ["a b&c$'d#", "100%sure!", "==+/=======", '"quoted";,\\'])
def test_a_secret_may_hold_characters_that_links_and_cookies_escape(secret: str) -> None:
    assert Settings(secret=secret).secret == secret


def test_one_error_names_every_invalid_value() -> None:
    with pytest.raises(BadRequest, match="port must be 0 to 65535; keep must be at least 1"):
        Settings(port=-1, keep=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "a.localhost"])
def test_a_loopback_host_is_recognised(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "localhost.evil", "127.0.0.1.evil", "1", "evil"])
def test_a_host_that_others_can_reach_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(("host", "is_wildcard"), [("0.0.0.0", True), ("::", True), ("[::]", True), ("::1", False)])
def test_a_wildcard_host_is_recognised(host: str, is_wildcard: bool) -> None:
    assert Settings(host=host).is_wildcard is is_wildcard


def test_a_custom_page_needs_an_index_file(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hi")
    assert Settings(page=tmp_path).page == tmp_path
