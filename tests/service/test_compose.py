"""``docker-compose.yml`` running: every service by its own words, and a refresh through them."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

import pytest
from compose_file import read_compose, read_dockerfile, read_env_file
from compose_machine import Machine, can_isolate, postgres_folder, running
from service_support import PATIENCE, until

from support import PROJECT, drop_sample
from zicht.settings import Settings


def _variables() -> dict[str, str]:
    """``.env`` as the example says that it is made."""
    return {
        **read_env_file(PROJECT / ".env.example"),
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW_SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW_JWT_SECRET": secrets.token_hex(32),
        "ZICHT_ADMIN_USER": "beheer",
        "ZICHT_ADMIN_EMAIL": "beheer@example.org",
        "ZICHT_ADMIN_PASSWORD": secrets.token_urlsafe(18),
        "ZICHT_POLL_SECONDS": "1",
        # Nothing of this test may be the sweep's doing, except its one run at the start.
        "ZICHT_SWEEP_SECONDS": "86400",
    }


@pytest.mark.timeout(600)
def test_a_delivery_becomes_a_release(tmp_path: Path) -> None:
    """All services get healthy by their own checks; a delivery that is dropped is released."""
    if postgres_folder() is None:
        why = "PostgreSQL is not installed: apt-get install postgresql (Debian, Ubuntu)"
        # Where a merge depends on it, a test that did not run has not passed.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    isolated = can_isolate()
    base = tmp_path / "machine"
    base.mkdir()
    compose = read_compose(PROJECT / "docker-compose.yml", _variables())
    image = read_dockerfile(PROJECT / "Dockerfile")
    with running(compose, image, PROJECT, base, isolated=isolated) as machine:
        states = machine.wait_healthy(PATIENCE)
        assert states.pop("airflow-init") == "done"
        assert set(states.values()) == {"healthy"}

        uid, gid = map(int, compose["services"]["scheduler"]["user"].split(":"))
        made = Settings(home=tmp_path / "provider", project=PROJECT)
        drop_sample(made, "cbs_crime", ["2023"])
        _hand_over(made, machine, (uid, gid) if isolated else None)

        document = machine.volume("state") / "releases" / "current" / "release.json"
        until("a release", document.exists, PATIENCE, machine.tail)
        release = json.loads(document.read_text())
        assert {(one["source"], one["reference_period"]) for one in release["inputs"]} == {
            ("cbs_crime", "2023")
        }
        assert release["n_observations"] > 0
        assert set(machine.states().values()) <= {"healthy", "done"}
        if isolated:
            assert {document.stat().st_uid, document.parent.stat().st_uid} == {uid}


def _hand_over(made: Settings, machine: Machine, owner: tuple[int, int] | None) -> None:
    """Moves deliveries into the volume, whole and owned by the services' user, as a provider does.

    They are renamed into place: a delivery that can be seen can be taken in.
    """
    landing = machine.volume("state") / "landing"
    for delivery in made.landing.glob("*/*"):
        target = landing / delivery.parent.name / delivery.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if owner:
            for path in (landing, target.parent, delivery, *delivery.iterdir()):
                os.chown(path, *owner)
        delivery.rename(target)
