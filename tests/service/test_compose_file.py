"""``docker-compose.yml`` and ``Dockerfile`` read as texts: what must hold without running them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_file import MissingVariable, interpolate, read_compose, read_dockerfile, read_env_file

from support import PROJECT
from zicht.orchestration.environment import airflow_environment
from zicht.settings import Settings

COMPOSE = PROJECT / "docker-compose.yml"
EXAMPLE = read_env_file(PROJECT / ".env.example")
FILLED = {name: value or f"value-of-{name.lower()}" for name, value in EXAMPLE.items()}
OPTIONAL = {"ZICHT_ALERT_TO"}
SECRETS = {name for name, value in EXAMPLE.items() if not value} - OPTIONAL


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return dict(read_compose(COMPOSE, FILLED)["services"])


def test_all_services_of_the_design_are_there(services: dict[str, Any]) -> None:
    assert set(services) == {
        "postgres",
        "airflow-init",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    }


def test_everything_has_a_health_check_but_what_ends(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert ("healthcheck" in service) == (name != "airflow-init"), name
        for other, need in (service.get("depends_on") or {}).items():
            awaited = "service_completed_successfully" if other == "airflow-init" else None
            assert need["condition"] == (awaited or "service_healthy"), f"{name} on {other}"


def test_nobody_has_more_rights_than_needed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        user, group = service["user"].split(":")
        assert user.isdigit(), f"{name}: a number, so that it does not depend on the image"
        assert group.isdigit(), name
        assert int(user) > 0, f"{name} runs as root"
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert not service.get("privileged"), name
        assert not service.get("cap_add"), name


def test_the_image_runs_as_the_same_user(services: dict[str, Any]) -> None:
    assert read_dockerfile(PROJECT / "Dockerfile").user == services["scheduler"]["user"]


def test_images_are_pinned(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values()]
    text = (PROJECT / "Dockerfile").read_text()
    images += re.findall(r"^FROM (\S+)", text, re.M)
    for image in images:
        assert re.search(r":\d+\.\d+", image), f"{image}: no version"
    assert not re.search(r"\bpip install\b(?!.*==)", text)


def test_each_secret_comes_from_the_environment_and_has_no_default() -> None:
    for name in SECRETS:
        for value in ({k: v for k, v in FILLED.items() if k != name}, {**FILLED, name: ""}):
            with pytest.raises(MissingVariable, match=name):
                read_compose(COMPOSE, value)


def test_nothing_that_looks_like_a_secret_is_written_in_the_file() -> None:
    def texts(node: Any, key: str = "") -> list[tuple[str, str]]:
        if isinstance(node, dict):
            return [pair for k, v in node.items() for pair in texts(v, str(k))]
        if isinstance(node, list):
            return [pair for item in node for pair in texts(item, key)]
        return [(key, str(node))]

    for key, value in texts(yaml.safe_load(COMPOSE.read_text())):
        if re.search(r"PASSWORD|SECRET|FERNET|SQL_ALCHEMY_CONN", key):
            assert re.search(r"\$\{\w+:\?[^}]+\}", value), f"{key} is written out"


def test_every_variable_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    assert used == set(EXAMPLE)


def test_the_confidential_volume_is_mounted_where_it_must_be_only(services: dict[str, Any]) -> None:
    mounted = {
        name: [volume for volume in service["volumes"] if volume.startswith("state:")]
        for name, service in services.items()
    }
    assert {name: volumes for name, volumes in mounted.items() if volumes} == {
        "scheduler": ["state:/srv/zicht"],
        "triggerer": ["state:/srv/zicht:ro"],
    }


def test_only_the_web_interface_is_published_and_only_locally(services: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in services.items() if s.get("ports")}
    assert published == {"api-server": ["127.0.0.1:8080:8080"]}
    outside = {name for name, s in services.items() if "outside" in s["networks"]}
    assert outside == {"api-server", "scheduler"}


def test_it_is_the_same_airflow_as_on_a_laptop(
    services: dict[str, Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the two say the same thing they must not drift apart."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)
    here, there = airflow_environment(settings), services["scheduler"]["environment"]
    different = {name for name in set(here) & set(there) if here[name] != there[name]}
    assert different == {
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__BASE_URL",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__CORE__PARALLELISM",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    }


def test_what_the_image_copies_exists() -> None:
    image = read_dockerfile(PROJECT / "Dockerfile")
    assert image.copied, "the last stage copies the project"
    for source in image.copied:
        assert (PROJECT / source).exists(), source
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    needed = set(re.findall(r"^COPY (?!--)(.+) \S+$", (PROJECT / "Dockerfile").read_text(), re.M))
    for source in {name for line in needed for name in line.split()}:
        assert f"!{Path(source).name}" in ignored, f".dockerignore keeps {source} out of the image"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A and ${A}", "1 and 1"),
        ("${EMPTY:-x}${EMPTY-x}${NONE-y}", "xy"),
        ("${NONE}", ""),
        ("$$A", "$A"),
        ("${A:?needed}", "1"),
        ("${A:+set}${EMPTY:+set}", "set"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, expected: str) -> None:
    assert interpolate(text, {"A": "1", "EMPTY": ""}) == expected
