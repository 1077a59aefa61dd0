"""Alerts: what people are told about late deliveries and ending agreements, once per change.

The core compares two states; the edges are a file per channel in ``$ZICHT_HOME/alerts/`` and the
notifiers of :mod:`zicht.orchestration.upkeep`. A channel's file is written after it has told, so a
message that failed is sent the next time, and one channel's trouble does not repeat the others'.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from zicht.agreements import Agreement, load_agreements
from zicht.clock import format_moment
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import read_ledger
from zicht.errors import ConfigurationError, RemoteError
from zicht.expected import (
    DUE_SOON_DAYS,
    ENDING_DAYS,
    Expectation,
    State,
    expectations,
    received_periods,
)
from zicht.files import read_json, write_json
from zicht.settings import Settings

_CHANNEL = re.compile(r"[a-z][a-z0-9_-]{0,30}")
_TIMEOUT_SECONDS = 20.0

NOT_YET, IN_FORCE, ENDING, ENDED, NONE = "not_yet", "in_force", "ending", "ended", "none"
"""States of an agreement; ``none`` is that of a source that no agreement names."""

TOLD = frozenset({State.DUE_SOON, State.OVERDUE, State.MISSING, ENDING, ENDED, NONE})
"""States that people are told about when they begin."""
RELIEVED = {
    State.OVERDUE: frozenset({State.RECEIVED}),
    State.MISSING: frozenset({State.RECEIVED}),
    ENDING: frozenset({IN_FORCE}),
    ENDED: frozenset({IN_FORCE}),
    NONE: frozenset({IN_FORCE}),
}
"""Per state that people were told about, the states that end the worry and are told as well."""


@dataclass(frozen=True)
class Situation:
    """How it stands with one thing that can change.

    Attributes:
        key: what it is about: ``delivery brp 2024`` or ``agreement zicht_op_armoede``.
        state: one word, see :class:`zicht.expected.State` and the states of agreements.
        text: one sentence for people.
    """

    key: str
    state: str
    text: str


@dataclass(frozen=True)
class Alert:
    """One change that people are told about: a situation and the state before it, if any."""

    key: str
    state: str
    previous: str | None
    text: str


def _delivery_text(line: Expectation) -> str:
    what = f"{line.source}: the delivery of {line.period}"
    day = line.due.isoformat()
    match line.state:
        case State.RECEIVED:
            return f"{what}, due on {day}, has come."
        case State.DUE_SOON:
            return f"{what} is due on {day}, within {DUE_SOON_DAYS} days."
        case State.OVERDUE:
            return f"{what} was due on {day} and is {line.days_overdue} day(s) overdue."
        case State.MISSING:
            return f"{what} was due on {day} and is missing: a later period did come."
        case State.NOT_COVERED:
            return f"{what} is due on {day}; no agreement is in force then."
        case _:
            return f"{what} is due on {day}."


def _agreement_situation(agreement: Agreement, now: datetime) -> Situation:
    today, end = now.date(), agreement.valid_until.isoformat()
    covered = f"It covers {', '.join(agreement.sources)}."
    days = (agreement.valid_until - today).days
    if today < agreement.valid_from:
        begin = agreement.valid_from.isoformat()
        state, text = NOT_YET, f"begins on {begin}."
    elif days < 0:
        state = ENDED
        text = f"ended on {end}: its sources are no longer taken in for it, and upkeep destroys "
        text += f"what no other agreement covers. {covered}"
    elif days <= ENDING_DAYS:
        state, text = ENDING, f"ends in {days} day(s), on {end}. {covered}"
    else:
        state, text = IN_FORCE, f"is in force until {end}."
    return Situation(f"agreement {agreement.id}", state, f"Agreement {agreement.id} {text}")


def _uncovered_situation(contract: Contract, agreements: Mapping[str, Agreement]) -> Situation:
    named = any(contract.source in agreement.sources for agreement in agreements.values())
    what = "an agreement names it" if named else "no agreement names it, so nothing is taken in"
    return Situation(
        f"cover {contract.source}", IN_FORCE if named else NONE, f"{contract.source}: {what}."
    )


def situations(settings: Settings, now: datetime) -> dict[str, Situation]:
    """All situations at a moment, by key: of deliveries, agreements, and uncovered sources."""
    contracts = load_contracts(settings.contracts)
    agreements = load_agreements(settings.agreements)
    records = read_ledger(settings)
    until = now.date() + timedelta(days=DUE_SOON_DAYS)
    found = [_agreement_situation(agreement, now) for agreement in agreements.values()]
    for source, contract in contracts.items():
        if contract.needs_agreement:
            found.append(_uncovered_situation(contract, agreements))
        received = received_periods(settings, source, records, now)
        found += [
            Situation(f"delivery {source} {line.period}", line.state.value, _delivery_text(line))
            for line in expectations(contract, received, agreements, now.date(), until)
        ]
    return {one.key: one for one in found}


def changes(previous: Mapping[str, str], current: Mapping[str, Situation]) -> list[Alert]:
    """What is to be told: states that began, and worries that ended, in order of key.

    Args:
        previous: the state per key that the channel knows.
    """
    found = []
    for key, situation in sorted(current.items()):
        before = previous.get(key)
        if situation.state == before:
            continue
        if situation.state in TOLD or situation.state in RELIEVED.get(before or "", ()):
            found.append(Alert(key, situation.state, before, situation.text))
    return found


def subject(alerts: Sequence[Alert]) -> str:
    """One line that says how much there is to read."""
    if len(alerts) == 1:
        return f"Zicht: {alerts[0].key} is {alerts[0].state.replace('_', ' ')}"
    return f"Zicht: {len(alerts)} changes in deliveries and agreements"


def as_html(alerts: Sequence[Alert]) -> str:
    """The body of a mail."""
    lines = "".join(f"<li>{html.escape(alert.text)}</li>" for alert in alerts)
    return (
        f"<ul>{lines}</ul><p>You are told once per change. <code>zicht calendar</code> and "
        "<code>zicht status</code> show how it stands now.</p>"
    )


def as_json(alerts: Sequence[Alert], now: datetime) -> dict[str, Any]:
    """What a webhook receives; ``text`` is what chat services show."""
    return {
        "text": "\n".join([subject(alerts), *(alert.text for alert in alerts)]),
        "at": format_moment(now),
        "alerts": [asdict(alert) for alert in alerts],
    }


def _channel_file(settings: Settings, channel: str) -> Path:
    assert _CHANNEL.fullmatch(channel), channel
    return settings.home / "alerts" / f"{channel}.json"


def to_tell(settings: Settings, channel: str, current: Mapping[str, Situation]) -> list[Alert]:
    """What a channel has not told yet."""
    path = _channel_file(settings, channel)
    return changes(read_json(path)["states"] if path.exists() else {}, current)


def told(settings: Settings, channel: str, current: Mapping[str, Situation], now: datetime) -> None:
    """Keeps what a channel knows now. Call it only after the channel has told."""
    states = {key: current[key].state for key in sorted(current)}
    path = _channel_file(settings, channel)
    if not path.exists() or read_json(path)["states"] != states:
        write_json(path, {"told_at": format_moment(now), "states": states})


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would arrive elsewhere as a GET, and count as told."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def webhook_address(kind: str, host: str, port: int | None, schema: str) -> str:
    """The address in the parts of an Airflow connection.

    A host with ``://`` is the whole address. Otherwise the schema is the protocol, as Airflow's own
    HTTP connections have it, or the path, as in a connection given as a URI.

    Raises:
        ConfigurationError: Z-ALR-003 if it is no web address.
    """
    address = host
    if "://" not in host:
        protocol = next((p for p in (schema, kind) if p in ("http", "https")), "https")
        path = "" if schema in ("http", "https") else schema.lstrip("/")
        address = f"{protocol}://{host}{f':{port}' if port else ''}/{path}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            "the Airflow connection zicht_webhook holds no web address.",
            code="Z-ALR-003",
            remedy="Set its host to the whole address, such as https://hooks.example.org/zicht.",
        )
    return address


def post(address: str, token: str | None, document: Mapping[str, Any]) -> None:
    """Posts a document as JSON, with the token as bearer if there is one.

    Raises:
        RemoteError: Z-ALR-002 if the other side does not take it. The address is not named beyond
            its host: that of a webhook is often a secret.
    """
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps(document, ensure_ascii=False).encode()
    request = Request(address, data=body, headers=headers, method="POST")
    try:
        with build_opener(_NoRedirect).open(request, timeout=_TIMEOUT_SECONDS):
            return
    except HTTPError as error:
        what = f"answers {error.code}"
        error.close()
    except (OSError, ValueError, HTTPException) as error:
        what = f"does not answer: {type(error).__name__}"
    raise RemoteError(
        f"the webhook at {urlsplit(address).hostname} {what}.",
        code="Z-ALR-002",
        remedy="See whether it is up and the connection zicht_webhook is right; what was not told "
        "is told the next time.",
    )
