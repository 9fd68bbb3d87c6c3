"""The settings file: its place below flags and the environment, and its mistakes."""

import json

import pytest
from cli_process import Shell

pytest_plugins = ["shell_fixtures"]


def test_flags_override_the_environment_which_overrides_the_file(shell: Shell) -> None:
    (shell.folder / "chatkit.toml").write_text('name = "filed"\n[serve]\nport = 9000\nkeep-for = "30d"\n')

    def sender(*words: str) -> str:
        return str(json.loads(shell.run("publish", "order", "hi", "--json", *words))["sender"])

    assert sender("--name", "flagged") == "flagged"
    assert sender() == "ann"
    del shell.env["CHATKIT_NAME"]
    assert sender() == "filed"
    (shell.folder / "chatkit.toml").unlink()
    folder = shell.folder / "config" / "chatkit"
    folder.mkdir(parents=True)
    (folder / "chatkit.toml").write_text('name = "folder"\n')
    assert sender() == "folder"
    (folder / "chatkit.toml").unlink()
    shell.env["LOGNAME"] = "login"
    assert sender() == "login"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nmae = 'x'", "unknown key 'nmae'"),
        ("[serve]\nprot = 1", "unknown key 'serve.prot'"),
        ("name = 1", "name must be a string"),
        ("name =", "is not valid TOML"),
        ("[serve]\nhost = {a = 1}", "serve.host must be a string, a number"),
        ("[serve]\nkeep-for = 2026-01-01", "serve.keep-for must be a string, a number"),
    ],
)
def test_a_mistake_in_the_file_is_reported_with_the_name_of_the_file(shell: Shell, text: str, why: str) -> None:
    (shell.folder / "chatkit.toml").write_text(text)
    shell.run("rooms", status=2)
    assert "chatkit.toml" in shell.stderr
    assert why in shell.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('host = "0.0.0.0"\nopen = true', "Warning: --open lets everyone"),
        ('origin = "chat.example"', "an origin must look like https://chat.example, not 'chat.example'"),
        ('origin = ["https://a.example", "b.example"]', "not 'b.example'"),
    ],
)
def test_settings_of_the_file_act_like_options(shell: Shell, settings: str, sentence: str) -> None:
    (shell.folder / "chatkit.toml").write_text(f'backend = "memory://"\n[serve]\nport = 0\n{settings}\n')
    with shell.start("serve") as process:
        assert process.stderr is not None
        first = process.stderr.readline().decode()
        process.terminate()
        process.communicate()
    assert sentence in first
