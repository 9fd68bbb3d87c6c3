"""The messages of webhooks on the page: cards, and the name that the sender gave, in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from page_access import READ, TokenServer, sign_in, token_server
from page_layout import CONTRASTS, OVERFLOWING
from page_window import OpenWindow, Window, windows
from playwright.sync_api import Browser, expect

PAYLOADS = Path(__file__).parent.parent / "server" / "hooks" / "payloads"
NARROW = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
HOSTILE = {
    "username": "<b>x</b>",
    "text": "",
    "attachments": [
        {
            "title": "<img src=x onerror=alert(1)>",
            "title_link": "javascript:alert(1)",
            "color": "red;background:url(x)",
            "text": "<script>alert(1)</script>",
            "fields": [{"title": "a" * 300, "value": "b" * 3_000}],
        }
    ],
}

pytest_plugins = ["page_fixtures"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(tmp_path_factory.mktemp("cards")) as server:
        yield server


@pytest.fixture(scope="module")
def open_window(browser: Browser, server: TokenServer) -> Iterator[OpenWindow]:
    """Open windows that stay open for all tests, each in rooms of its own."""
    with windows(browser, server.url) as open_window:
        yield open_window


@pytest.fixture(scope="module")
def desktop(server: TokenServer, open_window: OpenWindow) -> Window:
    return sign_in(open_window(), server.token("ann", "*", READ), "hall")


@pytest.fixture(scope="module")
def phone(server: TokenServer, open_window: OpenWindow) -> Window:
    return sign_in(open_window(**NARROW), server.token("bob", "*", READ), "hall")


def send(server: TokenServer, room: str, *payloads: Any) -> None:
    """Send payloads to a webhook of a room, each as a path in the folder of payloads or as it is."""
    secret = server.token(f"alerts-{room}", room, ["write"], kind="hook")
    for given in payloads:
        case = json.loads((PAYLOADS / f"{given}.json").read_text()) if isinstance(given, str) else {"payload": given}
        address = f"{server.url}/hooks/{secret}/{case.get('format', 'slack')}"
        httpx.post(address, json=case["payload"]).raise_for_status()


def test_a_webhooks_message_is_drawn_with_cards(server: TokenServer, desktop: Window) -> None:
    send(server, "drawn", "slack-attachments", "discord-embeds", "discord-content", "json-object", "slack-custom")
    window = desktop.join("drawn")
    first, second, third, fourth, fifth = window.page.locator(".message").all()
    expect(first.locator(".card")).to_have_count(2)
    expect(first.locator(".content > .text")).to_have_text("Optional text above the attachment")
    card = first.locator(".card").first
    expect(card.locator(".title a")).to_have_attribute("href", "https://api.slack.com/")
    expect(card.locator("dt")).to_have_text(["Priority", "Notes"])
    expect(card.locator("dd")).to_have_text(["High", "first line\nsecond line"], use_inner_text=True)
    assert card.evaluate("card => getComputedStyle(card).borderInlineStartColor") == "rgb(54, 166, 79)"
    expect(second.locator(".head")).to_contain_text("(Release Bot)")
    expect(second.locator(".head .mark-bot")).to_be_visible()
    expect(third.locator(".alias")).to_have_text("(Captain Hook)")
    assert "follows" not in (third.get_attribute("class") or ""), "another name begins another group"
    expect(third.locator(".card")).to_have_count(0)
    expect(fourth.locator("summary")).to_have_text("data")
    expect(fifth.locator(".alias")).to_have_text("(👻 webhookbot)")
    assert window.problems == []


def test_what_a_sender_writes_is_text(server: TokenServer, desktop: Window) -> None:
    send(server, "hostile", HOSTILE)
    window = desktop.join("hostile")
    message = window.page.locator(".message")
    expect(message.locator(".alias")).to_have_text("(<b>x</b>)")
    expect(message.locator(".card .title")).to_have_text("<img src=x onerror=alert(1)>")
    expect(message.locator(".card .text").first).to_have_text("<script>alert(1)</script>")
    expect(message.locator(".card :is(a, img, script)")).to_have_count(0)
    assert message.locator(".card").get_attribute("style") is None
    assert window.value(OVERFLOWING) == []
    assert window.problems == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_cards_are_readable_in_both_themes_and_on_a_phone(
    server: TokenServer, phone: Window, scheme: Literal["light", "dark"]
) -> None:
    send(server, f"seen-{scheme}", *(path.stem for path in sorted(PAYLOADS.glob("*.json"))))
    phone.page.emulate_media(color_scheme=scheme)
    window = phone.join(f"seen-{scheme}")
    expect(window.page.locator(".card").last).to_be_visible()
    assert window.value(OVERFLOWING) == []
    assert [found for found in window.value(CONTRASTS) if found[0] < 4.5] == []
    assert window.problems == []


def test_a_name_that_is_not_verified_leaves_the_sender_its_place(server: TokenServer, phone: Window) -> None:
    send(server, "h", {"username": "a name as long as it may be, and longer", "text": "hi"})
    window = phone.join("h")
    sender = window.page.locator(".message .sender")
    expect(sender).to_have_text("alerts-h")
    assert sender.evaluate("name => name.scrollWidth <= name.clientWidth")


def test_many_cards_are_folded(server: TokenServer, desktop: Window) -> None:
    send(server, "long", {"text": "many", "attachments": [{"title": f"card {n}", "text": "a\nb"} for n in range(15)]})
    window = desktop.join("long")
    message = window.page.locator(".message")
    expect(message.locator(".cards")).to_have_class("cards folded")
    message.get_by_role("button", name="Show all").click()
    expect(message.locator(".cards")).to_have_class("cards")
    assert message.locator(".cards").evaluate("cards => cards.scrollHeight <= cards.clientHeight")  # all are drawn


def test_an_edit_replaces_the_cards(server: TokenServer, desktop: Window) -> None:
    send(server, "edited", "slack-attachments")
    bot = server.token("alerts-edited", "edited", ["write"], kind="bot")  # of the same name as the webhook
    server.call("PATCH", "/rooms/edited/messages/1", {"body": "it was nothing"}, token=bot)
    window = desktop.join("edited")
    expect(window.page.locator(".message .content > .text")).to_contain_text("it was nothing")
    expect(window.page.locator(".card")).to_have_count(0)
