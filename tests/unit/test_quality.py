"""The quality grade: the lowest of four, and never better for being worse."""

from __future__ import annotations

from itertools import product

import duckdb
import pytest

from support import PROJECT
from zicht.releases.quality import AGE_DAYS, COVERAGE_PCT, HIDDEN_PCT, STATUS, quality_query

GOOD = {"coverage": 100.0, "lag": 30, "flags": "", "hidden": 0, "late": False}


def grade(
    coverage: float | None = 100.0,
    lag: int = 30,
    flags: str = "",
    hidden: int = 0,
    late: bool = False,
    *,
    covered: tuple[str, str] = ("2024", "GM1"),
    newest_lag: int | None = None,
) -> str:
    """The grade of a figure about 2024, one of a hundred of which ``hidden`` are not shown.

    Args:
        newest_lag: lag of the figures about 2025; without it there are none.
    """
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            create table indicators as select 'i' as indicator_id, 'other;s' as sources;
            create table sources as
            select * from (values ('s', {late}), ('other', false)) as t (source, is_overdue);
            create table coverage (
                source varchar, reference_period varchar, region_code varchar, coverage_pct double
            );
            create table figures as
            select 'i' as indicator_id, 'GM' || n as region_code, '2024' as reference_period,
                case when n > 100 - {hidden} then null else 1.0 end as value,
                case when n > 100 - {hidden} then 'Q' else 'A' end as obs_status,
                case when n = 1 then '{flags}' else '' end as obs_flags,
                case when n > 100 - {hidden} then 'C' else 'F' end as conf_status, {lag} as lag_days
            from range(1, 101) as t (n)
            union all
            -- What is missing is neither shown nor hidden.
            select 'i', 'GM' || n, '2024', null, 'O', 'missing', 'F', 0
            from range(101, 301) as t (n)
            """
        )
        if newest_lag is not None:
            connection.execute(
                f"insert into figures select * replace ('2025' as reference_period, "
                f"{newest_lag} as lag_days) from figures"
            )
            # What is awaited of a year later is no newest figure.
            connection.execute(
                "insert into figures select * replace ('2026' as reference_period, 0 as lag_days) "
                "from figures where obs_status = 'O' and reference_period = '2024'"
            )
        if coverage is not None:
            period, region = covered
            connection.execute(
                "insert into coverage values ('s', ?, ?, ?), ('s', '2019', 'GM1', 1.0), "
                "('s', '2024', 'GM2', 1.0), ('unused', '2024', 'GM1', 1.0)",
                [period, region, coverage],
            )
        found = connection.execute(
            f"select quality, value from ({quality_query(connection, 'figures')}) "
            "where reference_period = '2024' order by region_code, reference_period"
        ).fetchall()
        assert all((quality is None) == (value is None) for quality, value in found)
        return str(found[0][0])


@pytest.mark.parametrize(
    ("measured", "values"),
    [
        ("coverage", [100.0, 94.9, 89.9, 79.9]),
        ("lag", [180, 181, 401, 801]),
        ("hidden", [10, 11, 26, 51]),
    ],
)
def test_each_way_of_looking_gives_every_grade(measured: str, values: list[float]) -> None:
    grades = [grade(**{**GOOD, measured: value}) for value in values]  # type: ignore[arg-type]
    assert grades == list("ABCD")


def test_flags_age_and_coverage_count_as_the_rule_says() -> None:
    assert [grade(flags=flags) for flags in ("provisional", "break", "estimated;provisional")] == [
        *"BBC"
    ]
    assert grade(flags="rounded_zero") == "A"
    assert grade(late=True) == "B"
    assert grade(late=True, lag=900) == "D"
    assert grade(late=True, newest_lag=30) == "A", "what was there before is no older for it"
    assert grade(lag=4000, newest_lag=30) == "A", "history that was loaded afterwards"
    assert grade(lag=30, newest_lag=4000) == "A"
    assert grade(lag=900, newest_lag=700) == "C"
    assert grade(coverage=None) == "A", "what was not measured does not count"
    assert grade(70.0, covered=("2024-Q3", "GM1")) == "D", "a quarter of the year"
    assert grade(70.0, covered=("2023", "GM1")) == "A", "another year"
    assert grade(70.0, covered=("2024", "GM5")) == "A", "another region"


def test_the_lowest_counts_and_worse_is_never_better() -> None:
    steps = {
        "coverage": (100.0, 85.0),
        "lag": (30, 500),
        "flags": ("", "provisional"),
        "hidden": (0, 60),
    }
    found = {}
    for chosen in product((0, 1), repeat=4):
        given = {name: steps[name][one] for name, one in zip(steps, chosen, strict=True)}
        found[chosen] = grade(**given)  # type: ignore[arg-type]
    alone = {
        place: found[tuple(int(one == place) for one in range(4))]  # type: ignore[index]
        for place in range(4)
    }
    assert list(alone.values()) == ["C", "C", "B", "D"]
    for chosen, result in found.items():
        assert result == max(["A", *(alone[place] for place in range(4) if chosen[place])])


def test_the_documentation_has_the_bounds_of_the_code() -> None:
    text = (PROJECT / "docs" / "reference" / "release.md").read_text(encoding="utf-8")
    section = text.partition("## Quality")[2].partition("\n## ")[0]
    for bounds in (COVERAGE_PCT, AGE_DAYS, HIDDEN_PCT):
        assert all(f" {bound} " in section for bound in bounds), bounds
    assert all(f"`{flag}`" in section for flag in STATUS)
