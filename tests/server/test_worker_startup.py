"""The start of a server with several workers: each error is reported once, and no process stays."""

from pathlib import Path

import pytest
from raw_client import call
from serving import free_port, start_in_process_group
from worker_group import WorkerGroup

from chatkit.errors import BadRequest
from chatkit.server.settings import Settings

pytest_plugins = ["worker_fixtures"]


def serve_and_fail(folder: Path, *words: str) -> tuple[int, str]:
    """Run a `chatkit serve --workers 2` that cannot start; return its exit status and its output."""
    with start_in_process_group(folder, "--workers", "2", *words) as process:
        output = process.communicate(timeout=60)[1]
    assert "Traceback" not in output, output
    return process.returncode, output


def test_the_memory_backend_is_refused_for_several_workers(tmp_path: Path) -> None:
    status, output = serve_and_fail(tmp_path, "--port", "0", "--backend", "memory://")
    assert status == 2
    assert output.startswith("chatkit: memory:// belongs to one process")


def test_an_application_with_channels_in_memory_is_refused_for_several_workers(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text(
        "from litestar import Litestar\n"
        "from chatkit.litestar import ChannelsPlugin, MemoryChannelsBackend\n"
        "app = Litestar(plugins=[ChannelsPlugin(MemoryChannelsBackend(), channels=['a'])])\n"
    )
    status, output = serve_and_fail(tmp_path, "--port", "0", "some:app")
    assert status == 2
    assert output == (
        "chatkit: the channels of this application are kept in memory, which workers do not share: give the plugin"
        " another backend, or serve with one worker\n"
    )


def test_a_port_in_use_is_reported_once_and_no_process_stays(two: WorkerGroup, tmp_path: Path) -> None:
    status, output = serve_and_fail(tmp_path, "--port", str(two.server.port), "--backend", "sqlite:///other.db")
    assert status == 1
    assert output.count(f"port {two.server.port} is in use") == 1
    assert call(two.server, "GET", "/health").status == 200


def test_a_store_that_cannot_be_opened_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("dear diary, " * 1_000)
    status, output = serve_and_fail(tmp_path, "--port", str(free_port()), "--backend", "sqlite:///notes.txt")
    assert status == 3
    assert output.count("is not an SQLite database") == output.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"workers": 0}, "workers must be at least 1"),
        ({"workers": 4, "max_connections": 3}, "max-connections must be at least 1 for each worker: 4"),
    ],
)
def test_an_invalid_number_of_workers_is_refused(given: dict[str, int], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Settings(**given)  # type: ignore[arg-type]  # only numbers are given here
    assert str(refused.value) == sentence
