"""Vintages: equal inputs, equal vintage; any other input, another one; the past stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import PROJECT
from zicht.agreements import Agreement
from zicht.catalogue import Alignment, Catalogue, Cube, Input, Mart
from zicht.contracts import Contract, load_contracts
from zicht.deliveries.ledger import Record
from zicht.deliveries.package import ObservationStatus
from zicht.errors import ConfigurationError
from zicht.periods import Cadence, Period
from zicht.refresh.geography import seed_digest
from zicht.vintages import Pair, Plan, Withheld, Withholding, align, make_plan

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
        ("2024-06", Alignment.SAME_PERIOD, Cadence.QUARTERLY, "2024-Q2"),
        ("2024-07", Alignment.SAME_PERIOD, Cadence.QUARTERLY, "2024-Q3"),
        ("2024-12", Alignment.STOCK_1_JANUARY, Cadence.YEARLY, "2024"),
        ("2024-Q3", Alignment.SAME_PERIOD, Cadence.YEARLY, "2024"),
        ("2024-Q3", Alignment.STOCK_1_JANUARY, Cadence.YEARLY, "2024"),
        ("2024", Alignment.SAME_PERIOD, Cadence.YEARLY, "2024"),
    ],
)
def test_alignment(period: str, alignment: Alignment, cadence: Cadence, expected: str) -> None:
    assert str(align(Period.parse(period), alignment, cadence)) == expected


QUARTERLY, STOCK = "police", "people"
"""A register by quarter, and a stock on 1 January; both need an agreement."""


def register(name: str, cadence: Cadence, first: str, lag_days: int) -> Contract:
    return replace(
        CONTRACTS[CRIME],
        source=name,
        kind="microdata",
        cadence=cadence,
        first_period=Period.parse(first),
        lag_days=lag_days,
    )


REGISTERS = {
    QUARTERLY: register(QUARTERLY, Cadence.QUARTERLY, "2015-Q1", 90),
    STOCK: register(STOCK, Cadence.YEARLY, "2023", 30),
    CRIME: CONTRACTS[CRIME],
}
AGREEMENT = Agreement(
    id="a",
    title={"nl": "a", "en": "a"},
    parties=("p",),
    purpose="p",
    legal_basis="l",
    sources=(QUARTERLY, STOCK),
    themes=("t",),
    valid_from=date(2023, 1, 1),
    valid_until=date(2025, 12, 31),
    retention_days=365,
    path=Path("a.yaml"),
)
ALIGNED = Catalogue(
    cubes={
        "cube_t__q": cube("cube_t__q", QUARTERLY),
        "cube_t__y": cube("cube_t__y", STOCK),
    },
    marts={
        "per_head": Mart(
            "per_head",
            ("cube_t__q", "cube_t__y"),
            "def",
            "geo",
            {"theme": "t"},
            alignment={"cube_t__y": Alignment.STOCK_1_JANUARY},
        )
    },
    staging=(f"stg_{QUARTERLY}__x", f"stg_{STOCK}__x", f"stg_{CRIME}__x"),
    dimensions=(),
)


def registers(*periods: tuple[str, str]) -> list[Record]:
    return [
        record(source, 2024, 0, id=f"{source}-{text}", reference_period=Period.parse(text))
        for source, text in periods
    ]


def aligned(records: list[Record], **fields: Any) -> Plan:
    arguments: dict[str, Any] = {
        "now": START + timedelta(days=99),
        "as_of": None,
        "geo_year": 2025,
        "built": {},
        "agreements": {"a": AGREEMENT},
        **fields,
    }
    catalogue = arguments.pop("catalogue", ALIGNED)
    return make_plan(catalogue, arguments.pop("contracts", REGISTERS), records, **arguments)


def test_a_stock_serves_the_quarters_of_its_year() -> None:
    made = aligned(
        registers((QUARTERLY, "2024-Q1"), (QUARTERLY, "2024-Q2"), (STOCK, "2024"), (STOCK, "2023"))
    )
    assert [str(pair.reference_period) for pair in made.marts] == ["2024-Q1", "2024-Q2"]
    shown = made.variables()["plan"]["marts"]["per_head"]
    assert [pair["periods"] for pair in shown] == [
        {"cube_t__q": "2024-Q1", "cube_t__y": "2024"},
        {"cube_t__q": "2024-Q2", "cube_t__y": "2024"},
    ]
    assert len({pair["cubes"]["cube_t__y"] for pair in shown}) == 1
    assert made.awaited == ()


def test_what_is_not_there_yet_is_awaited_and_never_another_period() -> None:
    """The stock of 2024 is no answer for a quarter of 2025, nor for one of 2023.

    And before the first stock that was ever delivered, none is awaited.
    """
    stocks = [(STOCK, "2022"), (STOCK, "2024")]
    quarters = [(QUARTERLY, "2025-Q1"), (QUARTERLY, "2023-Q4"), (QUARTERLY, "2021-Q4")]
    made = aligned(registers(*quarters, *stocks))
    assert made.marts == ()
    assert [
        (str(pair.reference_period), [(a.source, str(a.period)) for a in pair.awaits])
        for pair in made.awaited
    ] == [("2023-Q4", [(STOCK, "2023")]), ("2025-Q1", [(STOCK, "2025")])]
    (awaited,) = made.awaited[1].awaits
    assert awaited.expected_on == REGISTERS[STOCK].due(awaited.period)
    complete = aligned(registers((QUARTERLY, "2025-Q1"), (STOCK, "2025")))
    assert complete.marts[0].vintage != made.awaited[1].vintage
    assert complete.digest != made.digest


def test_what_the_contract_does_not_cover_is_not_awaited() -> None:
    """The stock begins in 2023: the quarters of 2022 have no denominator, and never will."""
    made = aligned(registers((QUARTERLY, "2022-Q4"), (STOCK, "2024")))
    assert made.awaited == made.marts == ()


def test_what_was_destroyed_is_not_awaited() -> None:
    gone = {(STOCK, Period.parse("2024"))}
    made = aligned(registers((QUARTERLY, "2024-Q4"), (QUARTERLY, "2025-Q1")), destroyed=gone)
    assert [str(pair.reference_period) for pair in made.awaited] == ["2025-Q1"]


def test_a_period_begins_with_the_source_that_sets_it() -> None:
    """A stock alone promises no quarters."""
    made = aligned(registers((STOCK, "2024")))
    assert made.awaited == made.marts == ()


def yearly_with(one: Input) -> Catalogue:
    """A catalogue of one yearly cube and mart that also rests on a quarterly source."""
    cube = Cube("cube_t__x", (Input(STOCK, SAME), one), "d", "g")
    mart = replace(next(iter(ALIGNED.marts.values())), cubes=("cube_t__x",), alignment={})
    return replace(ALIGNED, cubes={"cube_t__x": cube}, marts={mart.name: mart})


@pytest.mark.parametrize(
    ("one", "delivered", "used", "awaited"),
    [
        (Input(QUARTERLY, Alignment.END_OF_PERIOD), "3 4", "4", ""),
        (Input(QUARTERLY, Alignment.END_OF_PERIOD), "3", "", "4"),
        (Input(QUARTERLY, Alignment.WITHIN_PERIOD), "1 2 3 4", "1 2 3 4", ""),
        (Input(QUARTERLY, Alignment.WITHIN_PERIOD), "1 2 4", "", "3"),
        (Input(QUARTERLY, Alignment.TRAILING, 3, 2), "1 2 3 4", "2 3 4", ""),
        (Input(QUARTERLY, Alignment.TRAILING, 4, 2), "1 3 4", "3 4", ""),
        (Input(QUARTERLY, Alignment.TRAILING, 4, 3), "1 3 4", "", "2"),
        (Input(QUARTERLY, Alignment.TRAILING, 4, 3), "3 4", "", ""),
    ],
)
def test_a_longer_period_takes_the_quarters_that_belong_to_it(
    one: Input, delivered: str, used: str, awaited: str
) -> None:
    quarters = [(QUARTERLY, f"2024-Q{n}") for n in delivered.split()]
    made = aligned(registers((STOCK, "2024"), *quarters), catalogue=yearly_with(one))
    of_cubes = {
        str(r.reference_period)[-1]
        for pair in made.cubes
        for r in pair.deliveries
        if r.source == QUARTERLY
    }
    assert of_cubes == set(used.split())
    assert {str(a.period)[-1] for pair in made.awaited for a in pair.awaits} == set(awaited.split())
    assert bool(made.marts) == bool(used)


@pytest.mark.parametrize(
    ("source", "alignment", "says"),
    [(QUARTERLY, Alignment.SAME_PERIOD, "quarterly"), (QUARTERLY, Alignment.STOCK_1_JANUARY, "as")],
)
def test_an_input_with_shorter_periods_is_refused(
    source: str, alignment: Alignment, says: str
) -> None:
    wrong = Cube("cube_t__x", (Input(STOCK, SAME), Input(source, alignment)), "d", "g")
    catalogue = replace(ALIGNED, cubes={"cube_t__x": wrong}, marts={})
    with pytest.raises(ConfigurationError, match=says) as caught:
        aligned(registers((STOCK, "2024")), catalogue=catalogue)
    assert caught.value.code == "Z-CFG-034"


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [
        (None, [Withheld(QUARTERLY, None, Withholding.NO_AGREEMENT, None)]),
        (
            replace(AGREEMENT, valid_until=date(2025, 4, 9)),
            [Withheld(QUARTERLY, None, Withholding.ENDED, date(2025, 4, 10))],
        ),
        (
            replace(AGREEMENT, valid_from=date(2025, 4, 11)),
            [Withheld(QUARTERLY, None, Withholding.NOT_BEGUN, None)],
        ),
        (
            replace(AGREEMENT, themes=("other",)),
            [Withheld(QUARTERLY, "t", Withholding.NO_AGREEMENT, None)],
        ),
    ],
    ids=["none", "ended", "not begun", "other theme"],
)
def test_without_an_agreement_nothing_is_processed(
    agreement: Agreement | None, expected: list[Withheld]
) -> None:
    """It is 10 April 2025; looking at the past does not make it an earlier day."""
    agreements = {"a": agreement} if agreement else {}
    records = registers((QUARTERLY, "2024-Q1"))
    for as_of in (None, START + timedelta(days=50)):
        made = aligned(records, agreements=agreements, as_of=as_of)
        assert made.cubes == made.marts == made.awaited == ()
        assert list(made.withheld) == expected
    staged = [r.id for r in aligned(records, agreements=agreements).staging]
    assert staged == ([records[0].id] if expected[0].theme else [])
    assert aligned(records, agreements={"a": AGREEMENT}).withheld == ()


def test_what_is_public_needs_no_agreement() -> None:
    made = aligned(registers((CRIME, "2024")), agreements={})
    assert [r.source for r in made.staging] == [CRIME]
    assert made.withheld == ()


def test_each_delivery_is_looked_at_once() -> None:
    records = registers((QUARTERLY, "2024-Q1"), (QUARTERLY, "2024-Q2"), (CRIME, "2024"))
    made = aligned(records)
    assert [r.id for r in made.staging] == [f"{CRIME}-2024"], "the others are in missing pairs"
    assert len(made.new_deliveries) == 3
    built = {
        pair.model: {
            (str(p.reference_period), p.vintage) for p in made.cubes if p.model == pair.model
        }
        for pair in made.cubes
    }
    again = aligned(records, built=built)
    assert [r.id for r in again.staging] == [
        f"{CRIME}-2024",
        f"{QUARTERLY}-2024-Q1",
        f"{QUARTERLY}-2024-Q2",
    ]
    checked = {source: {r.id for r in records} for source in REGISTERS}
    assert aligned(records, built=built, checked=checked).staging == ()
    assert aligned(records, as_of=START + timedelta(days=50)).staging == ()


@pytest.mark.parametrize("n_years", [1, 10])
def test_one_more_delivery_costs_the_same_whatever_the_history(n_years: int) -> None:
    quarters = [(QUARTERLY, f"{2025 - y}-Q{q}") for y in range(1, n_years + 1) for q in range(1, 5)]
    stocks = [(STOCK, str(2025 - year)) for year in range(n_years + 1)]
    history = registers(*quarters, *stocks)
    before = aligned(history)
    built: dict[str, set[tuple[str, str]]] = {}
    for pair in before.cubes:
        built.setdefault(pair.model, set()).add((str(pair.reference_period), pair.vintage))
    checked = {source: {r.id for r in history} for source in REGISTERS}
    after = aligned([*history, *registers((QUARTERLY, "2025-Q1"))], built=built, checked=checked)
    assert [(p.model, str(p.reference_period)) for p in after.missing] == [("cube_t__q", "2025-Q1")]
    assert [r.id for r in after.new_deliveries] == [f"{QUARTERLY}-2025-Q1"]


SEEDS = {
    "population": ("geo_year,region_code,n", ["2022,GM1,5", "2023,GM1,6"], "2022,GM1,7"),
    "transitions": (
        "old_code,new_code,valid_from",
        ["GM1,GM2,2022-01-01", "GM2,GM3,2022-07-01"],
        "GM1,GM9,2022-01-01",
    ),
    "codes": (
        "region_code,name,valid_from,valid_to",
        ["GM1,Aa,2010-01-01,", "GM3,Bee,2022-07-01,"],
        "GM1,Aa,2010-01-01,2021-01-01",
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_later_year_leaves_the_geography_of_an_earlier_one(tmp_path: Path, name: str) -> None:
    header, (known, later), other = SEEDS[name]

    def digest(*lines: str) -> str:
        path = tmp_path / "seed.csv"
        path.write_text("\n".join([header, *lines]) + "\n")
        return seed_digest(path, 2022)

    assert digest(known, later) == digest(later, known) == digest(known)
    assert digest(other) != digest(known)
    path = tmp_path / "seed.csv"
    path.write_text("\n".join([header, known, later]) + "\n")
    assert seed_digest(path, 2023) != digest(known)


def test_a_run_of_years_that_goes_on_is_the_same_run(tmp_path: Path) -> None:
    def digest(first: int, last: int, name: str) -> str:
        path = tmp_path / "seed.csv"
        path.write_text(f"region_code,name,first_year,last_year\nGM1,{name},{first},{last}\n")
        return seed_digest(path, 2022)

    assert digest(2013, 2022, "Friesland") == digest(2013, 2025, "Fryslân")
    assert digest(2013, 2021, "Friesland") != digest(2013, 2025, "Friesland")
    assert digest(2014, 2022, "Friesland") != digest(2013, 2022, "Friesland")
