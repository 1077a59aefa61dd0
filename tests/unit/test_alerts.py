"""Alerts: what people are told, once per change, and never before it has arrived."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support import copy_project
from zicht.alerts import (
    RELIEVED,
    TOLD,
    Situation,
    as_html,
    as_json,
    changes,
    post,
    situations,
    subject,
    to_tell,
    told,
    webhook_address,
)
from zicht.errors import ConfigurationError, RemoteError
from zicht.expected import State
from zicht.settings import Settings

NOW = datetime(2025, 5, 1, 9, tzinfo=UTC)


def one(state: str, key: str = "delivery brp 2024") -> dict[str, Situation]:
    return {key: Situation(key, state, f"{key} <{state}>")}


@pytest.mark.parametrize(
    ("before", "now", "is_told"),
    [
        (None, "overdue", True),
        (None, "expected", False),
        (None, "received", False),
        ("expected", "due_soon", True),
        ("due_soon", "overdue", True),
        ("overdue", "overdue", False),
        ("overdue", "missing", True),
        ("overdue", "received", True),
        ("missing", "received", True),
        ("due_soon", "received", False),
        ("overdue", "not_covered", False),
        (None, "in_force", False),
        ("in_force", "ending", True),
        ("ending", "ended", True),
        ("ending", "in_force", True),
        ("not_yet", "in_force", False),
        (None, "none", True),
        ("none", "in_force", True),
    ],
)
def test_which_changes_are_told(before: str | None, now: str, is_told: bool) -> None:
    found = changes({"delivery brp 2024": before} if before else {}, one(now))
    assert [(a.previous, a.state) for a in found] == ([(before, now)] if is_told else [])


def test_what_is_gone_is_not_told() -> None:
    assert changes({"delivery brp 2024": "overdue"}, {}) == []


def test_every_state_of_a_delivery_is_owned() -> None:
    """A new state has to be told, relieve something, or be left out on purpose."""
    quiet = {State.EXPECTED, State.NOT_COVERED}
    relieving = {state for states in RELIEVED.values() for state in states}
    assert set(State) == {s for s in State if s in TOLD or s in relieving or s in quiet}


def test_told_once_and_only_when_kept(settings: Settings) -> None:
    current = one("overdue")
    assert len(to_tell(settings, "mail", current)) == 1
    assert len(to_tell(settings, "mail", current)) == 1, "a failed message is told the next time"
    told(settings, "mail", current, NOW)
    assert to_tell(settings, "mail", current) == []
    assert len(to_tell(settings, "webhook", current)) == 1, "each channel keeps its own"
    (change,) = to_tell(settings, "mail", one("received"))
    assert (change.previous, change.state) == ("overdue", "received")
    before = (settings.home / "alerts" / "mail.json").read_bytes()
    told(settings, "mail", current, NOW.replace(year=2026))
    assert (settings.home / "alerts" / "mail.json").read_bytes() == before


def states_at(settings: Settings, moment: datetime) -> dict[str, str]:
    return {key: one.state for key, one in situations(settings, moment).items()}


def test_agreements_are_told_sixty_days_before_they_end(settings: Settings, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    folder = project / "expectations" / "agreements"
    settings = replace(settings, project=project)
    key = "agreement zicht_op_armoede"
    moments = [(2022, 12, 31), (2023, 1, 1), (2028, 10, 31), (2028, 11, 1), (2028, 12, 31)]
    found = [states_at(settings, datetime(*day, tzinfo=UTC))[key] for day in moments]
    assert found == ["not_yet", "in_force", "in_force", "ending", "ending"]
    ended = situations(settings, datetime(2029, 1, 1, tzinfo=UTC))
    assert ended[key].state == "ended"
    assert "2028-12-31" in ended[key].text
    assert "duo" in ended[key].text, "it says which sources it was about"
    assert states_at(settings, NOW)["cover duo"] == "in_force"
    for agreement in folder.iterdir():
        agreement.unlink()
    assert states_at(settings, NOW)["cover duo"] == "none"
    assert "cover cbs_crime" not in states_at(settings, NOW)


def test_the_calendar_and_the_ledger_are_compared(settings: Settings) -> None:
    found = situations(settings, NOW)
    assert found["delivery cbs_crime 2024"].state == "overdue"
    assert "31 day(s) overdue" in found["delivery cbs_crime 2024"].text
    assert "delivery cbs_crime 2023" not in found


def test_messages_say_what_changed_and_escape_it() -> None:
    alerts = changes({}, {**one("overdue"), **one("missing", "delivery duo 2023")})
    assert subject(alerts) == "Zicht: 2 changes in deliveries and agreements"
    assert subject(alerts[:1]) == "Zicht: delivery brp 2024 is overdue"
    assert "&lt;missing&gt;" in as_html(alerts)
    assert "<missing>" not in as_html(alerts)
    document = json.loads(json.dumps(as_json(alerts, NOW)))
    assert [a["key"] for a in document["alerts"]] == ["delivery brp 2024", "delivery duo 2023"]
    assert document["at"] == "2025-05-01T09:00:00Z"


@pytest.mark.parametrize(
    ("parts", "address"),
    [
        (("http", "https://hooks.example.org/a?b=1", None, ""), "https://hooks.example.org/a?b=1"),
        (("http", "127.0.0.1", 8080, "hook/x"), "http://127.0.0.1:8080/hook/x"),
        (("https", "hooks.example.org", None, "hook"), "https://hooks.example.org/hook"),
        (("http", "hooks.example.org", None, "https"), "https://hooks.example.org/"),
        (("generic", "hooks.example.org", None, ""), "https://hooks.example.org/"),
    ],
)
def test_webhook_addresses(parts: tuple[str, str, int | None, str], address: str) -> None:
    assert webhook_address(*parts) == address


@pytest.mark.parametrize("host", ["", "file:///etc/passwd", "ftp://example.org/"])
def test_what_is_no_web_address_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        webhook_address("http", host, None, "")
    assert caught.value.code == "Z-ALR-003"


@contextmanager
def listening(status: int, **headers: str) -> Iterator[tuple[str, list[Any]]]:
    """A web server that answers every request with one status, and what it received."""
    received: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/secret-path", received
    finally:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_the_document_and_the_token() -> None:
    with listening(204) as (address, received):
        post(address, "t0ken", {"text": "één"})
        post(address, None, {"text": "twee"})
    assert received == [
        ("/secret-path", "Bearer t0ken", {"text": "één"}),
        ("/secret-path", None, {"text": "twee"}),
    ]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_does_not_take_it_has_not_been_told(status: int) -> None:
    with listening(status, Location="/elsewhere") as (address, received):
        with pytest.raises(RemoteError) as caught:
            post(address, "t0ken", {})
        assert len(received) == 1
    assert (caught.value.code, str(status) in caught.value.message) == ("Z-ALR-002", True)
    assert "secret-path" not in str(caught.value)
    assert "t0ken" not in str(caught.value)


def test_a_webhook_that_is_down_has_not_been_told() -> None:
    with listening(200) as (address, _):
        pass
    with pytest.raises(RemoteError) as caught:
        post(address, None, {})
    assert "does not answer" in caught.value.message
