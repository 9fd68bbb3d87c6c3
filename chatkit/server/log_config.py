"""The log: to stderr, for people or as JSON lines, without what no log should hold. Knows nothing of the server."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any

import msgspec

from chatkit.core.model import format_time
from chatkit.server.log_limit import FewRepeats
from chatkit.server.log_writer import describe_loss, stderr_writer
from chatkit.server.session_cookie import SessionCookie
from chatkit.server.settings import Settings
from chatkit.server.token_masking import mask_tokens


class LineFormatter(logging.Formatter):
    """A line for people, without tokens and without `secrets`: a reader of the log must not be able to enter."""

    def __init__(self, format_: str, secrets: Collection[str] = ()) -> None:
        super().__init__(format_)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Write the line and, where there is one, the traceback."""
        return mask_tokens(super().format(record), self._secrets)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, without tokens and without `secrets`; `with_pid` adds the process that writes it."""

    def __init__(self, *, with_pid: bool, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._with_pid = with_pid
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger, message and, where there is one, the traceback."""
        line: dict[str, str | int | None] = {
            "time": format_time(round(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(mask_tokens(record.getMessage(), self._secrets)),
        }
        if self._with_pid:
            line["pid"] = record.process
        if record.exc_info:
            line["traceback"] = _text(mask_tokens(self.formatException(record.exc_info), self._secrets))
        return msgspec.json.encode(line).decode()


def _text(text: str) -> str:
    """Return the text with lone surrogates, as of a file's name that is not UTF-8, written out."""
    return text.encode("utf-8", "backslashreplace").decode()


class StderrHandler(logging.Handler):
    """Hands lines to the thread that writes them: no record waits for whoever reads the log."""

    def __init__(self, *, is_json: bool) -> None:
        super().__init__()
        self._writer = stderr_writer()
        self._writer.describe = self._describe
        if is_json:
            self._writer.encoding = "utf-8"  # RFC 8259, in every locale

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001  # logging's contract: a record that cannot be formatted raises nowhere
            self.handleError(record)

    def flush(self) -> None:
        """Wait for what was logged before, for a limited time: called at the exit."""
        self._writer.flush()

    def _describe(self, count: int) -> str:
        sentence = describe_loss(count)
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, sentence, None, None))


class CancelledRequestFilter(logging.Filter):
    """Keeps out what uvicorn logs as a failure, and is none: a request that was ended because the server ends."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether to log the record."""
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def log_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration that the settings ask for, for `logging.config.dictConfig`."""
    has_others = settings.workers > 1  # who write the same log
    pid = "[%(process)d]" if has_others else ""
    secrets = _secrets(settings)
    people = {
        "()": LineFormatter,
        "format_": f"%(asctime)s %(levelname)s %(name)s{pid}: %(message)s",
        "secrets": secrets,
    }
    lines = {"()": JsonFormatter, "with_pid": has_others, "secrets": secrets}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": lines if settings.log_json else people},
        "filters": {"cancelled": {"()": CancelledRequestFilter}, "repeats": {"()": FewRepeats}},
        "handlers": {
            "stderr": {
                "()": StderrHandler,
                "is_json": settings.log_json,
                "formatter": "line",
                "filters": ["cancelled", "repeats"],
            }
        },
        "root": {"handlers": ["stderr"], "level": settings.log_level.upper()},
    }


def _secrets(settings: Settings) -> list[str]:
    if settings.secret is None:
        return []
    return [settings.secret, SessionCookie(settings.secret, settings.path_prefix).value]
