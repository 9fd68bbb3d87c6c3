"""The commands of administration on a server: with an administrator's token, a moderator's, and without any."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_server import AccessServer, access_server, grant
from cli_runner import CommandRunner
from typer.testing import CliRunner

from chatkit.cli.main import app


class Served:
    """A server in a thread. An administrator, a moderator of `ops` and a writer there have tokens."""

    url = ""
    admin = ""
    moderator = ""
    writer = ""

    def __init__(self) -> None:
        self._is_ready = threading.Event()
        self._ended: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self) -> None:
        self._ended, self._loop = asyncio.Event(), asyncio.get_running_loop()
        async with access_server() as server:
            await self._make_tokens(server)
            self.url = server.url
            self._is_ready.set()
            await self._ended.wait()

    async def _make_tokens(self, server: AccessServer) -> None:
        self.admin = (await server.token("root", grant("*", "admin"))).secret
        self.moderator = (await server.token("ann", grant("ops", "moderate"))).secret
        self.writer = (await server.token("bob", grant("ops", "read", "write"))).secret

    def wait(self) -> None:
        assert self._is_ready.wait(60)

    def end(self) -> None:
        assert self._loop is not None
        assert self._ended is not None
        self._loop.call_soon_threadsafe(self._ended.set)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    served = Served()
    thread = threading.Thread(target=lambda: asyncio.run(served.serve()))
    thread.start()
    try:
        served.wait()
        yield served
    finally:
        served.end()
        thread.join()


@pytest.fixture
def runner(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def with_token(token: str | None) -> CommandRunner:
        options = () if token is None else ("--token", token)
        return CommandRunner(tmp_path, monkeypatch, "--server", served.url, *options)

    return with_token


def test_an_administrator_makes_rotates_and_revokes_a_token(served: Served, runner: Any) -> None:
    admin = runner(served.admin)
    made = admin.json("token", "add", "cat", "--read", "cats*", "--expires", "1h")
    assert made["made_by"] == "root"
    cat = runner(made["secret"])
    assert cat.rows("rooms") == []
    rotated = admin.json("token", "rotate", "cat")
    cat.run("rooms", status=4)
    cat = runner(rotated["secret"])
    cat.run("rooms")
    admin.run("token", "revoke", "cat", "--yes")
    cat.run("rooms", status=4)
    assert "cat" in {view["name"] for view in admin.rows("token", "list", "--all")}
    assert "cat" not in {view["name"] for view in admin.rows("token", "list")}
    admin.run("token", "remove", "cat", "--yes")
    assert "cat" not in {view["name"] for view in admin.rows("token", "list", "--all")}
    assert f"{served.url}/?token=ck_" in admin.run("token", "add", "dan", "--read", "ops")


def test_an_invite_is_a_link_to_the_server_that_was_asked(served: Served, runner: Any) -> None:
    made = runner(served.admin).json("invite", "--read", "ops", "--uses", "2")
    assert made["url"] == f"{served.url}/#invite={made['secret']}"
    assert made["uses_left"] == 2


def test_an_invite_is_redeemed_by_its_link(served: Served, runner: Any) -> None:
    link = runner(served.admin).json("invite", "--read", "gil", "--write", "gil")["url"]
    nameless = CliRunner().invoke(app, ["redeem", link])
    assert (nameless.exit_code, "choose your name with --name" in nameless.stderr) == (2, True)
    redeem = CliRunner().invoke(app, ["redeem", link, "--name", "Gil", "--json"])
    assert redeem.exit_code == 0, redeem.stderr
    made = json.loads(redeem.stdout)
    assert (made["name"], made["grants"]) == ("Gil", [{"rooms": "gil", "rights": ["read", "write"]}])
    runner(made["secret"]).run("publish", "gil", "hello")
    assert [row["sender"] for row in runner(made["secret"]).rows("history", "gil")] == ["Gil"]
    again = CliRunner().invoke(app, ["redeem", link, "--name", "Hal"])
    assert (again.exit_code, again.stderr) == (4, "chatkit: this invite was used already: ask for another\n")


@pytest.mark.parametrize("link", ["ck_abc", "https://chat.example.org/", "https://chat.example.org/#ops"])
def test_only_the_link_of_an_invite_is_redeemed(link: str) -> None:
    redeem = CliRunner().invoke(app, ["redeem", link])
    assert (redeem.exit_code, redeem.stdout) == (2, "")
    assert "this is not the link of an invite" in redeem.stderr


def test_a_link_to_an_address_that_is_none_is_refused() -> None:
    redeem = CliRunner().invoke(app, ["redeem", "http://[x#invite=ck_1", "--name", "ann"])
    assert (redeem.exit_code, redeem.stdout) == (2, "")
    assert "not a server's URL" in redeem.stderr


def test_a_moderator_bans_redacts_and_sets_the_topic_of_a_room(served: Served, runner: Any) -> None:
    bob, ann = runner(served.writer), runner(served.moderator)
    bob.run("publish", "ops", "off topic")
    sentence = ann.refused("redact", "ops", "1")
    assert sentence.startswith("Redact message 1 of bob in ops for good: off topic?")
    assert ann.json("redact", "ops", "1", "--yes")["redacted"] is True
    ban = ann.json("ban", "add", "bob", "--room", "ops", "--mute", "--for", "1h", "--reason", "off topic")
    assert ban["made_by"] == "ann"
    bob.run("publish", "ops", "again", status=4)
    assert bob.stderr.startswith("chatkit: banned: off topic")
    assert [view["id"] for view in ann.rows("ban", "list")] == [ban["id"]]
    ann.run("ban", "remove", ban["id"])
    bob.run("publish", "ops", "sorry")
    assert ann.json("room", "set", "ops", "--topic", "Deployments")["topic"] == "Deployments"
    assert "topic     Deployments" in ann.run("rooms", "ops")
    assert ann.refused("room", "set", "ops", "--archive", status=4).startswith("this needs the right 'admin'")


def test_an_administrator_archives_and_deletes_a_room(served: Served, runner: Any) -> None:
    admin = runner(served.admin)
    admin.run("publish", "old", "hi")
    assert admin.json("room", "set", "old", "--archive", "--keep", "10")["archived"] is True
    assert "is archived" in admin.refused("publish", "old", "again", status=4)
    admin.run("room", "delete", "old", "--yes")
    assert "old" not in {view["room"] for view in admin.rows("rooms")}


def test_the_audit_is_read_by_administrators_only(served: Served, runner: Any) -> None:
    admin = runner(served.admin)
    admin.run("ban", "add", "eve")
    assert admin.rows("history", ".audit")[-1]["data"]["event"] == "ban-added"
    assert runner(served.moderator).refused("history", ".audit", status=1).startswith("there is no room '.audit' (")


def test_a_refusal_says_who_may(served: Served, runner: Any) -> None:
    hint = "use an administrator's token (--token), or open the store itself (--backend)"
    assert runner(served.writer).refused("token", "list", status=4).endswith(hint)
    hint = "give a token with --token or in CHATKIT_TOKEN, or open the store itself (--backend)"
    assert runner(None).refused("token", "add", "x", "--admin", status=4).endswith(hint)
    for words in (["consumers"], ["rooms"], ["room", "show", "ops"], ["export"]):
        assert "give a token with --token or in CHATKIT_TOKEN" in runner(None).refused(*words, status=4)


def test_names_ids_and_bans_are_completed(served: Served, runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatkit.cli.options.COMPLETION_TIMEOUT_S", 60.0)  # a person waits less for a slow machine
    admin = runner(served.admin)
    made = admin.json("token", "add", "fay", "--read", "ops")
    ban = admin.json("ban", "add", "eve")

    def completed(line: str) -> list[str]:
        monkeypatch.setenv("CHATKIT_SERVER", served.url)
        monkeypatch.setenv("CHATKIT_TOKEN", served.admin)
        words = {"_CHATKIT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return CliRunner().invoke(app, env=words, prog_name="chatkit").stdout.splitlines()

    assert completed("chatkit token revoke fa") == ["fay"]
    assert completed(f"chatkit token show {made['id'][:9]}") == [made["id"]]
    assert completed(f"chatkit ban remove {ban['id'][:9]}") == [ban["id"]]
