"""The banner: addresses, commands that the shell accepts, and tokens only where they may be shown."""

import subprocess
from pathlib import Path

import pytest

from chatkit.core.access import Grant, Right
from chatkit.server.banner import rooms_banner, startup_banner
from chatkit.server.settings import Settings


def test_the_banner_of_the_default_address_shows_no_server_option() -> None:
    banner = rooms_banner(Settings(), 8000)
    assert "chatkit join ops\n" in banner
    assert "token" not in banner


def test_the_banner_shows_a_command_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "en v" / "bin" / "chatkit"
    command.parent.mkdir(parents=True)
    command.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(command), "serve"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert "  join      'en v/bin/chatkit' join ops\n" in rooms_banner(Settings(), 8000)
    monkeypatch.setenv("PATH", str(command.parent))
    assert "  join      chatkit join ops\n" in rooms_banner(Settings(), 8000)


def test_the_banner_escapes_the_token_for_the_link_and_the_shell() -> None:
    token = "a b&c$'d#"
    banner = rooms_banner(Settings(secret=token, port=9000), 9000, token=token)
    assert "http://127.0.0.1:9000/?token=a%20b%26c%24%27d%23" in banner
    join = next(line for line in banner.splitlines() if "chatkit join" in line)
    out = subprocess.run(
        ["sh", "-c", join.replace("join      chatkit", "printf '%s|'")], capture_output=True, text=True, check=True
    )
    assert out.stdout == "join|ops|--server|http://127.0.0.1:9000|"
    curl = next(line for line in banner.splitlines() if "curl" in line)
    out = subprocess.run(
        ["sh", "-c", curl.replace("curl", "printf '%s|'")],
        capture_output=True,
        text=True,
        check=True,
        env={"CHATKIT_TOKEN": token},
    )
    assert out.stdout == f"-d|hello|-H|Authorization: Bearer {token}|http://127.0.0.1:9000/rooms/ops/messages|"


def test_the_banner_does_not_show_a_given_token() -> None:
    for settings in (Settings(secret="eight-or-more"), Settings(secret="eight-or-more", log_json=True)):
        banner = startup_banner(settings, 8000, first_token=None)
        assert "eight-or-more" not in banner
        assert "CHATKIT_TOKEN" in banner


def test_a_new_token_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert "/?token=eight-or-more\n" in startup_banner(Settings(host="0.0.0.0"), 8000, first_token="eight-or-more")


def test_a_new_token_is_written_to_a_file_if_no_terminal_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for log_json in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", (lambda: True) if log_json else (lambda: False))
        banner = startup_banner(Settings(host="0.0.0.0", log_json=log_json), 8000, first_token="eight-or-more")
        assert "eight-or-more" not in banner
        file = tmp_path / "chatkit" / "token-8000"
        assert str(file) in banner
        assert (file.read_text(), file.stat().st_mode & 0o777) == ("eight-or-more\n", 0o600)


def test_the_banner_says_what_open_gives_to_everyone() -> None:
    grants = (Grant("*", (Right.READ, Right.WRITE)), Grant("news*", (Right.READ,)))
    banner = rooms_banner(Settings(host="0.0.0.0", open_grants=grants), 8000)
    assert "Warning: --open lets everyone who reaches this address read and write all rooms, read news*" in banner
    assert "token " not in banner
    assert "Warning" not in rooms_banner(Settings(), 8000)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_in_brackets(host: str) -> None:
    assert "http://[::1]:8000/" in rooms_banner(Settings(host=host), 8000)
