"""What the page shows in a room where the user may not write, and what it draws when that changes."""

from collections.abc import Iterator

import pytest
from page_access import MODERATE, WRITE, TokenServer, sign_in, token_server
from page_window import OpenWindow
from playwright.sync_api import expect

pytest_plugins = ["page_fixtures"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(tmp_path_factory.mktemp("rights"), "--open", "lobby:read") as server:
        yield server


def test_rooms_that_cannot_be_written_say_why(server: TokenServer, open_window: OpenWindow) -> None:
    ann = server.token("ann", "*", MODERATE)
    guest = open_window("gus").join("lobby")
    expect(guest.page.locator("#read-only-text")).to_have_text(
        "You can read this room. To write, sign in with a token."
    )
    expect(guest.page.locator("#composer")).to_be_hidden()
    expect(guest.page.locator("#quiet")).to_contain_text("New messages appear here.")
    expect(guest.page.locator("#quiet-commands")).to_be_hidden()

    finn = sign_in(open_window(), server.token("finn", "attic", WRITE), "attic")
    expect(finn.page.locator("#composer")).to_be_visible()
    server.call("PATCH", "/rooms/attic", {"archived": True, "topic": "Old things"})
    expect(finn.page.locator("#read-only-text")).to_contain_text("This room is archived.")
    expect(finn.page.locator("#topic")).to_have_text("Old things")
    server.call("PATCH", "/rooms/attic", {"archived": False})
    expect(finn.page.locator("#composer")).to_be_visible()
    mute = server.call("POST", "/bans", {"subject": "finn", "room": "attic", "mute": True}, token=ann)
    expect(finn.page.locator("#read-only-text")).to_contain_text("You are muted in this room")
    server.call("DELETE", f"/bans/{mute['id']}", token=ann)
    finn.send("again")
    finn.expect_texts(["again"])


def test_a_change_of_rights_draws_the_messages_in_view_first(server: TokenServer, open_window: OpenWindow) -> None:
    token = server.token("lena", "depot", WRITE)
    for number in range(60):
        server.publish("depot", f"message {number}")
    lena = sign_in(open_window(), token, "depot")
    lena.until("() => document.querySelectorAll('.message').length === 60")
    lena.value(
        """() => {
          window.drawn = [];
          const count = (changes) => changes.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0);
          new MutationObserver((changes) => window.drawn.push(count(changes)))
            .observe(document.querySelector("#log"), { childList: true });
        }"""
    )
    server.call("PATCH", "/rooms/depot", {"archived": True})  # nobody can react any more
    lena.until("() => window.drawn.reduce((sum, count) => sum + count, 0) >= 60")
    drawn = lena.value("window.drawn")
    assert max(drawn) <= 40, "the others are drawn in the next frames"
    assert drawn.index(max(drawn)) <= 1  # the line of the day may have been left from opening the room
