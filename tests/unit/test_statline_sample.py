"""The sample holds the real figures of CBS, for the municipalities that its README names."""

from __future__ import annotations

import csv
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from zicht.statline.snapshot import Snapshot, find_tables, load_snapshot

PROJECT = Path(__file__).parents[2]
SAMPLES = PROJECT / "samples"
WHOLE = PROJECT.parent / "shared" / "data" / "statline"
CRIME, SUSPECTS, MEASURES = "83648NED", "85655NED", "85383NED"
CRIMES = "TotaalGeregistreerdeMisdrijven_1"


def table(name: str) -> Snapshot:
    return load_snapshot(name, find_tables(SAMPLES / "statline")[name])


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", SAMPLES / "make_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figure(name: str, region: str, period: str, measure: str, **codes: str) -> object:
    column = "Woongemeente" if name == SUSPECTS else "RegioS"
    wanted = {column: region.ljust(6), "Perioden": period, **codes}
    (row,) = (r for r in table(name).rows if all(r[k] == v for k, v in wanted.items()))
    return row[measure]


@pytest.mark.parametrize(
    ("region", "period", "crimes"),
    [
        ("GM0363", "2013JJ00", 101650),
        ("GM0363", "2024JJ00", 83290),
        ("NL01", "2013JJ00", 1105565),
        ("NL01", "2024JJ00", 811885),
    ],
)
def test_registered_crime(region: str, period: str, crimes: int) -> None:
    assert figure(CRIME, region, period, CRIMES) == crimes


def test_suspects_and_measures() -> None:
    suspects = "TotaalVerdachtenVanMisdrijven_1"
    assert figure(SUSPECTS, "NL01", "2013JJ00", suspects) == 232390
    final, provisional = "Definitief", "Voorlopig"
    people, assistance = "InwonersTotaal_1", "TotaalBijstandsuitkeringen_22"
    assert figure(MEASURES, "NL01", "2024JJ00", people, StatusCijfer=final) == 17942942
    assert figure(MEASURES, "GM0363", "2024JJ00", assistance, StatusCijfer=final) == 35420
    assert (
        figure(MEASURES, "GM0363", "2025JJ00", "WoningTotaal_36", StatusCijfer=provisional)
        == 486769
    )


@pytest.mark.parametrize(
    ("old", "last", "new", "first"),
    [
        # The code changed on 1 July 2015; the year falls to the division of 1 January.
        ("GM1921", "2015JJ00", "GM1940", "2016JJ00"),
        ("GM0055", "2013JJ00", "GM1921", "2014JJ00"),
        ("GM0140", "2017JJ00", "GM1949", "2018JJ00"),
        ("GM0501", "2022JJ00", "GM1992", "2023JJ00"),
    ],
)
def test_a_municipality_has_figures_only_while_it_exists(
    old: str, last: str, new: str, first: str
) -> None:
    rows = [r for r in table(CRIME).rows if r[CRIMES] is not None]
    assert max(str(r["Perioden"]) for r in rows if r["RegioS"] == old) == last
    assert min(str(r["Perioden"]) for r in rows if r["RegioS"] == new) == first


@pytest.mark.parametrize("name", [CRIME, SUSPECTS])
def test_every_chosen_region_is_there_in_every_year(name: str) -> None:
    column = "Woongemeente" if name == SUSPECTS else "RegioS"
    found = {(str(r[column]).strip(), str(r["Perioden"])) for r in table(name).rows}
    years = [f"{year}JJ00" for year in range(2013, 2025)]
    assert found == {(region, year) for region in script().REGIONS for year in years}


def test_the_readme_names_every_municipality_and_the_source() -> None:
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"GM\d{4}", text)) | {"NL01"} == script().REGIONS
    assert "Bron: CBS" in text
    assert "CC BY 4.0" in text
    for name in (CRIME, SUSPECTS, MEASURES):
        assert table(name).title in text
        assert "Bron: CBS, CC BY 4.0" in table(name).summary


@pytest.mark.skipif(not WHOLE.is_dir(), reason="../shared/data/statline is not there")
@pytest.mark.parametrize("name", [CRIME, SUSPECTS, MEASURES])
def test_the_script_makes_the_sample(name: str) -> None:
    module = script()
    column, years = module.TABLES[name]
    whole = (WHOLE / f"{name}_TypedDataSet.csv").read_text(encoding="utf-8")
    sample = (SAMPLES / "statline" / name / "TypedDataSet.csv").read_text(encoding="utf-8")
    assert module.cut(whole, column, years) == sample
    assert len(list(csv.reader(sample.splitlines(), delimiter=";"))) > 1
