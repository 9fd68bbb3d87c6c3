"""`chatkit token` and `chatkit invite`: what they make, print, revoke and remove."""

from pathlib import Path

import pytest
from admin_store import STORE, audit, hours_from_now
from cli_process import PATIENCE_S, Shell
from cli_runner import CommandRunner

pytest_plugins = ["admin_fixtures"]


# Tokens


def test_a_token_is_made_listed_and_shown(chatkit: CommandRunner) -> None:
    made = chatkit.json(
        "token", "add", "ann", "--read", "ops*", "--write", "#ops", "--read", "#ops", "--expires", "30d"
    )
    assert made["grants"] == [{"rooms": "ops*", "rights": ["read"]}, {"rooms": "ops", "rights": ["read", "write"]}]
    assert made["secret"].startswith(f"ck_{made['id']}_")
    assert made["made_by"] == "carol"
    assert hours_from_now(made["expires"]) == pytest.approx(720, abs=0.1)
    secret = made.pop("secret")
    assert chatkit.rows("token", "list") == [made]
    assert chatkit.json("token", "show", "ann") == chatkit.json("token", "show", made["id"]) == made
    for words in (["token", "list"], ["token", "show", "ann"]):
        printed = chatkit.run(*words)
        assert "ops*:read ops:read,write" in printed
        assert secret not in printed + chatkit.stderr


def test_a_new_token_is_printed_with_its_secret_and_how_to_use_it(chatkit: CommandRunner) -> None:
    lines = chatkit.run("token", "add", "ann", "--read", "*").splitlines()
    (secret,) = [line.split()[1] for line in lines if line.startswith("secret ")]
    assert f"  export CHATKIT_TOKEN={secret}" in lines
    assert not [line for line in lines if "?token=" in line], "no server was named"


def test_the_link_of_a_new_token_leads_to_the_server_that_is_configured(
    chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATKIT_SERVER", "https://chat.example.org/team/")
    assert "  https://chat.example.org/team/?token=ck_" in chatkit.run("token", "add", "ann", "--read", "*")
    assert "?token=" not in chatkit.run("token", "add", "cron", "--bot", "--write", "ops")


def test_the_address_of_a_new_webhook_is_printed_with_a_command_that_tries_it(
    chatkit: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATKIT_SERVER", "https://chat.example.org/team/")
    made = chatkit.json("token", "add", "alerts", "--hook", "ops")
    assert made["url"] == f"https://chat.example.org/team/hooks/{made['secret']}"
    lines = chatkit.run("token", "rotate", "alerts").splitlines()
    (url,) = [line.strip() for line in lines if line.startswith("  https://chat.example.org/team/hooks/ck_")]
    assert f"  curl -d 'hello' {url}" in lines
    assert not [line for line in lines if "CHATKIT_TOKEN" in line]


def test_a_webhook_may_have_a_signing_secret_which_is_not_printed(chatkit: CommandRunner, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("shared with the sender\n")
    file.chmod(0o600)
    printed = chatkit.run("token", "add", "alerts", "--hook", "ops", "--signing-secret-file", str(file))
    assert "curl" not in printed, "a request without a signature is refused"
    assert chatkit.json("token", "show", "alerts")["signed"] is True
    assert "only signed requests are accepted" in chatkit.run("token", "show", "alerts")
    assert "shared with" not in printed + chatkit.run("token", "list", "--json")
    why = chatkit.refused(
        "token", "add", "cron", "--bot", "--write", "ops", "--signing-secret-file", str(file), status=2
    )
    assert why == "--signing-secret-file is for webhooks: give --hook, too"


@pytest.mark.parametrize(
    ("options", "kind", "grants"),
    [
        (["--admin"], "person", [("*", ["admin"])]),
        (["--moderate", "ops"], "person", [("ops", ["moderate"])]),
        (["--bot", "--write", "ops"], "bot", [("ops", ["write"])]),
        (["--hook", "#ops"], "hook", [("ops", ["write"])]),
    ],
)
def test_options_give_the_kind_and_the_rights(
    chatkit: CommandRunner, options: list[str], kind: str, grants: list[tuple[str, list[str]]]
) -> None:
    made = chatkit.json("token", "add", "ann", *options)
    assert made["kind"] == kind
    assert [(grant["rooms"], grant["rights"]) for grant in made["grants"]] == grants


def test_a_token_is_revoked_by_name_or_id_and_listed_only_on_request(chatkit: CommandRunner) -> None:
    first = chatkit.json("token", "add", "ann", "--read", "*")
    second = chatkit.json("token", "add", "ann", "--read", "ops")
    both = f"{first['id']}, {second['id']}"
    assert chatkit.refused("token", "revoke", "ann", "--yes") == f"ann has 2 tokens: give an id ({both})"
    assert chatkit.json("token", "revoke", first["id"], "--yes")["revoked"]
    chatkit.run("token", "revoke", "ann", "--yes")
    assert chatkit.stderr == f"chatkit: revoked the token {second['id']} of ann\n"
    assert chatkit.rows("token", "list") == []
    assert len(chatkit.rows("token", "list", "--all")) == 2
    assert chatkit.run("token", "list", "--all").count("revoked") == 2
    assert chatkit.run("token", "list") == ""
    assert "make one with: chatkit token add NAME --admin" in chatkit.stderr


def test_a_name_is_free_after_its_ended_tokens_were_removed(chatkit: CommandRunner) -> None:
    first, second = [chatkit.json("token", "add", "ann", "--read", "*") for _ in range(2)]
    assert chatkit.refused("token", "remove", "ann", "--yes") == "the token 'ann' is in use: revoke it first"
    chatkit.run("token", "revoke", first["id"], "--yes")
    assert chatkit.json("token", "remove", "ann", "--yes")["id"] == first["id"], "the other one is in use"
    assert "belongs to somebody else" in chatkit.refused("token", "add", "Ann", "--read", "*", status=4)
    chatkit.run("token", "revoke", second["id"], "--yes")
    chatkit.run("token", "remove", second["id"], "--yes")
    assert chatkit.stderr == f"chatkit: removed the token {second['id']} of ann\n"
    assert chatkit.rows("token", "list", "--all") == []
    assert chatkit.json("token", "add", "Ann", "--read", "*")["name"] == "Ann"
    assert [entry["event"] for entry in audit(chatkit)].count("token-removed") == 2


def test_a_message_that_is_published_to_the_store_is_never_verified(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "ann", "--write", "*")
    chatkit.run("publish", "ops", "hello", "--name", "ann")
    (message,) = chatkit.rows("history", "ops")
    assert (message["sender"], "verified" in message) == ("ann", False)


def test_a_rotated_token_has_a_new_secret_and_an_overlap(chatkit: CommandRunner) -> None:
    made = chatkit.json("token", "add", "ann", "--read", "*")
    rotated = chatkit.json("token", "rotate", "ann", "--overlap", "1h30m")
    assert rotated["id"] == made["id"]
    assert rotated["secret"] != made["secret"]
    assert hours_from_now(rotated["previous_until"]) == pytest.approx(1.5, abs=0.1)
    assert "the secret before this one is valid until" in chatkit.run("token", "show", "ann")
    assert "secret" in chatkit.run("token", "rotate", "ann")


def test_secrets_are_in_no_file_of_the_store(chatkit: CommandRunner, tmp_path: Path) -> None:
    made = [chatkit.json("token", "add", "ann", "--read", "*"), chatkit.json("token", "rotate", "ann")]
    made += [chatkit.json("invite", "--read", "ops")]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("rooms.db*"))
    assert made[0]["id"].encode() in stored
    assert not [view for view in made if view["secret"][-20:].encode() in stored]


@pytest.mark.parametrize("words", [["token", "add", "ann", "--admin"], ["invite", "--read", "ops"]])
def test_a_secret_that_nobody_reads_is_a_failure(chatkit: CommandRunner, tmp_path: Path, words: list[str]) -> None:
    shell = Shell(tmp_path, "")
    with shell.start(*words, "--backend", STORE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 1


def test_a_token_that_does_not_exist_is_an_error(chatkit: CommandRunner) -> None:
    chatkit.run("token", "add", "bob", "--admin")
    for command in ("show", "revoke", "rotate"):
        sentence = chatkit.refused("token", command, "ann", status=1)
        assert sentence == "there is no token 'ann': 'chatkit token list --all' shows them"


# Invites


def test_an_invite_is_a_link_with_its_secret_in_the_fragment(chatkit: CommandRunner) -> None:
    made = chatkit.json("invite", "--read", "ops", "--uses", "5", "--url", "https://chat.example.org:443/team")
    assert made["url"] == f"https://chat.example.org/team/#invite={made['secret']}"
    assert made["uses_left"] == 5
    assert hours_from_now(made["expires"]) == pytest.approx(168, abs=0.1)
    link = chatkit.run("invite", "--read", "ops", "--url", "chat.example.org:9000")
    assert link.startswith("http://chat.example.org:9000/#invite=ck_")
    assert link.count("\n") == 1
    assert chatkit.stderr == ""
    assert "invite (5 left)" in chatkit.run("token", "list")


def test_a_link_that_only_this_machine_can_open_is_reported(chatkit: CommandRunner) -> None:
    assert chatkit.run("invite", "--read", "ops").startswith("http://127.0.0.1:8000/#invite=ck_")
    assert "give the address that others use with --url" in chatkit.stderr
