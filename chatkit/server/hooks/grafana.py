"""Grafana: notifications of the alerting webhook. They extend those of Alertmanager.

Source: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.alerts import cards_of, text_of
from chatkit.server.hooks.message import HookMessage

LINKS: Final = (("dashboard", "dashboardURL"), ("panel", "panelURL"), ("silence", "silenceURL"))


def convert(sent: Any) -> HookMessage:
    """Return the message of a notification. A text that a template made stands for that of the alerts."""
    cards = cards_of(sent, LINKS)
    if not cards:  # such as a message whose whole payload a template makes
        return HookMessage(
            payload.join([_title(sent), payload.text(sent, "message")]), event=payload.line(sent, "status")
        )
    return HookMessage(text_of(sent, _title(sent)), cards, event=payload.line(sent, "status"))


def _title(sent: Any) -> str:
    """Return the title without the status and the labels of Grafana's own template: `[FIRING:1] name (labels)`."""
    title = payload.line(sent, "title")
    before, bracket, rest = title.partition("]")
    if not (bracket and before.startswith("[")):
        return title
    return rest.partition("(")[0].strip()
