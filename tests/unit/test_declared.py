"""What people declare beside figures: the pages of themes, errata and known breaks."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from candidate_support import build, cell, content_of, mart, rows_of
from support import PROJECT, settings_at
from zicht.errors import ConfigurationError
from zicht.releases.errata import breaks_path, errata_path, load_breaks, load_errata
from zicht.releases.themes import theme_rows
from zicht.settings import Settings

THEME: dict[str, Any] = {
    "id": "forest",
    "order": 2,
    "label": {"nl": "Bos", "en": "Forest"},
    "description": {"nl": "Over\nbomen.", "en": "On trees."},
    "research_questions": {"nl": ["Waar?", "Hoe?"], "en": ["Where?"]},
}


def manifest(theme: Any, name: str = "forest") -> dict[str, Any]:
    path = f"models/marts/{name}/_theme.yml"
    group = {"name": name, "original_file_path": path, "config": {"meta": {"theme": theme}}}
    plain = {"name": "other", "original_file_path": "x.yml", "config": {"meta": {}}}
    return {"groups": {"group.zicht.other": plain, f"group.zicht.{name}": group}}


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    folder = tmp_path / "dbt_project" / "models" / "marts" / "forest"
    folder.mkdir(parents=True)
    (tmp_path / "expectations").mkdir()
    for language in ("nl", "en"):
        (folder / f"_theme.{language}.md").write_text(f"# {language}\n\nText.\n")
    return settings_at(tmp_path / "home", tmp_path)


def test_a_theme_is_published_with_its_questions_and_pages(project: Settings) -> None:
    rows = theme_rows(manifest(THEME), project)
    content = content_of(
        project.home, [mart("i")], [cell("i", "GM1", "2024", 1.0)], {}, themes=rows
    )
    folder = build(settings_at(project.home), content)
    assert rows_of(folder, "select * from themes") == [
        (
            *("forest", 2, "Bos", "Forest", "Over bomen.", "On trees."),
            *("Waar?\nHoe?", "Where?", "# nl\n\nText.", "# en\n\nText."),
        )
    ]
    empty: dict[str, Any] = {"groups": {}}
    assert theme_rows(empty, project) == []


def test_themes_come_in_the_order_that_they_give(project: Settings) -> None:
    marts = project.dbt_project / "models" / "marts"
    (marts / "forest").rename(marts / "zoo")
    both = manifest({**THEME, "id": "zoo", "order": 1}, "zoo")
    (marts / "forest").mkdir()
    for language in ("nl", "en"):
        (marts / "forest" / f"_theme.{language}.md").write_text("Text.")
    both["groups"] |= manifest(THEME)["groups"]
    assert [row["theme"] for row in theme_rows(both, project)] == ["zoo", "forest"]


def test_a_theme_without_its_page_is_named(project: Settings) -> None:
    page = project.dbt_project / "models" / "marts" / "forest" / "_theme.en.md"
    page.write_text(" \n")
    with pytest.raises(ConfigurationError, match=r"forest/_theme\.en\.md") as caught:
        theme_rows(manifest(THEME), project)
    assert caught.value.code == "Z-REL-020"
    page.unlink()
    with pytest.raises(ConfigurationError, match="missing or empty"):
        theme_rows(manifest(THEME), project)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "tree"),
        ("order", "2"),
        ("label", {"nl": "Bos"}),
        ("description", {"nl": " ", "en": "d"}),
        ("research_questions", {"nl": [], "en": ["q"]}),
        ("research_questions", {"nl": "one", "en": ["q"]}),
    ],
)
def test_a_theme_that_does_not_say_what_it_must_is_named(
    project: Settings, name: str, value: Any
) -> None:
    with pytest.raises(ConfigurationError, match=rf"_theme\.yml: .*{name}") as caught:
        theme_rows(manifest({**deepcopy(THEME), name: value}), project)
    assert caught.value.code == "Z-REL-025"


ERRATUM = """
  - id: 2026-1
    announced_on: 2026-11-22
    indicator: i
    nl: Het was
      meer.
    en: It was more.
    found_in: 2026-11-01-0bed0ec3
"""
BREAK = """
  - source: s
    period: "2018-Q2"
    code: method
    nl: Anders.
    en: Different.
    reference: https://example.org
"""


def test_errata_are_published(project: Settings) -> None:
    assert load_errata(project) == []
    second = ERRATUM.replace("id: 2026-1", "id: 2025-7") + (
        '    period: "2024"\n    region: GM0001\n    corrected_in: 2026-11-22-9dd9bc38-2\n'
    )
    errata_path(project).write_text(f"errata:{ERRATUM}{second}")
    rows = load_errata(project)
    content = content_of(
        project.home, [mart("i")], [cell("i", "GM1", "2024", 1.0)], {}, errata=rows
    )
    folder = build(settings_at(project.home), content)
    assert rows_of(
        folder, "select * replace (announced_on::varchar as announced_on) from errata"
    ) == [
        (
            *("2025-7", "2026-11-22", "i", "2024", "GM0001", "Het was meer.", "It was more."),
            *("2026-11-01-0bed0ec3", "2026-11-22-9dd9bc38-2"),
        ),
        (
            *("2026-1", "2026-11-22", "i", None, None, "Het was meer.", "It was more."),
            *("2026-11-01-0bed0ec3", None),
        ),
    ]


def test_breaks_are_read(project: Settings) -> None:
    assert load_breaks(project) == []
    breaks_path(project).write_text(f"breaks:{BREAK}")
    (one,) = load_breaks(project)
    assert (str(one.period), one.code, one.source, one.indicator) == (
        "2018-Q2",
        "method",
        "s",
        None,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("id: 2026-1", "id: first"),
        ("2026-11-22", "yesterday"),
        ("    en: It was more.\n", ""),
        ("It was more.", '" "'),
        ("indicator: i", "indicator: i\n    seriousness: 3"),
        ("indicator: i", "indicator: i\n    period: 2024"),
        ("indicator: i", "indicator: i\n    region: Amsterdam"),
        ("0bed0ec3", "x"),
        (ERRATUM, ERRATUM + ERRATUM),
        (ERRATUM, " 3"),
        (ERRATUM, "\n  - 3"),
        (ERRATUM, " ["),
    ],
)
def test_an_erratum_that_cannot_be_used_is_named(project: Settings, old: str, new: str) -> None:
    errata_path(project).write_text(f"errata:{ERRATUM}".replace(old, new))
    with pytest.raises(ConfigurationError, match=r"errata\.yaml: errata") as caught:
        load_errata(project)
    assert caught.value.code == "Z-REL-021"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("source: s", "place: s"),
        ("source: s", "source: s\n    indicator: i"),
        ('"2018-Q2"', '"2018-5"'),
        ("method", "mood"),
        ("    reference: https://example.org\n", ""),
    ],
)
def test_a_break_that_cannot_be_used_is_named(project: Settings, old: str, new: str) -> None:
    breaks_path(project).write_text(f"breaks:{BREAK}".replace(old, new))
    with pytest.raises(ConfigurationError, match=r"breaks\.yaml: breaks, number 1") as caught:
        load_breaks(project)
    assert caught.value.code == "Z-REL-022"


def test_the_files_of_the_project_can_be_read() -> None:
    settings = settings_at(PROJECT)
    assert errata_path(settings).exists()
    load_errata(settings)
