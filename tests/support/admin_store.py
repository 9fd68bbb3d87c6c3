"""The store that the commands of administration change, and what they leave there."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cli_runner import CommandRunner

STORE = "sqlite:///rooms.db"


def audit(chatkit: CommandRunner) -> list[dict[str, Any]]:
    return [entry["data"] for entry in chatkit.rows("history", ".audit")]


def hours_from_now(time: str) -> float:
    return (datetime.fromisoformat(time) - datetime.now(UTC)) / timedelta(hours=1)
