"""The command line: help, JSON, exit codes, widths, and where messages go."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import typer
from typer.testing import CliRunner

from support import (
    NOW,
    SAMPLES,
    drop_variant,
    sample_delivery,
    settings_at,
    statline_at,
    take_in_all,
    zicht,
)
from zicht.cli.main import app
from zicht.cli.main import main as run_main
from zicht.clock import format_moment
from zicht.settings import Settings


def commands() -> Iterator[tuple[str, ...]]:
    """Every command, with the group that it is in."""
    top = typer.main.get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        inside = getattr(command, "commands", None)
        yield from ((name, inner) for inner in inside) if inside else [(name,)]


COMMANDS = sorted(commands())


@pytest.fixture(scope="module")
def home(first_release: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first release with a refused delivery beside it, to look at."""
    settings = settings_at(tmp_path_factory.mktemp("cli") / "home")
    shutil.copytree(first_release.home, settings.home, symlinks=True)
    drop_variant(
        settings,
        sample_delivery("cbs_crime", "2024"),
        name="with-a-neighbourhood-in-it",
        change=lambda content: content.replace(b"GM0363", b"BU03630000"),
    )
    take_in_all(settings, sources=["cbs_crime"])
    return settings.home


@pytest.fixture(autouse=True)
def _environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(home))
    monkeypatch.setenv("ZICHT_CLOCK", format_moment(NOW))
    monkeypatch.setenv("COLUMNS", "80")


def run(*arguments: str) -> str:
    """Output of a command that must succeed."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def failing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str]:
    """Exit code and messages of a command that must fail, and say nothing on standard output."""
    monkeypatch.setattr("sys.argv", ["zicht", *arguments])
    with pytest.raises(SystemExit) as left:
        run_main()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert isinstance(left.value.code, int)
    return left.value.code, captured.err


def test_the_commands_that_are_promised_are_there() -> None:
    promised = {("status",), ("deliveries",), ("refresh",), ("releases",), ("statline", "fetch")}
    assert promised <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_helps_with_an_example(command: tuple[str, ...]) -> None:
    text = run(*command, "--help")
    example = re.search(r"Example: zicht (\S+(?: \S+)*)", text)
    assert example is not None, text
    assert tuple(example[1].split()[: len(command)]) == command
    assert max(map(len, text.splitlines())) <= 80


KEYS = {
    "status": {"home", "release", "last_refresh", "sources", "refused"},
    "deliveries": {
        "id",
        "source",
        "reference_period",
        "observation_status",
        "delivered_at",
        "accepted_at",
        "known_at",
        "lag_days",
        "archive",
        "supersedes",
        "content_hash",
        "contract_version",
        "rows",
        "warnings",
    },
    "deliveries --refused": {
        "source",
        "delivery",
        "reference_period",
        "refused_at",
        "reasons",
        "folder",
    },
    "releases": {"release_id", "released_at", "inputs", "gates", "files", "is_current"},
    "gates": {"gate", "subject", "checked_at", "results"},
    "forecast scores": {
        *("indicator_id", "theme", "horizon", "peer_group", "method", "is_chosen", "is_baseline"),
        *("n_cases", "n_origins", "n_real_time", "first_origin", "last_origin"),
        *("mase", "relative_wis", "coverage_50", "coverage_90"),
    },
}
SOURCE_KEYS = {
    "source",
    "last_period",
    "observation_status",
    "delivered_at",
    "known_at",
    "lag_days",
    "agreed_lag_days",
    "next_period",
    "next_due",
    "days_overdue",
    "missing_periods",
    "agreement",
    "n_accepted",
    "n_refused",
    "n_waiting",
    "n_incomplete",
}


@pytest.mark.parametrize("command", KEYS)
def test_json_has_the_keys_that_are_documented(command: str) -> None:
    document = json.loads(run(*command.split(), "--json"))
    entries = document if isinstance(document, list) else [document]
    assert entries
    for entry in entries:
        assert KEYS[command] <= set(entry)


def test_status_tells_each_source() -> None:
    document = json.loads(run("status", "--json"))
    rows = {row["source"]: row for row in document["sources"]}
    assert all(set(row) == SOURCE_KEYS for row in rows.values())
    crime = rows["cbs_crime"]
    assert (crime["last_period"], crime["observation_status"]) == ("2024", "provisional")
    assert (crime["n_accepted"], crime["n_refused"], crime["next_period"]) == (12, 1, "2025")
    assert (crime["lag_days"], crime["next_due"]) == (91, "2026-03-31")
    (refused,) = document["refused"]
    assert refused["delivery"] == "with-a-neighbourhood-in-it"
    (reason,) = refused["reasons"]
    assert reason["code"] == "Z-DEL-108"
    assert document["release"] == document["last_refresh"]["release_id"]


@pytest.mark.parametrize(
    "command",
    [
        *("status", "deliveries", "deliveries --refused", "releases"),
        *("forecast scores", "forecast scores --all"),
    ],
    ids=str,
)
def test_tables_fit_a_narrow_terminal(command: str) -> None:
    lines = run(*command.split()).splitlines()
    assert lines
    assert max(map(len, lines)) <= 80, max(lines, key=len)


def test_status_says_what_was_refused_and_why() -> None:
    text = " ".join(run("status").split())
    assert "refused with-a-neighbourhood-in-it" in text
    assert "Z-DEL-108 crime.csv" in text
    assert "'BU03630000'" in text
    assert "remedy: The municipality is the finest geography" in text


def test_one_source_can_be_asked_for() -> None:
    rows = json.loads(run("deliveries", "--source", "cbs_measures", "--json"))
    assert {row["source"] for row in rows} == {"cbs_measures"}
    assert run("deliveries", "--refused", "--source", "cbs_measures").strip() == (
        "no refused deliveries"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["deliveries", "--source", "nobody"], 2, "Z-USE-002: "),
        (["gates", "no-such-run"], 2, "Z-USE-003: "),
        (["requeue", "nothing"], 2, "Z-USE-006: "),
        (["forecast", "scores", "--indicator", "nothing"], 2, "Z-USE-007: "),
        (["statline", "fetch", "nothing"], 2, "Z-USE-002: "),
        (["status", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_on_standard_error(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    status, message = failing(capsys, monkeypatch, *arguments)
    assert status == code
    assert says in message
    assert "Traceback" not in message
    if says.startswith("Z-"):
        assert "remedy: " in message


def test_scores_of_forecasts_are_those_of_the_release(home: Path) -> None:
    """The table shows what is used, of all municipalities; JSON has every row."""
    query = f"from read_parquet('{home}/releases/current/forecast_scores.parquet')"
    every = json.loads(run("forecast", "scores", "--json"))
    assert len(every) == duckdb.sql(f"select count(*) {query}").fetchall()[0][0]
    asked = ("forecast", "scores", "--indicator", "registered_crimes", "--horizon", "1")
    rows = json.loads(run(*asked, "--json"))
    assert {(row["indicator_id"], row["horizon"]) for row in rows} == {("registered_crimes", 1)}
    (chosen,) = (row for row in rows if row["is_chosen"] and row["peer_group"] == "all")
    (line,) = (text for text in run(*asked).splitlines() if text.startswith("registered_crimes"))
    said = line.split()
    assert said[1:4] == ["1", chosen["method"], str(chosen["n_cases"])]
    assert said[-1] == f"{100 * chosen['coverage_90']:.0f}%"
    shown = run(*asked, "--all")
    assert all(f" {row['method']} " in shown for row in rows)
    assert len(shown.splitlines()) == len(rows) + 2


@pytest.mark.parametrize("is_older", [True, False])
def test_without_scores_of_forecasts_that_is_said(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_older: bool,
) -> None:
    """No release yet, or one from before there were any."""
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path))
    if is_older:
        (tmp_path / "releases" / "current").mkdir(parents=True)
        (tmp_path / "releases/current/release.json").write_text('{"release_id": "2024-01-01-old"}')
    status, message = failing(capsys, monkeypatch, "forecast", "scores", "--json")
    assert (status, message.split(":")[0]) == (8, "Z-REL-026")
    assert ("2024-01-01-old has none" in message) == is_older


def test_a_wrong_setting_has_its_own_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZICHT_PROJECT", "/nowhere")
    status, message = failing(capsys, monkeypatch, "status")
    assert (status, message.split(":")[0]) == (3, "Z-CFG-003")


def test_a_service_that_does_not_answer_has_its_own_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The service has one table and not the one that is asked for.
    shutil.copytree(SAMPLES / "85383NED", tmp_path / "85383NED")
    with statline_at(tmp_path):
        status, message = failing(capsys, monkeypatch, "statline", "fetch", "83648NED", "--json")
    assert status == 9
    assert "Z-NET-" in message


def test_a_fault_of_the_program_is_told_as_such(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release = tmp_path / "home" / "releases" / "broken" / "release.json"
    release.parent.mkdir(parents=True)
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path / "home"))
    release.write_text("{")
    status, message = failing(capsys, monkeypatch, "releases")
    assert status == 12
    assert "Z-IO-002" in message
    assert str(release) in message
    assert "Traceback" not in message
    release.write_text("[]")
    status, message = failing(capsys, monkeypatch, "releases")
    assert status == 1
    assert "Traceback" in message
    assert "Z-000: " in message


def test_what_nobody_reads_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path))
    (tmp_path / "landing" / "cbs_crimes" / "one").mkdir(parents=True)
    (tmp_path / "landing" / "cbs_crime").mkdir()
    (tmp_path / "landing" / "cbs_crime" / "loose.csv").write_text("a")
    (tmp_path / "landing" / "cbs_crime" / "link").symlink_to(tmp_path)
    lines = [line for line in run("status").splitlines() if line.startswith("landing/")]
    assert [line.split()[0] for line in lines] == [
        "landing/cbs_crime/link",
        "landing/cbs_crime/loose.csv",
        "landing/cbs_crimes",
    ]


def test_an_empty_installation_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZICHT_HOME", str(tmp_path))
    assert "none yet" in run("deliveries")
    assert "none yet" in " ".join(run("releases").split())
    text = run("status")
    assert "current release: none yet" in text
    assert json.loads(run("releases", "--json")) == []
    assert json.loads(run("deliveries", "--json")) == []
    assert json.loads(run("status", "--json"))["release"] is None
    assert list(tmp_path.iterdir()) == [], "looking changes nothing"


def test_as_a_program(home: Path) -> None:
    shown = zicht("releases", "--json", home=home)
    assert (shown.returncode, shown.stderr) == (0, "")
    (release,) = json.loads(shown.stdout)
    assert release["is_current"] is True
    wrong = zicht("gates", "nothing", home=home)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Z-USE-003: ")


def test_an_attack_that_finds_something_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    """What a script relies on, so through the real entry point."""
    table = tmp_path / "protected.csv"
    table.write_text(
        "mun,value,obs_status,conf_status\nA,,Q,C\nB,25,A,F\nTotal,40,A,F\n", encoding="utf-8"
    )
    spec = tmp_path / "spec.yaml"
    spec.write_text("{dimensions: {mun: {total: Total}}, count: n}\n", encoding="utf-8")
    arguments = ("attack", table, "--spec", spec, "--report", tmp_path / "report.json")
    result = zicht(*map(str, arguments), home=tmp_path)
    assert result.returncode == 14, result.stdout + result.stderr
    assert "NOT SAFE" in result.stdout
