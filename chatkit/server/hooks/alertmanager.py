"""Prometheus' Alertmanager: notifications of `webhook_config`, version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from typing import Any

from chatkit.server.hooks import payload
from chatkit.server.hooks.alerts import cards_of, text_of
from chatkit.server.hooks.message import HookMessage


def convert(sent: Any) -> HookMessage:
    """Return the message of a notification."""
    n_left_out = payload.get(sent, "truncatedAlerts")
    more = (
        f"{payload.number(n_left_out)} more alerts were left out" if isinstance(n_left_out, int) and n_left_out else ""
    )
    link = payload.link("Alertmanager", payload.url(sent, "externalURL")) if payload.url(sent, "externalURL") else ""
    return HookMessage(
        payload.join([text_of(sent), payload.join([more, link], " · ")]),
        cards_of(sent),
        event=payload.line(sent, "status"),
    )
