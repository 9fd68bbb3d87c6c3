"""Settings are checked as a whole, before anything is opened."""

from pathlib import Path

import pytest

from chatkit.errors import BadRequest
from chatkit.server.settings import Settings, is_loopback

SECRET = "a secret has at least 8 characters, all ASCII, no space at its ends, and no %41 or the like"


def test_the_defaults_are_those_of_the_commands_help() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.history) == ("127.0.0.1", 8000, 10)
    assert (settings.rate_limit, settings.max_connections) == (100, 10_000)
    assert settings.secret is None
    assert settings.is_loopback
    assert not settings.is_wildcard


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"port": -1}, "a port is 0 to 65535"),
        ({"port": 65_536}, "a port is 0 to 65535"),
        ({"history": -1}, "history is 0 to 1000"),
        ({"history": 1_001}, "history is 0 to 1000"),
        ({"keep": 0}, "keep is at least 1"),
        ({"keep_for_s": 0.0}, "keep-for is longer than nothing"),
        ({"rate_limit": -0.5}, "rate-limit is at least 0"),
        ({"rate_limit": float("nan")}, "rate-limit is at least 0"),
        ({"max_connections": 0}, "max-connections is at least 1"),
        ({"log_level": "loud"}, "log-level is one of debug, info, warning, error, critical"),
        ({"keep": 1 << 63}, "keep is at most 9223372036854775807"),
        ({"rate_limit": float("inf")}, "a rate-limit of 0 is no limit"),
        ({"secret": "short"}, SECRET),
        ({"secret": "p\u00e4ssw\u00f6rter"}, SECRET),
        ({"secret": "line\nline\nline"}, SECRET),
        ({"secret": " in-a-header-it-goes"}, SECRET),
        ({"secret": "a%41cookie"}, SECRET),
        ({"origins": ("chat.example",)}, "an origin is like https://chat.example, not 'chat.example'"),
        ({"origins": ("http://[",)}, "an origin is like https://chat.example, not 'http://['"),
        ({"page": Path("/nowhere")}, "no index.html in /nowhere"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**given)  # type: ignore[arg-type]  # wrong values are what this is about
    assert str(refused.value) == sentence


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
    with pytest.raises(BadRequest, match=r"an origin is like https://chat\.example, not "):
        Settings(origins=(origin,))


@pytest.mark.parametrize(
    "origin",
    ["https://Chat.Example/", "http://chat.example:8080", "https://[2001:db8::1]:8443", "tauri://localhost"],
)
def test_an_origin_that_a_browser_sends_is_taken(origin: str) -> None:
    assert Settings(origins=(origin,)).origins == (origin,)


@pytest.mark.parametrize("secret", ["a b&c$'d#", "100%sure!", "==+/=======", '"quoted";,\\'])
def test_a_secret_may_hold_what_a_link_and_a_cookie_have_to_quote(secret: str) -> None:
    assert Settings(secret=secret).secret == secret


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BadRequest, match="a port is 0 to 65535; keep is at least 1"):
        Settings(port=-1, keep=0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "a.localhost"])
def test_what_only_this_machine_can_reach(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "localhost.evil", "127.0.0.1.evil", "1", "evil"])
def test_what_others_can_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(("host", "is_wildcard"), [("0.0.0.0", True), ("::", True), ("[::]", True), ("::1", False)])
def test_a_wildcard_is_every_address(host: str, is_wildcard: bool) -> None:
    assert Settings(host=host).is_wildcard is is_wildcard


def test_a_page_of_ones_own_needs_an_index(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hi")
    assert Settings(page=tmp_path).page == tmp_path
