"""The log: to stderr, for people or as JSON lines, without what no log should hold. Knows nothing of the server."""

import asyncio
import logging
import re
from typing import Any, Final

import msgspec

from chatkit.core.model import format_time
from chatkit.server.log_limit import FewRepeats
from chatkit.server.settings import Settings

_TOKEN: Final = re.compile(r"(\btoken=)[^&\s]+")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `with_pid` says which process writes it."""

    def __init__(self, *, with_pid: bool) -> None:
        super().__init__()
        self._with_pid = with_pid

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, message and, where there is one, the traceback."""
        line: dict[str, str | int | None] = {
            "time": format_time(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._with_pid:
            line["pid"] = record.process
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class CancelledRequestFilter(logging.Filter):
    """Keeps out what uvicorn logs as a failure, and is none: a request that was ended because the server ends."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to log the record."""
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class TokenFilter(logging.Filter):
    """Takes tokens out of the addresses that are logged: who reads a log is not let into the rooms by it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record where it has to be; log it in any case."""
        if isinstance(record.args, tuple):
            record.args = tuple(_TOKEN.sub(r"\1…", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


def log_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration that the settings ask for, for `logging.config.dictConfig`."""
    has_others = settings.workers > 1  # who write the same log
    pid = "[%(process)d]" if has_others else ""
    people = {"format": f"%(asctime)s %(levelname)s %(name)s{pid}: %(message)s"}
    lines = {"()": JsonFormatter, "with_pid": has_others}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": lines if settings.log_json else people},
        "filters": {
            "cancelled": {"()": CancelledRequestFilter},
            "tokens": {"()": TokenFilter},
            "repeats": {"()": FewRepeats},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["cancelled", "tokens", "repeats"],
            }
        },
        "root": {"handlers": ["stderr"], "level": settings.log_level.upper()},
    }
