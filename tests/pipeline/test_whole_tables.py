"""The whole tables of Statistics Netherlands, where the shared data lies beside the project."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from support import SAMPLES, SHARED, fetch_all, released, run_refresh, settings_at, take_in_all
from zicht.settings import Settings

pytestmark = pytest.mark.skipif(
    not (SHARED / "statline").is_dir(),
    reason="the whole tables are not here: put them at ../shared/data/statline to run this test",
)

YEARS = list(range(2013, 2025))
CRIME = "TotaalGeregistreerdeMisdrijven_1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with the three whole tables fetched, taken in and released."""
    installation = settings_at(tmp_path_factory.mktemp("whole") / "home")
    fetch_all(installation, SHARED / "statline", describe=SAMPLES)
    reports = take_in_all(installation)
    assert all(report.refused == () for report in reports.values())
    taken = {name for name, report in reports.items() if report.accepted}
    assert taken == {"cbs_crime", "cbs_measures", "cbs_suspects"}
    run_refresh(installation, "whole")
    return installation


def source(table: str) -> str:
    """The snapshot as a relation, with trimmed codes."""
    path: Path = SHARED / "statline" / f"{table}_TypedDataSet.csv"
    return f"read_csv('{path}', delim=';')"


def test_342_municipalities_in_every_year(whole: Settings) -> None:
    rows = released(
        whole,
        "select reference_period, count(*), count(value) from observations "
        "where indicator_id = 'registered_crime_per_1000' and region_level = 'municipality' "
        "group by 1 order by 1",
    )
    assert rows == [(str(year), 342, 342) for year in YEARS]


def test_divisions_have_as_many_municipalities_as_they_had(whole: Settings) -> None:
    with duckdb.connect(str(whole.warehouse), read_only=True) as connection:
        counts = dict(
            connection.execute(
                "select geo_year, count(*) from dim_regions "
                "where region_level = 'municipality' group by 1"
            ).fetchall()
        )
    assert counts[2013] == 408
    assert counts[2022] == 345
    assert counts[2025] == 342


def test_recast_crime_sums_to_the_original_total(whole: Settings) -> None:
    original = dict(
        duckdb.execute(
            f"select cast(left(Perioden, 4) as integer), sum({CRIME}) from {source('83648NED')} "
            "where RegioS like 'GM%' group by 1"
        ).fetchall()
    )
    with duckdb.connect(str(whole.warehouse), read_only=True) as connection:
        recast = dict(
            connection.execute(
                "select cast(reference_period as integer), sum(value) from cube_open_data__crime "
                "where measure = 'n_registered_crimes' and region_level = 'municipality' group by 1"
            ).fetchall()
        )
    assert sorted(recast) == YEARS
    differences = {year: recast[year] - original[year] for year in YEARS}
    assert max(map(abs, differences.values())) < 0.3, differences


@pytest.mark.parametrize(
    ("mart", "table", "column", "region"),
    [
        ("mart_drugs__registered_crime_per_1000", "83648NED", CRIME, "RegioS"),
        ("mart_drugs__registered_crimes", "83648NED", CRIME, "RegioS"),
        *(
            (f"mart_drugs__suspects{kind}_per_10000", "85655NED", column, "Woongemeente")
            for kind, column in (
                ("", "TotaalVerdachtenVanMisdrijven_1"),
                ("_drugs", "VerdachtenVanDrugsmisdrijven_6"),
                ("_firearms", "VerdachtenVanVuurWapenmisdrijven_7"),
            )
        ),
        (
            "mart_armoede__social_assistance_per_100",
            "85383NED",
            "TotaalBijstandsuitkeringen_22",
            "RegioS",
        ),
    ],
)
def test_year_without_redivision_equals_the_source(
    whole: Settings, mart: str, table: str, column: str, region: str
) -> None:
    """2024 has the division of 2025: cell by cell what Statistics Netherlands published."""
    expected = dict(
        duckdb.execute(
            f"select trim({region}), {column} from {source(table)} where Perioden = '2024JJ00' "
            f"and {column} is not null and (trim({region}) like 'GM%' or trim({region}) = 'NL01')"
        ).fetchall()
    )
    with duckdb.connect(str(whole.warehouse), read_only=True) as connection:
        found = dict(
            connection.execute(
                f"select region_code, numerator from {mart} where reference_period = '2024'"
            ).fetchall()
        )
    assert len(found) == 343
    assert found == expected


def test_crime_rate_stays_close_to_the_source_s_own(whole: Settings) -> None:
    """Counts are rounded to 5, so the rate may differ by what 2.5 crimes are in a municipality."""
    own = duckdb.execute(
        "select trim(RegioS), GeregistreerdeMisdrijvenPer1000Inw_3 from "
        f"{source('83648NED')} where Perioden = '2024JJ00' and RegioS like 'GM%' "
        "and GeregistreerdeMisdrijvenPer1000Inw_3 is not null"
    ).fetchall()
    with duckdb.connect(str(whole.warehouse), read_only=True) as connection:
        ours = {
            code: (value, population)
            for code, value, population in connection.execute(
                "select region_code, value, denominator "
                "from mart_drugs__registered_crime_per_1000 where reference_period = '2024'"
            ).fetchall()
        }
    for code, rate in own:
        value, population = ours[code]
        assert abs(value - rate) <= 2500 / population + 0.15, code
