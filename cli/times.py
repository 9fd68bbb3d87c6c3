"""Times and durations as people type them: `2h`, `30m`, `7d`, a date, an RFC 3339 time."""

import re
from datetime import UTC, datetime, timedelta

from chatkit.core.model import MAX_TIME_MS
from chatkit.errors import BadRequest

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def read_duration(text: str) -> timedelta:
    """Parse `90s`, `30m`, `2h`, `7d`, `4w`, or several together, such as `1d12h`. Raise `BadRequest`."""
    if not re.fullmatch(r"(\d{1,9}[smhdw])+", text):
        raise BadRequest(f"not a duration: {text!r} (examples: 90s, 30m, 2h, 7d, 4w)")
    parts = re.findall(r"(\d+)([smhdw])", text)
    try:
        return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError as error:
        raise BadRequest(f"the duration is too long: {text!r}") from error


def read_moment(text: str, now: datetime) -> datetime:
    """Parse a duration before `now`, a date or a time. Without a zone, local time is assumed. Raise `BadRequest`."""
    try:
        if _is_duration(text):
            return now - read_duration(text)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"not a time: {text!r} (examples: 2h, 7d, 2026-11-20, 2026-11-20T11:47:00Z)") from error


def read_end(text: str, now: datetime) -> datetime:
    """Parse a duration from `now`, a date or a time. Raise `BadRequest`, also for a time that is over."""
    try:
        end = now + read_duration(text) if _is_duration(text) else read_moment(text, now)
    except OverflowError as error:
        raise BadRequest(f"the duration is too long: {text!r}") from error
    if end.timestamp() * 1000 >= MAX_TIME_MS:
        raise BadRequest(f"{text!r} is too far in the future: leave it out for no end")
    if end <= now:
        raise BadRequest(f"{text!r} is over already: give a duration, such as 2h or 30d, or a later time")
    return end


def read_end_ms(text: str | None) -> int | None:
    """Parse the end of something that begins now, as Unix milliseconds; None for no end. Raise `BadRequest`."""
    return None if text is None else unix_ms(read_end(text, datetime.now(UTC)))


def read_past(text: str) -> datetime:
    """Parse a duration before the present moment, a date or a time. Raise `BadRequest`."""
    return read_moment(text, datetime.now(UTC))


def shown_duration(seconds: int) -> str:
    """Return a duration as people type it, without weeks: `1d12h`, `30d`."""
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def shown_time(text: str | None) -> str:
    """Return an RFC 3339 time as local time for people; nothing for None."""
    return "" if text is None else _shown(datetime.fromisoformat(text).astimezone())


def is_over(text: str | None) -> bool:
    """Return whether an RFC 3339 time has passed; None never does."""
    return text is not None and datetime.fromisoformat(text) <= datetime.now(UTC)


def local_time(time_ms: int) -> datetime:
    """Return a Unix time in milliseconds as local time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone()


def date_and_time(time_ms: int) -> str:
    """Return a Unix time in milliseconds as local time for people, as in `2026-11-20 11:47:21`."""
    return _shown(local_time(time_ms))


def unix_ms(moment: datetime | None) -> int | None:
    """Return a time as Unix milliseconds; None for None."""
    return None if moment is None else round(moment.timestamp() * 1000)


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _is_duration(text: str) -> bool:
    return re.fullmatch(r"(\d+[smhdw])+", text) is not None
