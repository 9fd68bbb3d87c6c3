"""Command lines with curl as the documentation of other services has them, at the URL of a webhook of a real server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from serving import ServerProcess, serve

from chatkit.cli.store_administration import StoreAdministration
from chatkit.core.access import Grant, Right
from chatkit.core.token import TokenKind

PAYLOADS = Path(__file__).parent / "payloads"


class Hook(msgspec.Struct, frozen=True):
    """A webhook of a server, the token of somebody who reads its room, and a folder with payloads."""

    server: ServerProcess
    secret: str
    reader: str

    folder: Path

    @property
    def url(self) -> str:
        return f"{self.server.url}/hooks/{self.secret}"

    def last_body(self) -> str:
        command = f"curl -sS -H 'Authorization: Bearer {self.reader}' '{self.server.url}/rooms/ops/messages?limit=1'"
        body: str = json.loads(self.shell(command))["messages"][0]["body"]
        return body

    def shell(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60, cwd=self.folder
        )
        return done.stdout


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hook]:
    folder = tmp_path_factory.mktemp("hooks")
    for path in PAYLOADS.glob("*.json"):
        (folder / path.name).write_text(json.dumps(json.loads(path.read_text())["payload"]))
    with StoreAdministration(f"sqlite:///{folder / 'rooms.db'}", "root", make=True) as store:
        made = store.add_token("alerts", [Grant("ops", (Right.WRITE,))], kind=TokenKind.HOOK)
        reader = store.add_token("ann", [Grant("ops", (Right.READ,))])
    with serve(folder / "rooms.db", "--rate-limit", "0", "--log-level", "info") as server:
        yield Hook(server, made.secret, reader.secret, folder)
        assert f"/hooks/{made.secret[:14]}" in server.log
        assert made.secret[14:] not in server.log
        assert "Traceback" not in server.log, server.log


@pytest.mark.parametrize(
    ("command", "answer", "body"),
    [
        (
            """curl -X POST -H 'Content-type: application/json' --data '{"text":"Hello, World!"}' URL""",
            "ok",
            "Hello, World!",
        ),
        (
            """curl -X POST --data-urlencode 'payload={"channel": "#general", "username": "webhookbot", \
            "text": "This is posted to #general.", "icon_emoji": ":ghost:"}' URL""",
            "ok",
            "This is posted to #general.",
        ),
        ("""curl -d '{"text":"without a header"}' URL""", "ok", "without a header"),
        (
            """curl -H "Content-Type: application/json" -d '{"username": "test", "content": "hello"}' "URL" """,
            "",
            "hello",
        ),
        (
            """curl -F 'payload_json={"username": "test", "content": "with a file"}' -F "file1=@slack-text.json" URL""",
            "",
            "with a file",
        ),
        ("""curl -d '{"text": "by Discord"}' URL/slack""", "ok", "by Discord"),
        (
            """curl -H 'Content-Type: application/json' -d @alertmanager-curl.json URL""",
            "ok",
            "**RESOLVED** DiskFull (1 resolved)",
        ),
        (
            """curl -X PUT -H 'Content-Type: application/json' -d @grafana-firing.json URL""",
            "ok",
            "**FIRING** High memory usage (1 firing)",
        ),
        (
            """curl -H 'Content-Type: application/json' -H 'X-GitHub-Event: create' \
            -H 'X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958' -d @github-branch-created.json URL""",
            "ok",
            "Codertocat created the tag `simple-tag` in [Codertocat/Hello-World](https://github.com/Codertocat/Hello-World)",
        ),
        ("""echo backup done | curl --data-binary @- URL""", "ok", "backup done"),
    ],
)
def test_a_documented_command_works_at_the_url_of_a_webhook(hook: Hook, command: str, answer: str, body: str) -> None:
    silent = command.replace("curl ", "curl -sS --fail-with-body ").replace("URL", hook.url)
    assert hook.shell(silent) == answer
    assert hook.last_body().partition("\n")[0] == body
