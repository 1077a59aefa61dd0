"""Operators of the daily DAGs: telling people about the calendar, and upkeep."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseNotifier
from airflow.sdk.exceptions import AirflowNotFoundException

from zicht.clock import clock_from_environment
from zicht.errors import RemoteError, ZichtError
from zicht.orchestration.tasks import PROGRESS, ZichtOperator, say
from zicht.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from zicht.alerts import Alert

WEBHOOK = "zicht_webhook"
"""Airflow connection of the webhook: the address, and as password the bearer token if any."""
SMTP = "smtp_default"
"""Airflow connection of the mail server, with ``from_email`` in its extra fields."""


class WebhookNotifier(BaseNotifier):
    """Posts a JSON document to the address in an Airflow connection."""

    def __init__(self, *, document: Mapping[str, Any], webhook_conn_id: str = WEBHOOK) -> None:
        super().__init__()
        self.document = document
        self.webhook_conn_id = webhook_conn_id

    def notify(self, context: Context) -> None:
        """Posts; a RemoteError or ConfigurationError says what went wrong."""
        from zicht.alerts import post, webhook_address

        connection = BaseHook.get_connection(self.webhook_conn_id)
        address = webhook_address(
            connection.conn_type or "",
            connection.host or "",
            connection.port,
            connection.schema or "",
        )
        post(address, connection.password, self.document)


def _mail(to: Sequence[str], alerts: Sequence[Alert], context: Context) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    from zicht.alerts import as_html, subject

    notifier = SmtpNotifier(
        to=list(to), subject=subject(alerts), html_content=as_html(alerts), smtp_conn_id=SMTP
    )
    try:
        # Not called as a whole: that would read our sentences as Jinja templates.
        notifier.notify(context)
    except Exception as error:
        raise RemoteError(
            f"the mail was not sent: {type(error).__name__}: {error}",
            code="Z-ALR-001",
            remedy=f"See whether the mail server is up and the connection {SMTP} is right, with "
            "from_email; what was not told is told the next time.",
        ) from error


def _recipients() -> list[str]:
    """The addresses in ``ZICHT_ALERT_TO``, separated by commas."""
    return [one.strip() for one in os.environ.get("ZICHT_ALERT_TO", "").split(",") if one.strip()]


def _has_connection(name: str) -> bool:
    try:
        BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return False
    return True


class TellChanges(ZichtOperator):
    """Compares calendar, ledger and agreements, and tells people what changed, once per channel.

    Mail goes to ``ZICHT_ALERT_TO``, a webhook to the connection ``zicht_webhook``. Every channel is
    tried; the task fails when one failed, and only that one is tried again.
    """

    def __init__(self, *, task_id: str = "tell_changes", **kwargs: Any) -> None:
        super().__init__(task_id=task_id, **kwargs)

    def work(self, settings: Settings, context: Context) -> dict[str, int]:
        """Returns per channel how many changes it told."""
        from zicht.agreements import check_agreements, load_agreements
        from zicht.alerts import TOLD, as_json, situations, to_tell, told
        from zicht.contracts import load_contracts

        now = clock_from_environment()()
        check_agreements(load_agreements(settings.agreements), load_contracts(settings.contracts))
        current = situations(settings, now)
        for one in current.values():
            if one.state in TOLD:
                say(one.text)
        channels = {"mail": bool(_recipients()), "webhook": _has_connection(WEBHOOK)}
        if not any(channels.values()):
            PROGRESS.warning(
                "nobody is told: set ZICHT_ALERT_TO, or make the Airflow connection %s", WEBHOOK
            )
        counts: dict[str, int] = {}
        failures: list[ZichtError] = []
        for channel in (name for name, is_set in channels.items() if is_set):
            alerts = to_tell(settings, channel, current)
            try:
                if alerts and channel == "mail":
                    _mail(_recipients(), alerts, context)
                elif alerts:
                    WebhookNotifier(document=as_json(alerts, now)).notify(context)
            except ZichtError as error:
                PROGRESS.error("%s", error, extra={"zicht_error": error})
                failures.append(error)
                continue
            told(settings, channel, current, now)
            counts[channel] = len(alerts)
            say(f"{channel}: {len(alerts)} change(s) told")
        if failures:
            # One that may pass comes first: it is what another attempt can cure.
            raise min(failures, key=lambda error: not isinstance(error, RemoteError))
        return counts


class Upkeep(ZichtOperator):
    """Destroys what may no longer be held, and records it."""

    def __init__(self, *, task_id: str = "upkeep", **kwargs: Any) -> None:
        super().__init__(task_id=task_id, **kwargs)

    def work(self, settings: Settings, context: Context) -> dict[str, Any]:
        """Returns what was destroyed."""
        from zicht.upkeep import upkeep

        report = upkeep(settings, clock_from_environment(), say)
        return {
            "deliveries": [one["delivery"] for one in report.deliveries],
            "refused": list(report.refused),
            "n_derived_rows": report.n_derived_rows,
        }
