"""The log: lines for people or JSON lines on standard error, with tokens and secrets masked. It knows no servers."""

import asyncio
import logging
from collections.abc import Collection
from typing import Any

import msgspec

from chatkit.core.model import format_time
from chatkit.server.log_limit import RepeatFilter
from chatkit.server.log_writer import describe_loss, stderr_writer
from chatkit.server.session_cookie import SessionCookie
from chatkit.server.settings import Settings
from chatkit.server.token_masking import mask_tokens


class LineFormatter(logging.Formatter):
    """Formats a line for people. Tokens and `secrets` are masked, so that the log gives nobody access."""

    def __init__(self, format_: str, secrets: Collection[str] = ()) -> None:
        super().__init__(format_)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback if there is one."""
        return mask_tokens(super().format(record), self._secrets)


class JsonFormatter(logging.Formatter):
    """Formats a JSON object. Tokens and `secrets` are masked; `with_pid` adds the id of the process."""

    def __init__(self, *, with_pid: bool, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._with_pid = with_pid
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, message and, if there is one, the traceback."""
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
    """Return the text with lone surrogates escaped: a file name that is not UTF-8 has them."""
    return text.encode("utf-8", "backslashreplace").decode()


class StderrHandler(logging.Handler):
    """Passes lines to the thread that writes them, so that a slow reader of the log never blocks the server."""

    def __init__(self, *, is_json: bool) -> None:
        super().__init__()
        self._writer = stderr_writer()
        self._writer.describe = self._describe
        if is_json:
            self._writer.encoding = "utf-8"  # as RFC 8259 requires, in every locale

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line."""
        try:
            self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001  # as logging requires: a record that cannot be formatted raises no error
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written, for a limited time. Logging calls this at exit."""
        self._writer.flush()

    def _describe(self, count: int) -> str:
        sentence = describe_loss(count)
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, sentence, None, None))


class CancelledRequestFilter(logging.Filter):
    """Drops uvicorn's errors about requests that were cancelled by the shutdown, which are not failures."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def log_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`."""
    has_others = settings.workers > 1  # processes that write to the same log
    pid = "[%(process)d]" if has_others else ""
    secrets = _secrets(settings)
    for_people = {
        "()": LineFormatter,
        "format_": f"%(asctime)s %(levelname)s %(name)s{pid}: %(message)s",
        "secrets": secrets,
    }
    as_json = {"()": JsonFormatter, "with_pid": has_others, "secrets": secrets}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": as_json if settings.log_json else for_people},
        "filters": {"cancelled": {"()": CancelledRequestFilter}, "repeats": {"()": RepeatFilter}},
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
    values = (settings.secret, SessionCookie(settings.secret, settings.path_prefix).secret_value)
    return [value for value in values if value is not None]
