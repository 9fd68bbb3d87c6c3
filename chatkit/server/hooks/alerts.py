"""Alerts as Prometheus' Alertmanager and Grafana describe them: each one becomes a card."""

from functools import partial
from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.message import BAD, GOOD, MAX_CARD_CHARS, MAX_VALUE_CHARS, WARNING, card, field, read_cards
from chatkit.wire.cards import Card, CardField

FIRING: Final = "firing"
NOT_SHOWN: Final = frozenset({"alertname", "summary", "description", "message", "grafana_folder"})
MAX_NAMES: Final = 3  # of alerts, in the text of the message
MAX_LABELS: Final = 12  # of an alert, beside its annotations

MILD: Final = frozenset({"warning", "warn", "info", "none", "minor"})  # values of the label `severity`


def text_of(sent: Any, title: str = "") -> str:
    """Return what happened, in one line: how many alerts fire, how many are resolved, and their names."""
    alerts = payload.items(sent, "alerts")
    n_firing = sum(payload.get(alert, "status") == FIRING for alert in alerts)
    n_resolved = len(alerts) - n_firing
    counts = [f"{n_firing} firing" if n_firing else "", f"{n_resolved} resolved" if n_resolved else ""]
    status = payload.line(sent, "status").upper() or "ALERT"
    return f"**{status}** {title or _names(alerts) or 'no alerts'}" + _parenthesis(payload.join(counts, ", "))


def _names(alerts: list[Any]) -> str:
    names = list(dict.fromkeys(filter(None, (payload.line(alert, "labels", "alertname") for alert in alerts))))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _parenthesis(text: str) -> str:
    return f" ({text})" if text else ""


def cards_of(sent: Any, links: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[Card, ...], int]:
    """Return cards for the first alerts, and the number of the others.

    `links` are names of links with the keys of an alert that hold their addresses.
    """
    return read_cards(payload.items(sent, "alerts"), partial(_card, links))


def _card(links: tuple[tuple[str, str], ...], alert: Any) -> tuple[Card, ...]:
    status = payload.line(alert, "status")
    name = payload.line(alert, "labels", "alertname") or "alert"
    annotations = [
        payload.text(alert, "annotations", key, max_chars=MAX_CARD_CHARS)
        for key in ("summary", "description", "message")
    ]
    addresses = [(label, payload.url(alert, key)) for label, key in links]
    return card(
        title=payload.one_line(f"{status.upper()} {name}".strip()),
        url=payload.url(alert, "generatorURL"),
        color=_color(status, payload.line(alert, "labels", "severity")),
        text=payload.join(
            [
                *dict.fromkeys(annotations),
                payload.join([payload.link(label, address) for label, address in addresses if address], " · "),
            ]
        ),
        fields=[*_fields(alert, "labels"), *_fields(alert, "annotations"), *_values(alert)],
        footer=_times(alert),
    )


def _color(status: str, severity: str) -> str:
    if status != FIRING:
        return GOOD
    return WARNING if severity.lower() in MILD else BAD


def _fields(alert: Any, kind: str) -> list[CardField]:
    found = payload.get(alert, kind)
    pairs = list(found.items())[:MAX_LABELS] if isinstance(found, dict) else []
    return [
        each
        for key, value in pairs
        if key not in NOT_SHOWN and not key.startswith("__")
        for each in field(payload.clean(key), payload.text(value, max_chars=MAX_VALUE_CHARS), short=True)
    ]


def _values(alert: Any) -> list[CardField]:
    """Return the values that Grafana measured."""
    found = payload.get(alert, "values")
    pairs = list(found.items())[:MAX_LABELS] if isinstance(found, dict) else []
    return field(
        "values", ", ".join(f"{payload.one_line(payload.clean(key))} = {payload.text(value)}" for key, value in pairs)
    )


def _times(alert: Any) -> str:
    begin, end = payload.line(alert, "startsAt"), payload.line(alert, "endsAt")
    is_over = payload.get(alert, "status") != FIRING and not end.startswith("0001")
    return payload.join(
        [f"since {_minute(begin)}" if begin else "", f"until {_minute(end)}" if is_over and end else ""], ", "
    )


def _minute(time: str) -> str:
    """Return an RFC 3339 time without what follows its seconds, but with its zone if that is not UTC."""
    at, zone = time[:19].replace("T", " "), time[19:].lstrip(".0123456789")
    return f"{at} {'UTC' if zone in {'Z', '+00:00'} else zone}".strip()
