"""The child that imports dbt once: what it forks, what it does with damage, and that it ends."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from support import settings_at, share_manifest, silent
from zicht.errors import TransformError
from zicht.settings import Settings
from zicht.transform import DbtServer, build, dbt_server

SEEDS = ["resource_type:seed"]
NO_PLAN: dict[str, Any] = {"geo_year": 2025, "plan": {"cubes": {}, "marts": {}, "staging": []}}


@pytest.fixture
def home(settings: Settings) -> Settings:
    """An installation that need not parse the project."""
    share_manifest(settings)
    return settings


def count_of_codes(settings: Settings) -> int:
    """Rows of a seed; opened for writing, so it fails while a dbt holds the warehouse."""
    with duckdb.connect(str(settings.warehouse)) as connection:
        return int(connection.execute("select count(*) from geography_codes").fetchall()[0][0])


def test_one_server_serves_several_installations(home: Settings) -> None:
    build(home, SEEDS, NO_PLAN, silent, all_tests=False)
    server = dbt_server()
    other = settings_at(home.home.parent / "other")
    share_manifest(other)
    build(other, SEEDS, NO_PLAN, silent, all_tests=False)
    assert dbt_server() is server
    assert count_of_codes(home) == count_of_codes(other) > 400


def test_a_fault_in_the_plan_names_the_model(home: Settings) -> None:
    cube = "cube_open_data__crime"
    pair = {"reference_period": "2031", "vintage": "x", "deliveries": []}
    plan = {"cubes": {cube: [pair]}, "marts": {}, "staging": []}
    with pytest.raises(TransformError, match="Z-DBT-010") as caught:
        build(home, [cube], {"geo_year": 2025, "plan": plan}, silent, all_tests=False)
    assert f"models/cubes/open_data/{cube}.sql" in str(caught.value)


def test_a_damaged_parse_is_made_again(home: Settings) -> None:
    (stored,) = home.dbt_target.glob("parsed-*.msgpack")
    stored.write_bytes(b"\x81half")
    build(home, SEEDS, NO_PLAN, silent, all_tests=False)
    assert count_of_codes(home) > 400


def test_whoever_is_stopped_leaves_no_dbt_behind(home: Settings) -> None:
    build(home, SEEDS, NO_PLAN, silent, all_tests=False)
    server = dbt_server()

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(home, SEEDS, NO_PLAN, stop, all_tests=False)
    assert not server.serves
    assert count_of_codes(home) > 0
    build(home, SEEDS, NO_PLAN, silent, all_tests=False)


def test_a_server_that_dies_says_so_and_is_replaced(home: Settings) -> None:
    server = DbtServer()
    request = {"command": ["parse"], "options": [], "directory": "/no/such/folder"}
    end = server.ask(request, lambda node: None)
    assert "success" not in end
    assert any("/no/such/folder" in line for line in end["noise"])
    assert not server.serves
