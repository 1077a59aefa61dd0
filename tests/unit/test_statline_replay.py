"""The local StatLine service: what it answers, also to requests that are wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from zicht.errors import ConfigurationError
from zicht.statline.odata_filter import parse_filter
from zicht.statline.replay import replay
from zicht.statline.snapshot import find_tables, load_snapshot

SAMPLE = Path(__file__).parents[2] / "samples" / "statline"
COUNT = "TotaalGeregistreerdeMisdrijven_1"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with replay(SAMPLE, page_size=100) as url, httpx.Client(base_url=url, trust_env=False) as it:
        yield it


def get(http: httpx.Client, path: str, **options: str) -> Any:
    params = {f"${key}": value for key, value in options.items()}
    return http.get(path, params={"$format": "json", **params}).raise_for_status().json()


def test_the_service_document_names_what_can_be_asked(http: httpx.Client) -> None:
    document = get(http, "/ODataApi/odata/83648NED")
    names = [entry["name"] for entry in document["value"]]
    assert names == [
        "TableInfos",
        "TypedDataSet",
        "DataProperties",
        "SoortMisdrijf",
        "RegioS",
        "Perioden",
    ]
    for entry in document["value"]:
        if entry["name"] != "TypedDataSet":
            assert http.get(entry["url"]).json()["value"]


def test_the_shape_of_an_answer_is_that_of_odata_3(http: httpx.Client) -> None:
    document = get(http, "/ODataFeed/odata/83648NED/TypedDataSet")
    assert list(document) == ["odata.metadata", "value", "odata.nextLink"]
    assert "$skip=100" in document["odata.nextLink"]
    first = document["value"][0]
    assert first["RegioS"] == "NL01  "
    assert first["Perioden"] == "2013JJ00"
    assert (first[COUNT], type(first[COUNT])) == (1105565, int)
    assert first["GeregistreerdeMisdrijvenPer1000Inw_3"] == 65.9
    assert type(first["GeregistreerdeMisdrijvenRelatief_2"]) is float


def test_table_and_service_are_found_in_any_case(http: httpx.Client) -> None:
    assert get(http, "/odataapi/OData/83648ned/TableInfos")["value"][0]["Identifier"] == "83648NED"


def test_count_is_a_plain_number(http: httpx.Client) -> None:
    path = "/ODataApi/odata/83648NED/TypedDataSet/$count"
    assert http.get(path).text == "324"
    assert http.get(path, params={"$filter": "RegioS eq 'GM0363'"}).text == "12"


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/", {}, 404),
        ("/ODataApi/odata/00000NED/TableInfos", {}, 404),
        ("/ODataApi/odata/83648NED/Nothing", {}, 404),
        ("/ODataApi/odata/83648NED/TypedDataSet/1", {}, 404),
        ("/ODataFeed/odata/83648NED/TypedDataSet", {}, 406),
        ("/ODataApi/odata/83648NED/TypedDataSet", {"$select": "Nothing"}, 400),
        ("/ODataApi/odata/83648NED/TypedDataSet", {"$filter": "Nothing eq 1"}, 400),
        ("/ODataApi/odata/83648NED/TypedDataSet", {"$top": "-1"}, 400),
    ],
)
def test_wrong_requests_are_refused_with_an_odata_error(
    http: httpx.Client, path: str, options: dict[str, str], status: int
) -> None:
    answer = http.get(path, params=options)
    assert answer.status_code == status
    assert answer.json()["odata.error"]["message"]["value"]


ROW = {"RegioS": "NL01  ", "Perioden": "2024JJ00", "A_1": 5, "B_2": None, "Naam": "'s-Gravenhage"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RegioS eq 'NL01  '", True),
        ("RegioS eq 'NL01'", False),
        ("RegioS ne 'NL01  '", False),
        ("(RegioS eq 'NL01  ')", True),
        ("startswith(RegioS,'NL')", True),
        ("startswith(RegioS, 'GM')", False),
        ("endswith(Perioden,'00')", True),
        ("substringof('JJ',Perioden)", True),
        ("substringof('KW',Perioden)", False),
        ("substring(RegioS,0,2) eq 'NL'", True),
        ("substring(Perioden,4) eq 'JJ00'", True),
        ("Perioden eq '2023JJ00' or Perioden eq '2024JJ00'", True),
        ("Perioden eq '2023JJ00' or Perioden eq '2024JJ00' and RegioS eq 'x'", False),
        ("(Perioden eq '2023JJ00' or Perioden eq '2024JJ00') and RegioS eq 'NL01  '", True),
        ("not startswith(RegioS,'GM')", True),
        ("Perioden ge '2020JJ00' and Perioden lt '2025JJ00'", True),
        ("A_1 eq 5", True),
        ("A_1 gt 5", False),
        ("A_1 eq -5", False),
        ("B_2 eq null", True),
        ("B_2 gt 0", False),
        ("A_1 eq '5'", False),
        ("Naam eq '''s-Gravenhage'", True),
    ],
)
def test_filters_mean_what_odata_says(text: str, expected: bool) -> None:
    assert parse_filter(text, frozenset(ROW))(ROW) is expected


@pytest.mark.parametrize(
    "text",
    [
        "RegioS",
        "RegioS eq",
        "RegioS eq 'x",
        "RegioS eq 'x' and",
        "RegioS eq 'x' RegioS eq 'y'",
        "(RegioS eq 'x'",
        "Unknown eq 'x'",
        "RegioS like 'x'",
        "year(RegioS) eq 1",
        "substring(RegioS,'a') eq 'x'",
        "; drop",
        "(" * 500,
    ],
)
def test_filters_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_filter(text, frozenset(ROW))


def whole(folder: Path, name: str = "00001NED") -> Path:
    """A snapshot in the form without a description."""
    path = folder / f"{name}_TypedDataSet.csv"
    lines = [f"{i};T001;GM{i:04};20{20 + i}JJ00;{i}.0;{i}.5" for i in range(4)]
    text = "\n".join(["ID;Soort;RegioS;Perioden;Aantal_1;Deel_2", *lines]) + "\n"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_snapshot_without_description_describes_itself(tmp_path: Path) -> None:
    snapshot = load_snapshot("00001NED", whole(tmp_path))
    assert [(c.key, c.kind, c.decimals) for c in snapshot.columns] == [
        ("Soort", "Dimension", 0),
        ("RegioS", "GeoDimension", 0),
        ("Perioden", "TimeDimension", 0),
        ("Aantal_1", "Topic", 0),
        ("Deel_2", "Topic", 1),
    ]
    assert snapshot.rows[3] == {
        "ID": 3,
        "Soort": "T001",
        "RegioS": "GM0003",
        "Perioden": "2023JJ00",
        "Aantal_1": 3,
        "Deel_2": 3.5,
    }
    assert list(snapshot.statuses.values()) == ["Definitief"] * 2 + ["Voorlopig"] * 2


def test_a_snapshot_can_be_described_from_another_folder(tmp_path: Path) -> None:
    describe = tmp_path / "describe"
    (describe / "00001NED").mkdir(parents=True)
    (describe / "00001NED" / "table.yaml").write_text(
        "title: Een tabel\nmodified: '2025-02-01T02:00:00'\ndefault_status: Definitief\n"
        "statuses: {2023JJ00: NaderVoorlopig}\n"
    )
    whole(tmp_path)
    with (
        replay(tmp_path, describe=describe) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        info = get(http, "/ODataApi/odata/00001NED/TableInfos")["value"][0]
        periods = get(http, "/ODataApi/odata/00001NED/Perioden")["value"]
    assert (info["Title"], info["Modified"]) == ("Een tabel", "2025-02-01T02:00:00")
    assert [(p["Key"], p["Title"], p["Status"]) for p in periods] == [
        ("2020JJ00", "2020", "Definitief"),
        ("2021JJ00", "2021", "Definitief"),
        ("2022JJ00", "2022", "Definitief"),
        ("2023JJ00", "2023", "NaderVoorlopig"),
    ]


def test_an_overlay_is_a_later_version(tmp_path: Path) -> None:
    path = whole(tmp_path)
    overlay = tmp_path / "next" / "00001NED"
    overlay.mkdir(parents=True)
    (overlay / "table.yaml").write_text(
        "modified: '2026-04-01T02:00:00'\nstatuses: {2023JJ00: Definitief}\n"
    )
    (overlay / "changes.csv").write_text("RegioS;Perioden;Aantal_1\nGM0003;2023JJ00;8.0\n")
    before = load_snapshot("00001NED", path)
    after = load_snapshot("00001NED", path, overlay=tmp_path / "next")
    assert after.modified == "2026-04-01T02:00:00"
    assert before.statuses["2023JJ00"] == "Voorlopig"
    assert after.statuses == {**before.statuses, "2023JJ00": "Definitief"}
    assert list(after.rows[:3]) == list(before.rows[:3])
    assert after.rows[3] == {**before.rows[3], "Aantal_1": 8}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("changes.csv", "RegioS;Perioden;Aantal_1\nGM9999;2023JJ00;8.0\n"),
        ("changes.csv", "Soort;Aantal_1\nT001;8.0\n"),
        ("changes.csv", "RegioS;Aantal_1\nGM0003\n"),
        ("table.yaml", "- a list\n"),
        ("table.yaml", "modified: [\n"),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(tmp_path: Path, file: str, content: str) -> None:
    path = whole(tmp_path)
    overlay = tmp_path / "next" / "00001NED"
    overlay.mkdir(parents=True)
    (overlay / file).write_text(content)
    with pytest.raises(ConfigurationError, match=file) as caught:
        load_snapshot("00001NED", path, overlay=tmp_path / "next")
    assert caught.value.code == "Z-CFG-062"


def test_it_can_be_served_until_interrupted() -> None:
    script = (
        # Where the tests run in the background of a shell, SIGINT is ignored, also by children.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from zicht.statline.replay import serve; "
        f"serve(Path({str(SAMPLE)!r}), 0, on_ready=lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        answer = httpx.get(f"{url}/ODataApi/odata/83648NED/TableInfos", trust_env=False)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert answer.json()["value"][0]["Identifier"] == "83648NED"


def test_a_folder_without_snapshots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught, replay(tmp_path):
        pass
    assert caught.value.code == "Z-CFG-062"


def test_both_forms_of_folder_are_found(tmp_path: Path) -> None:
    whole(tmp_path, "00002NED")
    (tmp_path / "00003NED").mkdir()
    whole(tmp_path).rename(tmp_path / "00003NED" / "TypedDataSet.csv")
    assert sorted(find_tables(tmp_path)) == ["00002NED", "00003NED"]
