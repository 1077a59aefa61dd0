"""A theme is folders: one more by following the how-to, one less by deleting them; no Python."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import duckdb
import pytest
from microdata_support import KEY, NOW

from support import (
    PROJECT,
    copy_project,
    released,
    run_refresh,
    settings_at,
    silent,
    take_in_all,
)
from zicht.contracts import load_contracts
from zicht.periods import Period
from zicht.settings import Settings
from zicht.synthetic import load_geography, plan_deliveries, scope_of, synthesise

PAGE = PROJECT / "docs" / "how-to" / "add-a-theme.md"
MODELS = PROJECT / "dbt_project" / "models"
THEMES = sorted(path.parent.name for path in MODELS.glob("marts/*/_theme.yml"))
PLACES = ("GM1695", "GM1991")
YEAR = "2024"


def test_there_are_four_themes() -> None:
    assert THEMES == ["armoede", "drugs", "rechtspersonen", "vastgoed"]


@pytest.mark.parametrize("theme", THEMES)
def test_a_theme_is_removed_by_deleting_its_folders(
    first_release: Settings, tmp_path: Path, theme: str
) -> None:
    """The rest is released as it was."""
    project = copy_project(tmp_path / "project")
    for kind in ("marts", "cubes"):
        shutil.rmtree(project / "dbt_project" / "models" / kind / theme)
    shutil.copytree(first_release.home, tmp_path / "home", symlinks=True)
    settings = settings_at(tmp_path / "home", project)
    run_refresh(settings, "without")
    themes = "select distinct theme from indicators union select theme from themes order by 1"
    rest = [one for one in THEMES if one != theme]
    assert released(settings, themes) == [(one,) for one in rest]
    query = f"select * exclude (release_id) from observations where theme <> '{theme}' order by all"
    assert released(settings, query) == released(first_release, query)


@pytest.fixture(scope="module")
def with_fifth_theme(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """A copy of the project with the files of the how-to, refreshed; and what was delivered."""
    base = tmp_path_factory.mktemp("fifth")
    project = copy_project(base / "project")
    page = PAGE.read_text(encoding="utf-8")
    files = re.findall(r"^File: `([^`]+)`\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert {Path(path).suffix for path, _ in files} == {".sql", ".yml", ".yaml", ".md"}
    for path, content in files:
        target = project / path
        assert not target.exists()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    settings = settings_at(base / "home", project)
    contracts = load_contracts(settings.contracts)
    scope = scope_of(load_geography(PROJECT / "dbt_project/seeds/geography"), 7, PLACES)
    wanted = plan_deliveries(contracts, ["duo"], [Period.parse(YEAR)], NOW)
    (folder,) = synthesise(settings.landing, contracts, scope, wanted, silent)
    shutil.copytree(folder, base / "delivered")
    with patch.dict(os.environ, {KEY: "a key of thirty-two letters or so"}):
        take_in_all(settings, lambda: NOW, ["duo"])
    run_refresh(settings, "fifth", lambda: NOW)
    return settings, base / "delivered"


def count_delivered(folder: Path) -> Counter[tuple[str, bool]]:
    """Pupils by municipality and whether they left early, from the provider's own file."""
    contract = load_contracts(PROJECT / "expectations" / "contracts")["duo"]
    (path,) = folder.glob("enrolments.*")
    reader = f"read_parquet('{path}')"
    if path.suffix != ".parquet":
        reader = f"read_csv('{path}', delim = ';', all_varchar = true)"
    assert contract.source == "duo"
    rows = duckdb.sql(
        f"select municipality_code, cast(is_early_leaver as varchar), count(*) from {reader} "
        "where level in ('vmbo', 'mbo', 'havo_vwo') group by all"
    ).fetchall()
    found: Counter[tuple[str, bool]] = Counter()
    for code, left, n in rows:
        found[code, left.lower() in ("true", "1", "j")] += n
    return found


def test_a_fifth_theme_follows_from_the_how_to(with_fifth_theme: tuple[Settings, Path]) -> None:
    """Counts as delivered wherever they are shown, small ones hidden, and the share of both."""
    settings, delivered = with_fifth_theme
    expected = count_delivered(delivered)
    assert expected
    rows = released(
        settings,
        "select region_code, breakdown, value, obs_status from observations "
        "where indicator_id = 'pupils_by_leaving' and region_level = 'municipality'",
    )
    assert {row[0] for row in rows} == {code for code, _ in expected} == set(PLACES)
    shown = {(code, breakdown): value for code, breakdown, value, status in rows if status == "A"}
    assert shown
    for (code, breakdown), value in shown.items():
        left, stayed = expected[code, True], expected[code, False]
        counts = {"left_school=early_leaver": left, "left_school=stayed": stayed}
        assert value == counts.get(breakdown, left + stayed)
        assert value == 0 or value >= 10
    shares = released(
        settings,
        "select region_code, value from observations where indicator_id = 'early_leavers_pct' "
        "and obs_status = 'A' and region_level = 'municipality'",
    )
    assert shares
    for code, value in shares:
        part, whole = shown[code, "left_school=early_leaver"], shown[code, "total"]
        assert value == pytest.approx(100 * part / whole, abs=0.05)


def test_the_fifth_theme_stands_beside_the_others(with_fifth_theme: tuple[Settings, Path]) -> None:
    settings, _ = with_fifth_theme
    rows = released(settings, "select theme, label_nl, label_en from themes order by position")
    assert rows[-1] == ("jeugd", "Jeugd", "Youth")
    assert [row[0] for row in rows[:-1]] == ["vastgoed", "drugs", "rechtspersonen", "armoede"]
