"""Prometheus' Alertmanager: notifications of `webhook_config`, version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from typing import Any

from chatkit.server.hooks import payload
from chatkit.server.hooks.alerts import cards_of, text_of
from chatkit.server.hooks.message import HookMessage


def convert(sent: Any) -> HookMessage:
    """Return the message of a notification."""
    cards, n_left_out = cards_of(sent)
    n_truncated = payload.get(sent, "truncatedAlerts")
    more = (
        f"{payload.number(n_truncated)} more alerts were left out"
        if isinstance(n_truncated, int) and n_truncated
        else ""
    )
    address = payload.url(sent, "externalURL")
    below = payload.join([more, payload.link("Alertmanager", address) if address else ""], " · ")
    text = payload.join([text_of(sent), below])
    return HookMessage(text, cards, event=payload.line(sent, "status"), n_left_out=n_left_out)
