"""The messages between a supervisor and its workers are encoded and decoded without loss."""

from pathlib import Path

import pytest

from chatkit.errors import BadName, BadRequest, ChatkitError, NotAStore, StoreTooNew, Unavailable
from chatkit.server.settings import Settings
from chatkit.server.workers.control import WorkerConfig, WorkerFailed, WorkerReady, encode, read_answer, read_config


def test_a_worker_config_carries_every_setting(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hi")
    settings = Settings(
        host="::1",
        port=0,
        backend="sqlite:///r\u00f6\u00f6ms.db",
        workers=3,
        keep=5,
        keep_for_s=1.5,
        secret="eight-or-more",
        rate_limit=0.5,
        origins=("https://a.example", "https://b.example"),
        page=tmp_path,
        log_level="info",
        log_json=True,
    )
    config = WorkerConfig(settings, "app:app", listening_fd=3, counts_fd=4, n_cells=6, cell=5)
    line = encode(config)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_config(line) == config
    assert read_config(encode(WorkerConfig(Settings(), None, 3, 4, 2, 0))).settings == Settings()


def test_a_worker_answers_that_it_is_ready_or_why_it_failed() -> None:
    assert read_answer(encode(WorkerReady())) == WorkerReady()
    assert read_answer(encode(WorkerFailed("unavailable", "no"))) == WorkerFailed("unavailable", "no")


@pytest.mark.parametrize("kind", [BadRequest, NotAStore, StoreTooNew, Unavailable])
def test_an_error_keeps_its_class_and_its_sentence(kind: type[ChatkitError]) -> None:
    error = WorkerFailed.of(kind("a sentence")).error
    assert (type(error), str(error)) == (kind, "a sentence")


def test_any_other_error_keeps_its_sentence() -> None:
    assert str(WorkerFailed.of(OSError(13, "Permission denied", "rooms.db")).error) == "Permission denied: rooms.db"
    assert str(WorkerFailed.of(BadName("room", "short")).error) == "a room is short"
