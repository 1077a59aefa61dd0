"""Vintages: equal inputs, equal vintage; any other input, another one; the past stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import PROJECT
from zicht.catalogue import Alignment, Catalogue, Cube, Input, Mart
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import Record
from zicht.deliveries.package import ObservationStatus
from zicht.periods import Cadence, Period
from zicht.vintages import Pair, Plan, align, make_plan

START = datetime(2025, 1, 1, tzinfo=UTC)
CONTRACTS: dict[str, Contract] = load_contracts(PROJECT / "expectations" / "contracts")
CRIME, MEASURES = "cbs_crime", "cbs_measures"
SAME = Alignment.SAME_PERIOD


def cube(name: str, *sources: str, **fields: Any) -> Cube:
    return replace(Cube(name, tuple(Input(s, SAME) for s in sources), "def", "geo"), **fields)


CATALOGUE = Catalogue(
    cubes={"c": cube("c", CRIME), "both": cube("both", CRIME, MEASURES)},
    marts={
        "m": Mart("m", ("c",), "def", "geo", {}),
        "two": Mart("two", ("both", "c"), "def", "geo", {}),
    },
    staging=(),
    dimensions=(),
)


def record(source: str, year: int, day: int, number: int = 0, **fields: Any) -> Record:
    values: dict[str, Any] = {
        "id": f"{source}-{year}-{number}",
        "source": source,
        "reference_period": Period(year, 1, Cadence.YEARLY),
        "observation_status": ObservationStatus.FINAL,
        "delivered_at": START + timedelta(days=day),
        "accepted_at": START + timedelta(days=day),
        "is_archive": False,
        "supersedes": None,
        "content_hash": f"hash of {number}",
        "contract_version": "1.0.0",
        "rows": {},
    }
    return Record(**{**values, **fields})


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from([CRIME, MEASURES]),
        st.integers(2022, 2025),
        st.integers(0, 30),
        st.integers(0, 4),
        observation_status=st.sampled_from(ObservationStatus),
    ),
    max_size=12,
    unique_by=lambda r: r.id,
)


def plan(records: list[Record], day: int = 99, **fields: Any) -> Plan:
    """The plan ``day`` days after the start, with nothing built."""
    now = START + timedelta(days=day)
    arguments: dict[str, Any] = {
        "now": now,
        "as_of": None,
        "geo_year": 2025,
        "built": {},
        "catalogue": CATALOGUE,
        **fields,
    }
    return make_plan(arguments.pop("catalogue"), CONTRACTS, records, **arguments)


def vintages(made: Plan) -> dict[tuple[str, str], str]:
    return {(p.model, str(p.reference_period)): p.vintage for p in (*made.cubes, *made.marts)}


@given(RECORDS, st.randoms())
def test_the_order_of_the_ledger_makes_no_difference(records: list[Record], random: Any) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    assert plan(shuffled) == plan(records)
    assert plan(shuffled).digest == plan(records).digest


@given(RECORDS, st.integers(0, 30))
def test_what_comes_later_never_changes_what_was_known(records: list[Record], day: int) -> None:
    moment = START + timedelta(days=day)
    known = [r for r in records if r.known_at <= moment]
    assert plan(records, as_of=moment) == plan(known, as_of=moment)
    assert vintages(plan(records, as_of=moment)) == vintages(plan(known, day))


@given(RECORDS)
def test_every_pair_follows_from_its_own_period(records: list[Record]) -> None:
    made = plan(records)
    for pair in (*made.cubes, *made.marts):
        assert {r.reference_period for r in pair.deliveries} == {pair.reference_period}
        assert pair.known_at == max(r.accepted_at for r in pair.deliveries)
        assert pair.lag_days == max(r.lag_days for r in pair.deliveries)
    by_cube = {(pair.model, pair.reference_period): pair for pair in made.cubes}
    for mart in made.marts:
        assert {
            name: by_cube[(name, mart.reference_period)].vintage for name in mart.cubes
        } == mart.cubes
    assert len(vintages(made)) == len(made.cubes) + len(made.marts)
    assert len({p.vintage for p in made.cubes}) == len(made.cubes)


BOTH = [record(CRIME, 2024, 0), record(MEASURES, 2024, 1)]


def test_a_cube_waits_for_all_its_inputs() -> None:
    assert set(vintages(plan(BOTH[:1]))) == {("c", "2024"), ("m", "2024")}
    assert set(vintages(plan(BOTH[1:]))) == set()
    assert set(vintages(plan(BOTH))) == {(m, "2024") for m in ("c", "both", "m", "two")}


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "other"},
        {"content_hash": "other"},
        {"observation_status": ObservationStatus.PROVISIONAL},
        {"contract_version": "1.0.1"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_another_delivery_makes_another_vintage(fields: dict[str, Any]) -> None:
    before, after = vintages(plan(BOTH)), vintages(plan([replace(BOTH[0], **fields), BOTH[1]]))
    assert set(before) == set(after)
    assert all(before[key] != after[key] for key in before)


def test_when_it_was_accepted_makes_no_other_vintage() -> None:
    later = [replace(r, accepted_at=r.accepted_at + timedelta(days=1)) for r in BOTH]
    assert vintages(plan(later)) == vintages(plan(BOTH))


def test_a_further_delivery_makes_another_vintage_of_its_period_only() -> None:
    old = [*BOTH, record(CRIME, 2023, 0)]
    before = vintages(plan(old))
    after = vintages(plan([*old, record(CRIME, 2024, 5, 1)]))
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {(model, "2024") for model in ("c", "both", "m", "two")}


@pytest.mark.parametrize("fields", [{"definition": "other"}, {"geography": "other"}])
def test_another_cube_makes_another_vintage(fields: dict[str, str]) -> None:
    other = replace(
        CATALOGUE, cubes={**CATALOGUE.cubes, "both": replace(CATALOGUE.cubes["both"], **fields)}
    )
    before, after = vintages(plan(BOTH)), vintages(plan(BOTH, catalogue=other))
    assert {m for m, _ in before if before[(m, "2024")] != after[(m, "2024")]} == {"both", "two"}


@pytest.mark.parametrize("fields", [{"definition": "other"}, {"geography": "other"}])
def test_another_mart_makes_another_vintage_of_the_mart(fields: dict[str, str]) -> None:
    other = replace(
        CATALOGUE, marts={**CATALOGUE.marts, "m": replace(CATALOGUE.marts["m"], **fields)}
    )
    before, after = vintages(plan(BOTH)), vintages(plan(BOTH, catalogue=other))
    assert {m for m, _ in before if before[(m, "2024")] != after[(m, "2024")]} == {"m"}


def test_another_geography_year_makes_other_vintages_of_everything() -> None:
    before, after = vintages(plan(BOTH)), vintages(plan(BOTH, geo_year=2024))
    assert all(before[key] != after[key] for key in before)


def test_a_period_after_the_geography_year_is_left_out() -> None:
    assert plan(BOTH, geo_year=2023).cubes == ()


def test_a_source_without_a_contract_is_left_out() -> None:
    assert plan([record("gone", 2024, 0)]).cubes == ()


@given(RECORDS, st.randoms())
def test_only_what_is_not_built_is_missing(records: list[Record], random: Any) -> None:
    everything = plan(records)
    assert everything.missing == everything.cubes
    built: dict[str, set[tuple[str, str]]] = {}
    for pair in everything.cubes:
        if random.random() < 0.5:
            built.setdefault(pair.model, set()).add((str(pair.reference_period), pair.vintage))
    made = plan(records, built=built)
    assert (made.cubes, made.marts, made.digest) == (
        everything.cubes,
        everything.marts,
        everything.digest,
    )
    there = {(model, *pair) for model, pairs in built.items() for pair in pairs}

    def key(pair: Pair) -> tuple[str, str, str]:
        return pair.model, str(pair.reference_period), pair.vintage

    assert [key(p) for p in made.missing] == [key(p) for p in made.cubes if key(p) not in there]
    planned = made.variables()["plan"]["cubes"]
    assert sum(len(pairs) for pairs in planned.values()) == len(made.missing)


def test_the_variables_say_what_dbt_needs() -> None:
    variables = plan(BOTH).variables()
    assert variables["geo_year"] == 2025
    (pair,) = variables["plan"]["cubes"]["both"]
    assert [(d["source"], d["id"], d["status"]) for d in pair["deliveries"]] == [
        (CRIME, "cbs_crime-2024-0", "final"),
        (MEASURES, "cbs_measures-2024-0", "final"),
    ]
    (mart,) = variables["plan"]["marts"]["two"]
    assert set(mart["cubes"]) == {"both", "c"}
    assert mart["cubes"]["both"] == pair["vintage"]
    assert mart["known_at"] == "2025-01-02T00:00:00Z"
    assert mart["lag_days"] == 2


@pytest.mark.parametrize(
    ("period", "alignment", "cadence", "expected"),
    [
        ("2024-Q3", Alignment.SAME_PERIOD, Cadence.QUARTERLY, "2024-Q3"),
        ("2024-Q3", Alignment.SAME_PERIOD, Cadence.YEARLY, "2024"),
        ("2024-Q3", Alignment.STOCK_1_JANUARY, Cadence.YEARLY, "2024"),
        ("2024", Alignment.SAME_PERIOD, Cadence.YEARLY, "2024"),
    ],
)
def test_alignment(period: str, alignment: Alignment, cadence: Cadence, expected: str) -> None:
    assert str(align(Period.parse(period), alignment, cadence)) == expected
