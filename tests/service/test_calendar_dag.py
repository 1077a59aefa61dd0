"""The DAGs ``calendar`` and ``upkeep``, with a real mail server and a real web server beside."""

from __future__ import annotations

import email
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from service_support import probe

from zicht.settings import Settings


@contextmanager
def mail_server() -> Iterator[tuple[int, list[bytes]]]:
    """Takes mail without looking at it; gives its port and the messages."""
    mails: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while line := self.rfile.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 fine\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], mails
        server.shutdown()


@contextmanager
def web_server(*statuses: int) -> Iterator[tuple[int, list[Any]]]:
    """Answers with the given statuses in turn, then with 200; gives its port and the documents."""
    answers, taken = list(statuses), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = answers.pop(0) if answers else 200
            if status == 200:
                taken.append((self.path, self.headers["Authorization"], body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, taken
        server.shutdown()


def test_people_are_told_once_per_channel_and_again_only_where_it_failed(
    settings: Settings,
) -> None:
    with mail_server() as (mail_port, mails), web_server(500) as (web_port, taken):
        smtp = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": mail_port,
            "extra": {
                "disable_ssl": True,
                "disable_tls": True,
                "from_email": "zicht@example.org",
            },
        }
        failed, mended, again, kept = probe(
            settings,
            "run",
            *["calendar"] * 3,
            "upkeep",
            ZICHT_CLOCK="2028-12-01T06:00:00Z",
            ZICHT_ALERT_TO="team@example.org, other@example.org",
            AIRFLOW_CONN_SMTP_DEFAULT=json.dumps(smtp),
            AIRFLOW_CONN_ZICHT_WEBHOOK=f"http://:t0ken@127.0.0.1:{web_port}/hook",
        )
    assert failed["error"] == "Z-ALR-002", failed
    assert any(line.startswith("mail: ") for line in failed["said"]), "one does not stop the other"
    assert mended["state"] == again["state"] == kept["state"] == "success"
    assert [line for line in again["said"] if "told" in line] == [
        "mail: 0 change(s) told",
        "webhook: 0 change(s) told",
    ]
    assert any("agreement zicht_op_armoede ends in 30" in line.lower() for line in again["said"]), (
        "the log always says how it stands"
    )

    (raw,) = mails
    mail = email.message_from_bytes(raw, policy=policy.default)
    assert (mail["From"], mail["To"]) == (
        "zicht@example.org",
        "team@example.org, other@example.org",
    )
    assert "changes in deliveries and agreements" in mail["Subject"]
    text = next(part.get_content() for part in mail.walk() if not part.is_multipart())
    assert "Agreement zicht_op_armoede ends in 30 day(s), on 2028-12-31." in text
    assert "kadaster: the delivery of 2028-Q3 was due" in text

    ((path, authorisation, document),) = taken
    assert (path, authorisation) == ("/hook", "Bearer t0ken")
    told = {alert["key"]: alert["state"] for alert in document["alerts"]}
    assert told["agreement zicht_op_ondermijning"] == "ending"
    assert told["delivery kadaster 2028-Q3"] == "overdue"


def test_a_calendar_that_nobody_hears_says_so(settings: Settings) -> None:
    (alone,) = probe(settings, "run", "calendar", ZICHT_CLOCK="2025-05-01T06:00:00Z")
    assert alone["state"] == "success"
    assert any(line.startswith("nobody is told") for line in alone["said"])
    assert not (settings.home / "alerts").exists()
