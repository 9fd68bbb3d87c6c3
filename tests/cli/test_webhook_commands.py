"""`chatkit webhook` on a store, and on a server."""

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from access_server import access_server, grant
from admin_store import audit
from cli_runner import CommandRunner
from receiver import receiver, status

from chatkit.wire.codes import ExitCode

pytest_plugins = ["admin_fixtures"]

URL = "https://example.org/hook"
PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text()


@contextmanager
def in_thread(serve: Any) -> Iterator[Any]:
    """Run a coroutine function in a thread, and yield what it passes to its first argument."""
    is_ready = threading.Event()
    made: list[Any] = []
    ended: list[Any] = []

    def ready(value: Any) -> None:
        made.append(value)
        is_ready.set()

    async def main() -> None:
        end = asyncio.Event()
        ended.append((asyncio.get_running_loop(), end))
        await serve(ready, end)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert is_ready.wait(30)
        yield made[0]
    finally:
        loop, end = ended[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(30)


async def receive(ready: Any, end: asyncio.Event) -> None:
    async with receiver() as to:
        ready(to)
        await end.wait()


def test_a_webhook_of_a_store_is_added_listed_shown_and_removed(chatkit: CommandRunner) -> None:
    made = chatkit.json("webhook", "add", "#ops,dev", URL, "--events", "message, join")
    assert made["secret"].startswith("whsec_")
    assert (made["rooms"], made["events"], made["made_by"]) == (["ops", "dev"], ["message", "join"], "carol")
    text = chatkit.run("webhook", "add", "ops", URL, "--mention", "bob")
    assert "secret  whsec_" in text
    assert re.search(r"chatkit webhook test [a-z0-9]+", text)
    listed = chatkit.run("webhook", "list").splitlines()
    assert listed[0].split() == ["ID", "ROOMS", "EVENTS", "URL", "STATE", "REASON"]
    assert "mention of bob" in listed[2]
    assert made["secret"] not in chatkit.run("webhook", "list", "--json")
    assert chatkit.run("webhook", "show", made["id"]).splitlines()[1] == f"url     {URL}"
    assert "confirm it with --yes" in chatkit.refused("webhook", "remove", made["id"], status=2)
    chatkit.run("webhook", "remove", made["id"], "--yes")
    assert len(chatkit.rows("webhook", "list")) == 1
    assert [entry["event"] for entry in audit(chatkit)] == ["webhook-added", "webhook-added", "webhook-removed"]
    assert "'chatkit webhook list' shows the ids" in chatkit.refused("webhook", "show", made["id"], status=1)


def test_what_is_not_valid_is_wrong_usage(chatkit: CommandRunner) -> None:
    assert "with commas: 'all'" in chatkit.refused("webhook", "add", "ops", URL, "--events", "all")
    assert "https://example.org/hook" in chatkit.refused("webhook", "add", "ops", "example.org")
    assert "'mention'" in chatkit.refused("webhook", "add", "ops", URL, "--events", "join", "--mention", "bob")
    assert "a pattern is" in chatkit.refused("webhook", "add", "a b", URL)
    assert chatkit.run("webhook", "list") == ""
    assert "there are no webhooks" in chatkit.stderr


def test_a_test_prints_the_request_and_the_answer(chatkit: CommandRunner) -> None:
    with in_thread(receive) as to:
        made = chatkit.json("webhook", "add", "ops", to.url)
        refused = chatkit.run("webhook", "test", made["id"], status=ExitCode.FAILED)
        assert "--webhook-allow" in chatkit.stderr
        assert refused.splitlines()[0] == f"> POST {to.url}"
        assert to.all == []
        to.answers = [status(500, "X-Kind: broken\x1b[2J", body=b"no\x1b[2J way")]
        shown = chatkit.run("webhook", "test", made["id"], "--webhook-allow", "127.0.0.1", status=ExitCode.FAILED)
        lines = shown.splitlines()
        assert f"> webhook-id: {to.all[0].id}" in lines
        assert "< 500" in lines
        assert "\x1b" not in shown
        assert "the receiver answered 500" in chatkit.stderr
        tested = chatkit.json("webhook", "test", made["id"], "--webhook-allow", "127.0.0.0/8")
        assert (tested["ok"], tested["answer"]["status"]) == (True, 204)
        assert "must be an IP address" in chatkit.refused("webhook", "test", made["id"], "--webhook-allow", "x")


def test_the_commands_work_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(ready: Any, end: asyncio.Event) -> None:
        async with access_server(webhook_allow=("127.0.0.1",)) as server, receiver() as to:
            moderator = await server.token("ann", grant("ops", "moderate"))
            writer = await server.token("bob", grant("ops", "read", "write"))
            ready((server.url, moderator.secret, writer.secret, to))
            await end.wait()

    with in_thread(serve) as (url, moderator, writer, to):
        ann = CommandRunner(tmp_path, monkeypatch, "--server", url, "--token", moderator)
        bob = CommandRunner(tmp_path, monkeypatch, "--server", url, "--token", writer)
        made = ann.json("webhook", "add", "ops", to.url)
        assert ann.rows("webhook", "list") == [{name: value for name, value in made.items() if name != "secret"}]
        assert bob.rows("webhook", "list") == []
        assert ann.json("webhook", "test", made["id"])["ok"]
        assert ann.json("webhook", "resume", made["id"])["state"] == "active"
        bob.refused("webhook", "remove", made["id"], status=1)
        bob.refused("webhook", "add", "ops", to.url, status=4)
        assert "--webhook-allow NETWORK" in ann.refused("webhook", "add", "ops", "http://10.0.0.1/")
        ann.run("webhook", "remove", made["id"], "--yes")
        assert ann.rows("webhook", "list") == []


# The examples of the documentation


@pytest.fixture(scope="module")
def signed() -> tuple[str, dict[str, str], bytes]:
    """Return a secret, and the headers and the body of a request that it signs."""
    from chatkit.core.webhook import Webhook, WebhookEvent, new_secret  # noqa: PLC0415
    from chatkit.webhooks.address import AddressPolicy  # noqa: PLC0415
    from chatkit.webhooks.sender import Sender  # noqa: PLC0415

    async def go() -> tuple[str, dict[str, str], bytes]:
        async with receiver() as to:
            hook = Webhook("k3f9x2m4qa", to.url, ("ops",), (WebhookEvent.MESSAGE,), new_secret(), "ann", 0)
            sender = Sender(AddressPolicy(["127.0.0.1"]))
            await sender.send(hook, "msg_1", '{"type":"test","data":"é"}'.encode())
            await sender.close()
            received = await to.next()
            return hook.secret, received.headers, received.body

    return asyncio.run(go())


def example(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_example_in_python_verifies_requests(signed: tuple[str, dict[str, str], bytes]) -> None:
    secret, headers, body = signed
    names: dict[str, Any] = {}
    exec(example("python"), names)
    assert names["read_event"](secret, headers, body)["type"] == "test"
    assert names["read_event"](secret, headers, body + b" ") is None
    assert names["read_event"](secret, headers | {"webhook-timestamp": "1"}, body) is None


def test_the_example_in_node_verifies_requests(signed: tuple[str, dict[str, str], bytes], tmp_path: Path) -> None:
    secret, headers, body = signed
    script = tmp_path / "verify.mjs"
    cases = [
        (headers, body), (headers, body + b" "), (headers | {"webhook-timestamp": "1"}, body), ({}, body),
        (headers | {"webhook-signature": "v1, v2"}, body),
    ]  # fmt: skip
    calls = "".join(
        f"console.log(readEvent({json.dumps(secret)}, {json.dumps(each)}, Buffer.from({list(sent)}))?.type ?? null);\n"
        for each, sent in cases
    )
    script.write_text(f"{example('js')}\n{calls}")
    done = subprocess.run(["node", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["test", "null", "null", "null", "null"]


def test_the_output_of_the_page_is_that_of_the_command(chatkit: CommandRunner) -> None:
    (shown,) = re.findall(r"```console\n\$ (chatkit webhook add.*?)```", PAGE, re.DOTALL)
    command, _, expected = shown.partition("\n")
    printed = chatkit.run(*command.split()[1:])

    def plain(text: str) -> str:
        return re.sub(r"whsec_\S+|20\d\d-\S+ \S+ by \w+|\b[a-z0-9]{10}\b", "…", text)

    assert plain(printed) == plain(expected)
