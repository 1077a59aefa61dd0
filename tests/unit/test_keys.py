"""Keys: where they come from, and that they are never shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest

from zicht.errors import ConfigurationError
from zicht.keys import key_of

KEY = "k" * 20 + "@:/%é" + "7" * 20
PLAIN, CONNECTION = "ZICHT_KEY_DEMO", "AIRFLOW_CONN_ZICHT_KEY_DEMO"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (PLAIN, KEY),
        (CONNECTION, f"generic://:{quote(KEY, safe='')}@"),
        (CONNECTION, f"generic://login:{quote(KEY, safe='')}@host/schema?extra=1"),
        (CONNECTION, json.dumps({"conn_type": "generic", "password": KEY})),
    ],
)
def test_every_form_gives_the_same_key(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert key_of("demo") == KEY.encode()


@pytest.mark.parametrize("value", ["", "{not json", "[]", "generic://host", "http://[", "short"])
def test_a_connection_without_a_key_falls_back(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(CONNECTION, value)
    with pytest.raises(ConfigurationError):
        key_of("demo")
    monkeypatch.setenv(PLAIN, KEY)
    assert key_of("demo") == KEY.encode()


@pytest.mark.parametrize("value", [None, "secret-but-short", "x" * 31])
def test_a_missing_or_short_key_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv(PLAIN, value)
    with pytest.raises(ConfigurationError) as caught:
        key_of("demo")
    assert caught.value.code == "Z-CFG-051"
    assert "zicht_key_demo" in caught.value.remedy
    assert value is None or value not in str(caught.value)


def test_the_remedy_makes_a_key_that_does() -> None:
    with pytest.raises(ConfigurationError) as caught:
        key_of("demo")
    command = caught.value.remedy.split('python -c "')[1].split('"')[0]
    made = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert len(made) >= 32


def test_airflow_is_not_imported_for_it() -> None:
    code = (
        "import sys; from zicht.keys import key_of; key_of('demo'); "
        "sys.exit(any(name.split('.')[0] == 'airflow' for name in sys.modules))"
    )
    environment = {**os.environ, CONNECTION: f"generic://:{'k' * 32}@"}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
