"""Grafana: notifications of the alerting webhook. They extend those of Alertmanager.

Source: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

from typing import Any, Final

from chatkit.server.hooks import payload
from chatkit.server.hooks.alerts import cards_of, text_of
from chatkit.server.hooks.message import HookMessage

LINKS: Final = (("dashboard", "dashboardURL"), ("panel", "panelURL"), ("silence", "silenceURL"))


def convert(sent: Any) -> HookMessage:
    """Return the message of a notification."""
    cards, n_left_out = cards_of(sent, LINKS)
    # Without alerts, the text is that of a template.
    text = text_of(sent, _title(sent)) if cards else payload.join([_title(sent), payload.text(sent, "message")])
    return HookMessage(text, cards, event=payload.line(sent, "status"), n_left_out=n_left_out)


def _title(sent: Any) -> str:
    """Return the title without the status and the labels of Grafana's own template: `[FIRING:1] name (labels)`."""
    title = payload.line(sent, "title")
    before, bracket, rest = title.partition("]")
    if not (bracket and before.startswith("[")):
        return title
    return rest.partition("(")[0].strip()
