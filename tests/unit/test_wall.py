"""The wall and its policies: what may pass, and that everything else is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from support import PROJECT
from zicht.disclosure.policies import Kind, Method, Policy, load_policies, load_policy
from zicht.disclosure.wall import protect, require_public
from zicht.errors import ConfigurationError, DisclosureError

FOLDER = PROJECT / "expectations" / "policies"


def policy(kind: Kind = Kind.PUBLIC, method: Method = Method.AS_PUBLISHED) -> Policy:
    return Policy("p", frozenset({kind}), method, 10, None, ("municipality",), "b", {"nl": "x"})


@pytest.fixture
def cells() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "create table cells as select * from (values ('GM0363', 3.0), ('GM0014', null)) "
        "as t(region_code, value)"
    )
    connection.execute(
        "create table protected (value double, region_code varchar, is_suppressed boolean, "
        "explanation varchar)"
    )
    return connection


def test_public_figures_pass_as_they_are(cells: duckdb.DuckDBPyConnection) -> None:
    protect(cells, policy(), Kind.PUBLIC, "cells", "protected")
    rows = cells.execute("from protected order by region_code").fetchall()
    assert rows == [(None, "GM0014", False, None), (3.0, "GM0363", False, None)]


def test_a_policy_for_another_kind_lets_nothing_pass(cells: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DisclosureError, match="policy p is not meant") as caught:
        protect(cells, policy(Kind.COUNTS), Kind.PUBLIC, "cells", "protected")
    assert (caught.value.code, caught.value.exit_status) == ("Z-DIS-001", 7)
    assert cells.execute("from protected").fetchall() == []


CLOSED = [way for way in product(Kind, Method) if way != (Kind.PUBLIC, Method.AS_PUBLISHED)]
"""All ways through the wall but the one that is open."""


@pytest.mark.parametrize(("kind", "method"), CLOSED)
def test_what_has_no_protection_yet_does_not_pass(
    cells: duckdb.DuckDBPyConnection, kind: Kind, method: Method
) -> None:
    with pytest.raises(DisclosureError) as caught:
        protect(cells, policy(kind, method), kind, "cells", "protected")
    assert caught.value.code == "Z-DIS-002"
    assert caught.value.remedy
    assert cells.execute("from protected").fetchall() == []


def test_a_label_is_no_way_around_the_wall() -> None:
    require_public("i", Kind.PUBLIC, {"a": "public", "b": "public"})
    with pytest.raises(DisclosureError, match="i") as caught:
        require_public("i", Kind.PUBLIC, {"a": "public", "b": "counts"})
    assert caught.value.code == "Z-DIS-003"
    assert "b" in caught.value.message
    for sources in ({"no contract at all": ""}, {}):
        with pytest.raises(DisclosureError) as caught:
            require_public("i", Kind.PUBLIC, sources)
        assert caught.value.code == "Z-DIS-003"
    require_public("i", Kind.COUNTS, {"a": "counts"})


def test_the_policies_of_the_project() -> None:
    policies = load_policies(FOLDER)
    assert set(policies) >= {"public", "default"}
    assert policies["public"].region_levels == ("country", "municipality")
    assert policies["default"].minimum_frequency == 10
    for name, one in policies.items():
        assert one.basis, name
        assert set(one.text) == {"nl", "en"}
        assert one.to_parameters()["id"] == name
        assert not {"neighbourhood", "district"} & set(one.region_levels)


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": ["gossip"]},
        {"method": "hope"},
        {"region_levels": None},
        {"text": {"nl": "alleen Nederlands"}},
        {"basis": ...},
        {"id": "other"},
    ],
)
def test_a_policy_that_is_wrong_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    document = {**yaml.safe_load((FOLDER / "public.yaml").read_text()), **change}
    document = {key: value for key, value in document.items() if value is not ...}
    path = tmp_path / "public.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError, match=r"public\.yaml") as caught:
        load_policy(path)
    assert caught.value.code == "Z-CFG-040"
