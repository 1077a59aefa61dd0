"""The wall and its policies: what may pass, and that everything else is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml

from support import PROJECT
from zicht.attacker import attack, make_table, parse_spec
from zicht.attacker.published import Structure
from zicht.disclosure.policies import Kind, Method, Policy, load_policies, load_policy
from zicht.disclosure.protecting import Released
from zicht.disclosure.wall import (
    REST,
    SHARE,
    SPLIT,
    Output,
    pass_public,
    protect,
    require_public,
)
from zicht.errors import ConfigurationError, DisclosureError

FOLDER = PROJECT / "expectations" / "policies"


def policy(
    kind: Kind = Kind.PUBLIC, method: Method = Method.AS_PUBLISHED, **protection: Any
) -> Policy:
    base = 100.0 if method is Method.ROUND else None
    least = None if method is Method.AS_PUBLISHED else 10
    levels = ("municipality",)
    return Policy("p", frozenset({kind}), method, least, base, levels, "b", {"nl": "x"}, protection)


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
    pass_public(cells, policy(), "cells", "protected")
    rows = cells.execute("from protected order by region_code").fetchall()
    assert rows == [(None, "GM0014", False, None), (3.0, "GM0363", False, None)]


def test_a_policy_for_another_kind_lets_nothing_pass(cells: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(DisclosureError, match="policy p is not meant") as caught:
        pass_public(cells, policy(Kind.COUNTS), "cells", "protected")
    assert (caught.value.code, caught.value.exit_status) == ("Z-DIS-001", 7)
    assert cells.execute("from protected").fetchall() == []


def output(kind: Kind, own: Policy, **columns: Any) -> Output:
    """Three municipalities in one province, with the columns that the kind needs."""
    frame = pd.DataFrame({"mun": ["A", "B", "C"], "prov": ["P", "P", "P"], **columns})
    dimensions = {"mun": {"hierarchies": [["mun", "prov"]], "total": "NL"}}
    return Output("t", kind, own, frame, dimensions, per=100.0, decimals=1)


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.PUBLIC])
def test_no_other_kind_passes_as_published(kind: Kind) -> None:
    with pytest.raises(DisclosureError) as caught:
        protect(output(kind, policy(kind), value=[1, 2, 3]))
    assert caught.value.code == "Z-DIS-002"
    assert caught.value.remedy


def test_counts_are_suppressed_with_what_would_give_them_away() -> None:
    own = policy(Kind.COUNTS, Method.SUPPRESS)
    passed = protect(output(Kind.COUNTS, own, value=[3, 40, 500]))
    found = passed.cells.set_index("mun")
    assert found.loc["NL", "value"] == found.loc["P", "value"] == 543
    # The small one, and the cheapest other one: else it is the total minus what is shown.
    assert set(found.index[found["obs_status"] == "Q"]) == {"A", "B"}
    assert found.loc[["A", "B"], "value"].isna().all()
    assert set(passed.internal["mun"]) == {"A", "B"}
    assert found.loc["A", "explanation"] != found.loc["B", "explanation"]


def test_counts_of_incomes_are_rounded() -> None:
    own = policy(Kind.COUNTS, Method.ROUND, income={"minimum_units": 100})
    passed = protect(output(Kind.COUNTS, own, value=[320, 4_049, 51]))
    found = passed.cells.set_index("mun")["value"].to_dict()
    assert found == {"A": 300, "B": 4_000, "C": 100, "P": 4_400, "NL": 4_400}


def test_rates_rest_on_enough_and_say_no_more_than_their_counts() -> None:
    own = policy(Kind.RATES, Method.ROUND, minimum_denominator=100)
    passed = protect(
        output(Kind.RATES, own, numerator=[320, 4_049, 51], denominator=[4_000, 50_000, 99])
    )
    found = passed.cells.set_index("mun")
    assert found.loc["C", "obs_status"] == "Q"
    assert found.loc["C", "explanation"] == "minimum_denominator"
    # 320 of 4,000 is published as 300, so anything from 250 to 349: 8.0% would say 318 to 322.
    assert found.loc["A", "value"] == 10.0
    # 4,420 of 54,099: 8.2% would say 4,409 to 4,463, which is narrower than 4,350 to 4,449.
    assert found.loc["NL", "value"] == 8.0


def test_a_sum_that_one_contributor_makes_is_hidden() -> None:
    own = policy(Kind.MAGNITUDES, Method.SUPPRESS)
    passed = protect(
        output(
            Kind.MAGNITUDES,
            own,
            value=[1_000.0, 2_000.0, 3_000.0],
            largest=[950.0, 100.0, 150.0],
            second_largest=[20.0, 90.0, 140.0],
            n_contributors=[20, 40, 50],
        )
    )
    found = passed.cells.set_index("mun")
    assert found.loc["A", "obs_status"] == "Q"
    assert (found["obs_status"] == "Q").sum() == 2
    assert found.loc["NL", "value"] == 6_000


def test_a_row_of_a_model_rests_on_enough_units() -> None:
    own = Policy(
        "m",
        frozenset({Kind.MODELLED}),
        Method.ROUND,
        None,
        None,
        ("municipality",),
        "b",
        {"nl": "x"},
        {"minimum_n": 10, "significant_digits": 2},
    )
    passed = protect(
        output(Kind.MODELLED, own, value=[1.2345, 2.5, 0.071], n_contributors=[9, 10, 4_000])
    )
    found = passed.cells.set_index("mun")
    assert found["obs_status"].tolist() == ["Q", "A", "A"]
    assert found["value"].tolist()[1:] == [2.5, 0.071]


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


def test_many_units_of_few_contributors_are_a_small_count() -> None:
    """Twelve cases of one person are shown as little as one case of one."""
    own = policy(Kind.COUNTS, Method.SUPPRESS, protection="exact", attacker="informed")
    counts = {"value": [12, 30, 40], "n_contributors": [1, 30, 40]}
    status = dict(protect(output(Kind.COUNTS, own, **counts)).cells[["mun", "obs_status"]].values)
    assert (status["A"], status["NL"]) == ("Q", "A")
    counts["n_contributors"] = [12, 30, 40]
    status = dict(protect(output(Kind.COUNTS, own, **counts)).cells[["mun", "obs_status"]].values)
    assert set(status.values()) == {"A"}


def test_rounding_does_not_pass_many_units_of_few_contributors() -> None:
    own = policy(Kind.COUNTS, Method.ROUND, rounding={"mode": "conventional"})
    counts = {"value": [230, 300, 400], "n_contributors": [1, 150, 200]}
    with pytest.raises(DisclosureError, match="A counts 230 of fewer than 10") as caught:
        protect(output(Kind.COUNTS, own, **counts))
    assert caught.value.code == "Z-DIS-040"


def test_of_a_rate_the_parts_go_along_and_tie_the_next_one() -> None:
    """A numerator that was hidden stays hidden, although it grew past the threshold."""
    own = policy(Kind.RATES, Method.SUPPRESS, protection="exact", attacker="informed")
    columns = {"denominator": [1000, 1000, 1000], "n_contributors": [1000, 1000, 1000]}
    first = protect(output(Kind.RATES, own, numerator=[4, 30, 40], **columns))
    hidden = set(first.cells.loc[first.cells["obs_status"] == "Q", "mun"])
    assert "A" in hidden
    parts = first.parts["numerator"]
    assert set(parts.loc[parts["obs_status"] == "Q", "mun"]) == hidden
    structure = pd.DataFrame(
        [("mun", "mun", code, "prov", "P") for code in "ABC"],
        columns=["dimension", "level", "code", "parent_level", "parent"],
    )
    released = {name: [Released.read(part, structure)] for name, part in first.parts.items()}
    grown = output(Kind.RATES, own, numerator=[14, 30, 40], **columns)
    again = protect(grown, released).cells
    assert "A" in set(again.loc[again["obs_status"] == "Q", "mun"])
    fresh = protect(grown).cells
    assert set(fresh["obs_status"]) == {"A"}


EXACT = {"protection": "exact", "attacker": "informed"}
FEW_ARE_NOT = {"numerator": [57, 400, 30], "denominator": [60, 1000, 100]}


def share(own: Policy, **parts: list[int]) -> Output:
    return replace(output(Kind.RATES, own, **parts), is_share=True)


def as_attacked(cells: pd.DataFrame) -> Any:
    """The table behind a share as gate 4 reads it, with the rules that the public knows."""
    spec = parse_spec(
        {
            "dimensions": {
                "mun": {"hierarchies": [["mun", "prov"]], "total": "NL"},
                SPLIT: {"total": "total"},
            },
            "policy": {"minimum_frequency": 10, **EXACT},
        }
    )
    inside = {("mun", "prov"): dict.fromkeys("ABC", "P")}
    regions = Structure({"mun": ("A", "B", "C"), "prov": ("P",)}, inside)
    columns = {name: cells[name].tolist() for name in ("mun", SPLIT, "obs_status")}
    values = [None if pd.isna(value) else int(value) for value in cells["value"]]
    return make_table({**columns, "value": values}, spec, {"mun": regions})


def test_a_share_hides_those_who_are_not_counted_too() -> None:
    """57 of 60 is 95%, and says that three are not."""
    own = policy(Kind.RATES, Method.SUPPRESS, **EXACT)
    passed = protect(share(own, **FEW_ARE_NOT))
    status = dict(passed.cells[["mun", "obs_status"]].values)
    assert status["A"] == "Q"
    assert status["P"] == "A"
    cells = passed.parts[SHARE]
    shown = cells["obs_status"] == "A"
    assert not cells.loc[shown, "value"].between(1, 9).any()
    # A rate is shown exactly where what is counted and the whole are.
    both = cells[shown & (cells[SPLIT] != REST)].groupby("mun").size()
    assert set(both.index[both == 2]) == {code for code, one in status.items() if one == "A"}
    assert attack([as_attacked(cells)]).is_safe
    # Of other units nothing is left over, and there is nothing to hide.
    apart = protect(output(Kind.RATES, own, **FEW_ARE_NOT))
    assert set(apart.cells["obs_status"]) == {"A"}


def test_the_attacker_finds_the_complement_of_a_share() -> None:
    own = policy(Kind.RATES, Method.SUPPRESS, **EXACT)
    careless = protect(share(replace(own, minimum_frequency=1), **FEW_ARE_NOT)).parts[SHARE]
    planted = careless.assign(obs_status=careless["obs_status"].where(careless[SPLIT] != REST, "Q"))
    planted["value"] = planted["value"].where(planted[SPLIT] != REST)
    for cells, kind in ((careless, "shown_small"), (planted, "exact")):
        found = attack([as_attacked(cells)]).findings
        assert kind in {one.kind.value for one in found if one.key == {"mun": "A", SPLIT: REST}}


def test_a_share_is_as_coarse_as_its_complement_asks() -> None:
    """5,289 are not: shown as 5,300, of which 88.3% would leave less open than hundreds do."""
    own = policy(Kind.RATES, Method.ROUND, minimum_denominator=100)
    parts = {"numerator": [39_946, 39_990, 4_049], "denominator": [45_235, 40_000, 50_000]}
    apart = protect(output(Kind.RATES, own, **parts)).cells.set_index("mun")["value"]
    assert apart[["A", "B", "C"]].tolist() == [88.3, 100, 8]
    whole = protect(share(own, **parts)).cells.set_index("mun")
    assert whole.loc[["A", "C"], "value"].tolist() == [88, 8]
    # All would pass for all, as none passes for none.
    assert whole.loc["B", "obs_status"] == "Q"
