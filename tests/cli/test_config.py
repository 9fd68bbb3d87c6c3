"""The sources of settings. Commands work although a settings file cannot be read."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_process import PATIENCE_S, Shell
from serving import ServerProcess, serve

from chatkit.cli.config import read_defaults
from chatkit.cli.config_file import ConfigFile, find_file
from chatkit.errors import BadRequest

TOKEN = "the-token-of-a-server"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with serve(tmp_path_factory.mktemp("server") / "rooms.db", "--secret", TOKEN) as process:
        yield process


@pytest.fixture
def shell(server: ServerProcess, tmp_path: Path) -> Shell:
    shell = Shell(tmp_path, server.url)
    shell.env |= {"CHATKIT_TOKEN": TOKEN}
    return shell


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_large(path: Path) -> None:
    path.write_text("#" * 2_000_000)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_folder, "it is not a regular file"),
        (make_pipe, "it is not a regular file"),
        (make_loop, "Too many levels of symbolic links"),
        (make_large, "it is larger than 1048576 bytes"),
    ],
)
def test_an_unreadable_file_is_reported_and_ignored(shell: Shell, make: Callable[[Path], None], why: str) -> None:
    make(shell.folder / "chatkit.toml")
    shell.run("rooms", "--json")
    assert shell.stderr == f"chatkit: chatkit.toml is ignored: {why}\n"


def test_commands_work_without_a_home_folder_or_a_current_folder(shell: Shell) -> None:
    shell.env |= {"HOME": "/nonexistent/home", "XDG_CONFIG_HOME": ""}
    shell.run("publish", "homeless", "hi")
    assert shell.stderr == ""
    gone = shell.folder / "gone"
    gone.mkdir()
    command = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m chatkit history homeless --json'
    done = subprocess.run(["sh", "-c", command], env=shell.env, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["body"] == "hi"


def test_a_server_runs_without_a_home_folder_a_user_name_or_a_current_folder(shell: Shell, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    for name in ("HOME", "LOGNAME", "USER", "TERM", "XDG_CONFIG_HOME"):
        shell.env.pop(name, None)
    command = f'cd "{gone}" && rmdir "{gone}" && exec "{sys.executable}" -m chatkit serve --port 0 --backend memory://'
    process = subprocess.Popen(["sh", "-c", command], env=shell.env, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"chatkit ")
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_a_byte_order_mark_in_the_file_is_ignored() -> None:
    file = ConfigFile(Path("chatkit.toml"), '\ufeffname = "ann"\n'.encode(), is_in_current_folder=True)
    assert read_defaults(file, {})["join"] == {"name": "ann"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ('name = "ann"'.encode("utf-16"), "it is UTF-16, not UTF-8 text"),
        (b"name = '\xff'", "is not valid TOML"),
        (b"name = " + b"[" * 100_000, "is not valid TOML"),
        (b"name = " + b"9" * 10_000, "is not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_reported(data: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        read_defaults(ConfigFile(Path("chatkit.toml"), data, is_in_current_folder=True), {})


# Files that another user may have written


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "chatkit.toml"
    path.write_text('name = "ann"\n')
    path.chmod(0o600)
    return path


def found() -> tuple[bool, list[str]]:
    warnings: list[str] = []
    return find_file(warnings.append) is not None, warnings


def test_the_users_own_file_is_read_also_if_its_private_group_can_write_it(here: Path) -> None:
    os.chown(here, os.geteuid(), -1)
    assert found() == (True, [])
    here.chmod(0o664)
    is_private = here.stat().st_gid == here.stat().st_uid
    assert found()[0] == is_private


def test_a_file_that_others_can_write_is_ignored(here: Path) -> None:
    here.chmod(0o606)
    sentence = "chatkit.toml is ignored: other users can write to it (to prevent that: chmod go-w chatkit.toml)"
    assert found() == (False, [sentence])


def test_a_file_of_another_user_is_ignored(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(here, 65_534, 65_534)
    else:  # the reverse: this process belongs to another user
        monkeypatch.setattr(os, "geteuid", lambda: 65_534)
    assert found() == (False, ["chatkit.toml is ignored: it belongs to another user"])


# The server that a token may be sent to


def test_a_token_is_sent_only_to_the_server_that_it_was_given_for(shell: Shell, server: ServerProcess) -> None:
    url = shell.env.pop("CHATKIT_SERVER")
    other = "http://127.0.0.1:9"
    file = shell.folder / "chatkit.toml"

    shell.run("rooms", "--server", url)  # a server on the command line
    file.write_text(f'server = "{url}"\n')
    shell.run("rooms", status=4)  # a server that only the current folder names
    assert f"the token is not sent, because it was not given for {url} (send it with --token)" in shell.stderr
    shell.run("rooms", "--token", TOKEN)

    shell.env["CHATKIT_SERVER"] = f"{url}/"  # the same server with another spelling
    shell.run("rooms", "--server", url)
    shell.env["CHATKIT_SERVER"] = other  # the token was given for the other server
    shell.run("rooms", "--server", url, status=4)
    assert "the token is not sent" in shell.stderr

    del shell.env["CHATKIT_SERVER"], shell.env["CHATKIT_TOKEN"]
    file.write_text(f'server = "{url}"\ntoken = "{TOKEN}"\n')
    shell.run("rooms")
    file.write_text(f'server = "{other}"\ntoken = "{TOKEN}"\n')
    shell.run("rooms", "--server", url, status=4)
    shell.env["CHATKIT_SERVER"] = url
    shell.run("rooms", status=4)


def test_a_token_in_the_environment_is_sent_to_the_server_in_the_users_own_file(shell: Shell) -> None:
    folder = shell.folder / "config" / "chatkit"
    folder.mkdir(parents=True)
    (folder / "chatkit.toml").write_text(f'server = "{shell.env.pop("CHATKIT_SERVER")}"\n')
    shell.run("rooms", "--json")
    assert shell.stderr == ""


def test_completion_sends_no_token_to_a_server_that_the_current_folder_names(shell: Shell) -> None:
    shell.run("publish", "complete-me", "hi")
    url = shell.env.pop("CHATKIT_SERVER")
    shell.env |= {"_CHATKIT_COMPLETE": "complete_bash", "COMP_WORDS": "chatkit join compl", "COMP_CWORD": "2"}
    (shell.folder / "chatkit.toml").write_text(f'server = "{url}"\n')
    assert shell.run() == "\n"
    (shell.folder / "chatkit.toml").write_text(f'server = "{url}"\ntoken = "{TOKEN}"\n')
    del shell.env["CHATKIT_TOKEN"]
    assert shell.run() == "complete-me\n"


def test_both_modules_run_the_command(shell: Shell) -> None:
    for module in ("chatkit", "chatkit.cli"):
        command = [sys.executable, "-m", module, "--version"]
        done = subprocess.run(command, env=shell.env, capture_output=True, check=True)
        assert done.stdout.startswith(b"chatkit ")
