"""The page on a server with tokens: signing in, invites, marks, rights and moderation, in a real browser."""

from collections.abc import Iterator

import pytest
from page_access import (
    MODERATE,
    READ,
    WRITE,
    TokenServer,
    choose,
    everything_stored,
    removable,
    sign_in,
    token_server,
)
from page_layout import CONTRASTS, OVERFLOWING
from page_window import OpenWindow, Window, windows
from playwright.sync_api import Browser, expect

from chatkit.pytest_plugin.relay import Relay

NARROW = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}

pytest_plugins = ["page_fixtures"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with token_server(
        tmp_path_factory.mktemp("access"), "--open", "lobby:read", "--open", "open*:read,write"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def ann(server: TokenServer) -> str:
    """A moderator's token."""
    return server.token("ann", "*", MODERATE)


@pytest.fixture(scope="module")
def bot(server: TokenServer) -> str:
    return server.token("deploy", "*", WRITE, kind="bot")


def test_a_token_is_exchanged_for_a_cookie_and_not_kept(server: TokenServer, open_window: OpenWindow) -> None:
    token = server.token("tess", "private", WRITE)
    tess = open_window("another name").open("/#private")
    expect(tess.page.locator("#closed-title")).to_have_text("There is no room #private for you")
    tess.page.get_by_role("button", name="Sign in").click()
    tess.page.locator("#token-box").fill("ck_wrong")
    tess.page.locator("#token-box").press("Enter")
    expect(tess.page.locator("#token-problem")).to_contain_text("not valid here. Check that you copied all of it.")
    tess.page.locator("#token-box").fill(token)
    tess.page.locator("#token-box").press("Enter")
    expect(tess.page.locator("#me-name")).to_have_text("tess")
    tess.await_connection()
    assert token not in everything_stored(tess)
    tess.send("admitted")
    tess.expect_texts(["admitted"])
    tess.reopen("/#private").await_connection()
    expect(tess.page.locator("#me-name")).to_have_text("tess")

    tess.page.locator("#me").click()  # the name of a token cannot be changed
    expect(tess.page.locator("#account-dialog")).to_contain_text("read, write in #private")
    tess.page.get_by_role("button", name="Sign out").click()
    expect(tess.page.locator("#me-name")).to_have_text("another name")  # a guest, for whom the server has rooms
    assert "private" not in everything_stored(tess)
    assert not [cookie for cookie in tess.context.cookies() if cookie.get("value")]


def test_a_link_does_not_replace_who_is_signed_in_without_asking(server: TokenServer, open_window: OpenWindow) -> None:
    own, other = server.token("olga", "hall", WRITE), server.token("otto", "hall", WRITE)
    olga = sign_in(open_window(), own, "hall")
    olga.open(f"/?token={own}#hall").await_connection()
    expect(olga.page.locator("#link-dialog")).to_be_hidden()
    for answer, name in (("Stay signed in", "olga"), ("Change", "otto")):
        olga.open(f"/?token={other}")
        dialog = olga.page.locator("#link-dialog")
        expect(dialog).to_contain_text("Sign in as otto? You are signed in as olga.", use_inner_text=True)
        assert olga.page.url == f"{server.url}/"
        assert other not in everything_stored(olga)
        dialog.get_by_role("button", name=answer).click()
        expect(dialog).to_be_hidden()
        expect(olga.page.locator("#me-name")).to_have_text(name)
        olga.reopen("/#hall").await_connection()
        expect(olga.page.locator("#me-name")).to_have_text(name)


def test_a_link_of_another_site_signs_in_who_is_not_signed_in(server: TokenServer, open_window: OpenWindow) -> None:
    token = server.token("nils", "hall", WRITE)
    nils = open_window().open(f"/#token={token}")  # to which the server redirects then
    expect(nils.page.locator("#me-name")).to_have_text("nils")
    assert token not in everything_stored(nils)


def test_an_invite_asks_for_a_name_and_opens_its_room(server: TokenServer, open_window: OpenWindow, ann: str) -> None:
    assert ann
    link = server.invite("team", WRITE)
    secret = link.partition("=")[2]
    ida = open_window().open(link)
    expect(ida.page.locator("#invite-dialog")).to_be_visible()
    assert ida.page.url == f"{server.url}/"
    ida.page.locator("#invite-name").fill("\u0430nn")  # with a Cyrillic letter
    ida.page.locator("#invite-name").press("Enter")
    expect(ida.page.locator("#invite-problem")).to_contain_text("Choose another name")
    ida.page.locator("#invite-name").fill("ida")
    ida.page.locator("#invite-name").press("Enter")
    expect(ida.page.locator("#secret-name")).to_have_text("ida")
    token = ida.page.locator("#secret-box").input_value()
    assert server.call("GET", "/me", token=token)["name"] == "ida"
    ida.page.get_by_role("button", name="Continue").click()
    ida.await_connection()
    assert ida.page.url == f"{server.url}/#team"
    expect(ida.page.locator("#me-name")).to_have_text("ida")
    stored = everything_stored(ida)
    assert token not in stored
    assert secret not in stored
    ida.page.go_back()
    assert "invite" not in ida.page.url

    late = open_window().open(link)
    late.page.locator("#invite-name").fill("late")
    late.page.locator("#invite-name").press("Enter")
    expect(late.page.locator("#invite-problem")).to_contain_text("Ask the person who sent it for a new one.")
    late.page.locator("#invite-cancel").click()
    expect(late.page.locator("#name-dialog")).to_be_visible()


def test_senders_are_marked_as_verified_and_as_bots(
    server: TokenServer, open_window: OpenWindow, ann: str, bot: str
) -> None:
    server.publish("open-marks", "from a guest", "", "mara")
    server.publish("open-marks", "from a person", ann)
    server.publish("open-marks", "from a program", bot)
    mara = open_window("mara").join("open-marks")
    rows = mara.page.locator(".message")
    expect(rows).to_have_count(3)
    expect(mara.page.locator(".message .mark-verified")).to_have_count(2)
    expect(rows.nth(1).locator(".head")).to_contain_text("annverified")  # as a screen reader reads it
    expect(rows.nth(2).locator(".mark-bot")).to_have_text("bot")
    expect(rows.nth(0).locator(".sender")).to_have_attribute(
        "title", "This name is not verified: it was chosen freely."
    )
    assert removable(mara) == [False, False, False]
    mara.page.locator("#search-open").click()
    mara.page.locator("#search-box").fill("from a")
    expect(mara.page.locator("#search-list .mark-verified")).to_have_count(2)
    sign_in(open_window(), ann, "open-marks")  # while the list of members is open
    people = mara.page.locator("#people-list li")
    expect(people.filter(has_text="ann").locator(".mark-verified")).to_have_count(1)
    expect(people.filter(has_text="mara").locator(".mark-verified")).to_have_count(0)
    mara.reopen("/#open-marks").await_connection()  # now it is in the answer to the join
    expect(mara.page.locator("#people-list .mark-verified")).to_have_count(1)


def test_a_name_that_a_token_holds_is_refused_with_a_next_step(
    server: TokenServer, open_window: OpenWindow, ann: str
) -> None:
    assert ann
    impostor = open_window("Ann").open("/#open-names")
    expect(impostor.page.locator("#name-problem")).to_contain_text("Choose another name, or sign in with its token.")
    impostor.page.locator("#name-box").fill("anton")
    impostor.page.locator("#name-box").press("Enter")
    impostor.await_connection()
    expect(impostor.page.locator("#me-name")).to_have_text("anton")
    assert server.call("GET", "/rooms/open-names/members")["members"][0]["name"] == "anton"


def test_a_banned_user_is_told_why_and_until_when(server: TokenServer, open_window: OpenWindow) -> None:
    eve = sign_in(open_window(), server.token("eve", "den", WRITE), "den")
    ban = server.call(
        "POST", "/bans", {"subject": "eve", "room": "den", "reason": "spam", "until": "2100-01-02T00:00:00Z"}
    )
    expect(eve.page.locator("#closed-title")).to_have_text("You were removed from #den")
    expect(eve.page.locator("#closed-text")).to_contain_text("Spam, until Jan 2, 2100")
    assert eve.violations() == []
    server.call("DELETE", f"/bans/{ban['id']}")
    eve.page.get_by_role("button", name="Try again").click()
    expect(eve.page.locator("#composer")).to_be_visible()
    server.call("POST", "/bans", {"subject": "eve", "reason": "much spam"})
    expect(eve.page.locator("#banner-text")).to_contain_text("You are banned from this server. Much spam.")
    expect(eve.page.locator("#link-word")).to_have_text("Disconnected")


def test_a_revoked_token_asks_for_another(server: TokenServer, open_window: OpenWindow) -> None:
    token = server.token("rev", "den", WRITE)
    rev = sign_in(open_window(), token, "den")
    server.call("DELETE", f"/tokens/{token.split('_')[1]}")
    expect(rev.page.locator("#token-dialog")).to_be_visible()
    expect(rev.page.locator("#problem")).to_be_empty()  # the banner says it
    rev.page.get_by_role("button", name="Continue without a token").click()
    expect(rev.page.locator("#name-dialog")).to_be_visible()
    rev.page.locator("#name-box").fill("guest")
    rev.page.locator("#name-box").press("Enter")
    expect(rev.page.locator("#closed-title")).to_have_text("There is no room #den for you")


def test_a_moderator_removes_messages_and_mutes_and_removes_people(
    server: TokenServer, open_window: OpenWindow, ann: str
) -> None:
    server.publish("open-mod", "an insult", "", "troll")
    troll = open_window("troll").join("open-mod")
    moderator = sign_in(open_window(), ann, "open-mod")
    message = moderator.page.locator(".message").first
    choose(moderator, message, "Remove message…")
    moderator.page.locator("#moderation-cancel").click()
    moderator.expect_texts(["an insult"])
    choose(moderator, message, "Remove message…")
    expect(moderator.page.locator("#moderation-quote")).to_have_text("an insult")
    moderator.page.locator("#moderation-confirm").click()
    for window in (moderator, troll):
        window.expect_texts(["This message was removed."])

    choose(moderator, message, "Mute…")
    moderator.page.locator("#moderation-reason").fill("insults")
    moderator.page.locator("#moderation-time").select_option("10 minutes")
    moderator.page.locator("#moderation-confirm").click()
    expect(troll.page.locator("#read-only-text")).to_contain_text("You are muted in this room")
    bans = [ban for ban in server.call("GET", "/bans")["bans"] if ban["subject"] == "troll"]
    assert [(ban["room"], ban["reason"], ban["mute"], ban["made_by"]) for ban in bans] == [
        ("open-mod", "insults", True, "ann")
    ]
    expect(moderator.page.locator("#notice")).to_have_text(
        f"troll is muted in #open-mod. To undo this: chatkit ban remove {bans[0]['id']}"
    )

    choose(moderator, message, "Remove from room…")
    moderator.page.locator("#moderation-confirm").click()
    expect(troll.page.locator("#closed-title")).to_have_text("You were removed from #open-mod")


def test_the_menu_and_the_topic_work_by_keyboard(server: TokenServer, open_window: OpenWindow, ann: str) -> None:
    server.publish("open-keys", "one", "", "troll")
    page = sign_in(open_window(), ann, "open-keys").page
    page.locator("#message-box").focus()
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".message")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Reply")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Ban…")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="👍")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#menu")).to_be_hidden()
    expect(page.locator(".message")).to_be_focused()
    page.locator("#topic-edit").click()
    page.keyboard.type("What to press")
    page.keyboard.press("Enter")
    expect(page.locator("#topic")).to_have_text("What to press")


def test_own_messages_can_be_removed(server: TokenServer, open_window: OpenWindow) -> None:
    otto = sign_in(open_window(), server.token("otto", "open*", WRITE), "open-own")
    server.publish("open-own", "of a guest", "", "gus")
    otto.send("of mine")
    otto.expect_texts(["of a guest", "of mine"])
    assert removable(otto) == [False, True]
    choose(otto, otto.page.locator(".message").last, "Remove message…")
    otto.page.locator("#moderation-confirm").click()
    otto.expect_texts(["of a guest", "This message was removed."])
    assert removable(otto) == [False, False]


def test_commands_on_the_page_carry_the_token(server: TokenServer, open_window: OpenWindow, ann: str) -> None:
    guest = open_window("gus").join("open-quiet")
    expect(guest.page.locator("#quiet-commands")).to_contain_text(f"chatkit join open-quiet --server {server.url}")
    expect(guest.page.locator("#quiet-commands")).not_to_contain_text("CHATKIT_TOKEN")
    moderator = sign_in(open_window(), ann, "open-quiet")
    commands = moderator.page.locator("#quiet-commands")
    expect(commands).to_contain_text('curl -H "Authorization: Bearer $CHATKIT_TOKEN"')
    expect(commands).to_contain_text("export CHATKIT_TOKEN")
    assert ann not in commands.inner_text()


@pytest.mark.parametrize(("scheme", "options"), [("light", NARROW), ("dark", {})])
def test_marks_menus_and_dialogs_are_legible_and_fit(
    server: TokenServer, open_window: OpenWindow, ann: str, bot: str, scheme: str, options: dict[str, object]
) -> None:
    room = f"open-look-{scheme}-{len(options)}"
    server.publish(room, "w" * 300, "", "W" * 32)
    server.publish(room, "a program", bot)
    server.call("PATCH", f"/rooms/{room}", {"topic": "topic " * 40})
    window = sign_in(open_window(color_scheme=scheme, **options), ann, room)
    expect(window.page.locator(".message")).to_have_count(2)
    first = window.page.locator(".message").first
    check_looks(window)
    first.hover()
    first.locator(".more").click()
    check_looks(window)
    window.page.get_by_role("menuitem", name="Ban…").click()
    check_looks(window)
    window.page.locator("#moderation-cancel").click()
    window.open("/#lobby").await_connection()
    server.publish("lobby", "news", ann)
    guest = open_window("gus", color_scheme=scheme, **options).join("lobby")
    check_looks(guest)
    guest.open("/#hidden")
    expect(guest.page.locator("#closed")).to_be_visible()
    check_looks(guest)
    guest.page.get_by_role("button", name="Sign in").click()
    check_looks(guest)


def test_a_renamed_room_is_followed_with_its_queued_messages(server: TokenServer, browser: Browser, ann: str) -> None:
    relay = Relay(server.port)
    with relay.running(), windows(browser, relay.url) as open_window:
        gus = open_window("gus")
        gus.page.clock.install()
        gus.join("open-a")
        gus.send("one")
        gus.expect_texts(["one"])
        gus.page.locator("#message-box").fill("half a line")
        server.call("POST", "/rooms/open-a/rename", {"name": "open-b"})
        gus.until("() => location.hash === '#open-b'")
        expect(gus.page.get_by_placeholder("Message #open-b")).to_have_value("half a line")
        gus.send("two")
        gus.expect_texts(["one", "two"])

        relay.cut()
        gus.send("three")
        gus.send("four")
        expect(gus.page.locator(".pending .text")).to_have_text(["three", "four"])
        server.call("POST", "/rooms/open-b/rename", {"name": "open-c"})
        server.publish("open-c", "from elsewhere", ann)
        for pause_ms in (16_000, 11_000, 2_000):  # no frames, a ping without an answer, and the back-off
            gus.page.clock.run_for(pause_ms)
        gus.until("() => location.hash === '#open-c'")
        gus.expect_texts(["one", "two", "from elsewhere", "three", "four"])
        assert gus.seqs() == [1, 2, 3, 4, 5]
        names = "() => Object.keys(localStorage).filter((name) => /open-|outbox/.test(name))"
        assert gus.value(names) == ["chatkit.room.open-c"]
        expect(gus.page.locator("#rooms")).not_to_contain_text("open-b")
        gus.open("/#open-b")  # a bookmark
        gus.until("() => location.hash === '#open-c'")
        gus.expect_texts(["one", "two", "from elsewhere", "three", "four"])
        assert gus.value(names) == ["chatkit.room.open-c"]
        expect(gus.page.locator("#rooms")).not_to_contain_text("open-b")


def check_looks(window: Window) -> None:
    assert window.value(OVERFLOWING) == []
    assert [(ratio, what) for ratio, what in window.value(CONTRASTS) if ratio < 4.5] == []


def test_a_guest_may_only_read_what_is_open(server: TokenServer) -> None:
    rooms = [{"rooms": "lobby", "rights": READ}, {"rooms": "open*", "rights": WRITE}]
    assert server.call("GET", "/me", token="", sender="gus")["grants"] == rooms


def test_a_verified_name_has_one_marker_in_all_browsers(server: TokenServer, open_window: OpenWindow) -> None:
    token = server.token("vera", "*", WRITE)
    one, two = (sign_in(open_window(), token, "open-marked") for _ in range(2))
    two.page.goto(f"{server.url}/#open-away")
    two.await_connection()
    badge = two.page.locator("#joined-list li", has_text="open-marked").locator(".badge")
    for number in range(3):
        server.publish("open-marked", f"message {number}", token="", sender="guest")
    one.expect_texts([f"message {number}" for number in range(3)])
    expect(badge).to_be_hidden()  # because the other browser shows the room
    one.page.close()
    server.publish("open-marked", "one more", token="", sender="guest")
    expect(badge).to_contain_text("1 new message")
    three = sign_in(open_window(), token, "open-marked")
    expect(three.page.locator(".rule.new + .message")).to_have_attribute("data-seq", "4")
