"""The gate engine: real Great Expectations on real DuckDB files."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import duckdb
import pytest

from zicht.errors import ConfigurationError, GateError
from zicht.gates.engine import GateEngine, run_suites
from zicht.gates.model import (
    MAX_SAMPLE_ROWS,
    ROWS,
    Check,
    CheckResult,
    GateResult,
    Severity,
    Suite,
)

CHECKED_AT = datetime(2025, 4, 30, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine() -> Iterator[GateEngine]:
    with GateEngine() as one:
        yield one


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gates") / "data.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """
            create table numbers as
            select
                range as id,
                range % 7 as remainder,
                'x{' || range || '}' as label,
                case when range >= 50 then range end as value
            from range(1000);
            create table twice as select * from (values (1, 'a'), (1, 'a'), (2, 'b')) t(id, code);
            create table nothing as select * from numbers limit 0;
            create view seen as select id, value from numbers where id < 3;
            create table "Odd ""name" as select 1 as "Odd column";
            create table kinds as select
                12.50::decimal(9, 2) as amount, 'nan'::double as ratio, date '2024-01-31' as day,
                timestamptz '2024-01-31 12:00:00+02' as moment, [1, 2] as list,
                {'a': 1} as struct, 'ff'::blob as bytes, sum(1)::hugeint as total,
                '00000000-0000-0000-0000-000000000001'::uuid as id, interval 2 day as span,
                'b'::enum('a', 'b') as choice, map {'k': 1} as pairs, null as nothing;
            """
        )
    return path


def native(kind: str, /, severity: Severity = Severity.FAIL, **kwargs: Any) -> Check:
    return Check(kind, "A rule.", kind, severity, "Do something.", kwargs)


def rows(sql: str, severity: Severity = Severity.FAIL) -> Check:
    return Check("in_sql", "A rule.", ROWS, severity, "Do something.", sql=sql)


def run(engine: GateEngine, database: Path, relation: str, *checks: Check) -> GateResult:
    suite = Suite(3, "a suite", relation, checks)
    return engine.run(database, [suite], gate=3, subject="a run", checked_at=CHECKED_AT)


def only(engine: GateEngine, database: Path, relation: str, check: Check) -> CheckResult:
    (found,) = run(engine, database, relation, check).results
    return found


def can_be_written(database: Path) -> bool:
    with duckdb.connect(str(database)) as connection:
        connection.execute("create or replace table written as select 1")
        return connection.execute("select count(*) from written").fetchall() == [(1,)]


HOLDS = [
    native("expect_column_values_to_not_be_null", column="id"),
    native("expect_column_values_to_be_unique", column="id"),
    native("expect_compound_columns_to_be_unique", column_list=["id", "label"]),
    native("expect_column_values_to_be_in_set", column="remainder", value_set=list(range(7))),
    native("expect_column_value_lengths_to_be_between", column="label", min_value=4),
    native("expect_column_pair_values_a_to_be_greater_than_b", column_A="id", column_B="remainder",
           or_equal=True),
    native("expect_column_to_exist", column="value"),
    native("expect_table_columns_to_match_ordered_list",
           column_list=["id", "remainder", "label", "value"]),
    native("expect_column_values_to_be_of_type", column="id", type_="BIGINT"),
    native("expect_column_values_to_be_of_type", column="label", type_="VARCHAR"),
    native("expect_column_sum_to_be_between", column="id", min_value=499500, max_value=499500),
    native("expect_column_unique_value_count_to_be_between", column="remainder", max_value=7),
    native("expect_table_row_count_to_equal", value=1000),
    native("expect_column_mean_to_be_between", column="id", min_value=499, max_value=500),
    rows("select * from numbers where id < 0"),
]  # fmt: skip


def test_every_kind_of_check_can_hold(engine: GateEngine, database: Path) -> None:
    found = run(engine, database, "numbers", *HOLDS)
    assert [(r.check, r.error) for r in found.results if not r.success] == []
    assert found.passed
    assert all(result.rows == () for result in found.results)
    assert found.results[12].observed == 1000


@pytest.mark.parametrize(
    ("check", "count", "row"),
    [
        (
            native("expect_column_values_to_not_be_null", column="value"),
            50,
            {"id": 0, "remainder": 0, "label": "x{0}", "value": None},
        ),
        (
            native("expect_column_values_to_be_between", column="id", max_value=996),
            3,
            {"id": 997, "remainder": 3, "label": "x{997}", "value": 997},
        ),
        (
            native("expect_column_values_to_be_in_set", column="remainder", value_set=[1, 2]),
            714,
            None,
        ),
        (
            native("expect_column_pair_values_a_to_be_greater_than_b", column_A="id",
                   column_B="remainder"),
            7,
            {"id": 0, "remainder": 0, "label": "x{0}", "value": None},
        ),
        (
            rows("select id, label from numbers where id >= 998"),
            2,
            {"id": 998, "label": "x{998}"},
        ),
    ],
)  # fmt: skip
def test_what_fails_shows_whole_rows(
    engine: GateEngine, database: Path, check: Check, count: int, row: dict[str, Any] | None
) -> None:
    found = only(engine, database, "numbers", check)
    assert not found.success
    assert found.error is None
    assert found.n_unexpected == count
    assert len(found.rows) == min(count, MAX_SAMPLE_ROWS)
    assert row is None or found.rows[0] == row


def test_a_key_that_is_there_twice_shows_its_rows(engine: GateEngine, database: Path) -> None:
    check = native("expect_compound_columns_to_be_unique", column_list=["id", "code"])
    found = only(engine, database, "twice", check)
    assert found.n_unexpected == 2
    assert found.rows == ({"id": 1, "code": "a"}, {"id": 1, "code": "a"})


def test_what_is_observed_is_kept(engine: GateEngine, database: Path) -> None:
    largest = native("expect_column_max_to_be_between", column="id", max_value=10)
    assert only(engine, database, "numbers", largest).observed == 999
    columns = native("expect_table_columns_to_match_set", column_set=["id", "value", "unit"])
    observed = only(engine, database, "numbers", columns).observed
    assert observed == {
        "value": ["id", "label", "remainder", "value"],
        "details": {"mismatched": {"unexpected": ["label", "remainder"], "missing": ["unit"]}},
    }
    kind = native("expect_column_values_to_be_of_type", column="id", type_="VARCHAR")
    assert only(engine, database, "numbers", kind).observed == "BIGINT"


def test_a_sample_is_short_and_the_count_is_true(engine: GateEngine, database: Path) -> None:
    unordered = only(engine, database, "numbers", rows("select id from numbers where id >= 10"))
    assert unordered.n_unexpected == unordered.observed == 990
    assert [row["id"] for row in unordered.rows] == list(range(10, 30))
    shuffled = rows("select id from (select id from numbers where id >= 10 order by hash(id))")
    assert only(engine, database, "numbers", shuffled).rows == unordered.rows
    ordered = rows("select id from numbers where id >= 10\n  Order  By id desc;\n")
    found = only(engine, database, "numbers", ordered)
    assert found.n_unexpected == 990
    assert [row["id"] for row in found.rows] == list(range(999, 979, -1))
    exact = rows(f"select id from numbers where id < {MAX_SAMPLE_ROWS}")
    assert only(engine, database, "numbers", exact).n_unexpected == MAX_SAMPLE_ROWS


@pytest.mark.parametrize(
    "sql",
    [
        "select label from numbers where label = 'x{3}'",
        "select label from numbers where regexp_full_match(label, '.{4}') and id = 3",
        "select {'a': id}['a'] as label from numbers where id = 3 -- {batch} {} :name $1 ?",
        "select id::varchar || ' :name ' as label from numbers where id = 3",
        "select label from numbers where id = 3 /* {{ x }} */ ;  ",
        "with three as (select * from numbers where id = 3) select label from three",
    ],
)
def test_sql_is_left_as_it_is(engine: GateEngine, database: Path, sql: str) -> None:
    found = only(engine, database, "numbers", rows(sql))
    assert found.error is None
    assert found.n_unexpected == 1


def test_every_type_can_be_shown(engine: GateEngine, database: Path) -> None:
    found = only(engine, database, "kinds", rows("select * from kinds"))
    assert found.error is None
    assert dict(found.rows[0]) == {
        "amount": 12.5,
        "ratio": "nan",
        "day": "2024-01-31",
        "moment": "2024-01-31T10:00:00+00:00",
        "list": [1, 2],
        "struct": {"a": 1},
        "bytes": "6666",
        "total": 1,
        "id": "00000000-0000-0000-0000-000000000001",
        "span": "2 days, 0:00:00",
        "choice": "b",
        "pairs": {"k": 1},
        "nothing": None,
    }


def test_a_warning_does_not_stop_the_flow(engine: GateEngine, database: Path) -> None:
    check = native("expect_column_values_to_not_be_null", severity=Severity.WARN, column="value")
    found = run(engine, database, "numbers", check)
    assert found.passed
    assert [w.check for w in found.warnings] == ["expect_column_values_to_not_be_null"]


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (rows("select nothing from numbers", Severity.WARN), "nothing"),
        (rows("selec", Severity.WARN), "syntax error"),
        (rows("select 1; drop table numbers", Severity.WARN), "syntax error"),
        (rows("delete from numbers", Severity.WARN), "syntax error"),
        (rows("select * from twice_as_much", Severity.WARN), "twice_as_much"),
        (rows("select error('told ' || id) from numbers", Severity.WARN), "told 0"),
        (
            native("expect_column_max_to_be_between", Severity.WARN, column="none", max_value=1),
            'The column "none"',
        ),
        (
            native("expect_column_values_to_match_regex", Severity.WARN, column="label", regex="x"),
            "Regex is not supported",
        ),
    ],
)
def test_what_cannot_be_evaluated_stops_the_flow(
    engine: GateEngine, database: Path, check: Check, why: str
) -> None:
    found = run(engine, database, "numbers", check)
    (result,) = found.results
    assert why in (result.error or "")
    assert "\n" not in (result.error or "")
    assert "[SQL" not in (result.error or "")
    assert not found.passed


def test_one_broken_check_takes_no_other_with_it(engine: GateEngine, database: Path) -> None:
    broken = native("expect_column_max_to_be_between", column="label", max_value=10)
    found = run(engine, database, "numbers", rows("selec"), HOLDS[0], broken, *HOLDS[1:])
    assert [r.check for r in found.results if r.error] == ["in_sql", broken.name]
    assert [r.check for r in found.results if not r.success] == ["in_sql", broken.name]
    assert [r.check for r in found.results][3:] == [c.name for c in HOLDS[1:]]


def test_a_relation_that_is_not_there_fails_all_its_checks(
    engine: GateEngine, database: Path
) -> None:
    suites = [
        Suite(3, "absent", "mart_absent", tuple(HOLDS[:3])),
        Suite(3, "present", "numbers", tuple(HOLDS[:3])),
    ]
    found = engine.run(database, suites, gate=3, subject="a run", checked_at=CHECKED_AT)
    assert [bool(r.error) for r in found.results] == [True] * 3 + [False] * 3
    assert "mart_absent" in (found.results[0].error or "")
    assert can_be_written(database)


def test_views_odd_names_and_empty_tables(engine: GateEngine, database: Path) -> None:
    empty = [HOLDS[0], HOLDS[1], HOLDS[2], native("expect_table_row_count_to_equal", value=0)]
    suites = [
        Suite(3, "a view", "seen", (native("expect_table_row_count_to_equal", value=3),)),
        Suite(3, "the same view", "seen", (HOLDS[0],)),
        Suite(3, "odd", 'Odd "name', (native("expect_column_to_exist", column="Odd column"),)),
        Suite(3, "empty", "nothing", tuple(empty)),
        Suite(3, "no checks", "numbers", ()),
    ]
    found = engine.run(database, suites, gate=3, subject="a run", checked_at=CHECKED_AT)
    assert [(r.suite, r.check, r.error) for r in found.results if not r.success] == []
    assert len(found.results) == 7


def test_equal_data_gives_equal_bytes(engine: GateEngine, database: Path) -> None:
    checks = [
        native("expect_column_values_to_be_between", column="id", max_value=10),
        rows("select remainder, count(*) as n from numbers group by all"),
        *HOLDS,
    ]
    first = run(engine, database, "numbers", *checks)
    again = run(engine, database, "numbers", *checks)
    assert first.dumps() == again.dumps()
    assert GateResult.loads(first.dumps()) == first


def test_an_unknown_expectation_is_named_with_suite_and_check(
    engine: GateEngine, database: Path
) -> None:
    for name in ("expect_miracles", "ExpectColumnToExist", "expectation", "__init__", ""):
        check = Check("a_check", "A rule.", name, Severity.FAIL, "", {})
        with pytest.raises(ConfigurationError) as caught:
            run(engine, database, "numbers", HOLDS[0], check)
        assert caught.value.code == "Z-CFG-020"
        assert "'a suite'" in caught.value.message
        assert "'a_check'" in caught.value.message


@pytest.mark.parametrize(
    "check",
    [
        native("expect_column_to_exist"),
        native("expect_column_to_exist", column="id", colour="red"),
        native("expect_column_to_exist", column="id", meta={}),
        rows("  "),
    ],
)
def test_arguments_that_do_not_fit_are_a_mistake_in_the_suite(
    engine: GateEngine, database: Path, check: Check
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(engine, database, "numbers", check)
    assert caught.value.code == "Z-CFG-022"
    assert repr(check.name) in caught.value.message


def test_a_gate_without_checks_is_a_mistake(engine: GateEngine, database: Path) -> None:
    for suites in ([], [Suite(3, "no checks", "numbers", ())]):
        with pytest.raises(ConfigurationError) as caught:
            engine.run(database, suites, gate=3, subject="a run", checked_at=CHECKED_AT)
        assert caught.value.code == "Z-CFG-023"


def test_a_file_that_cannot_be_read_is_named(engine: GateEngine, tmp_path: Path) -> None:
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"no database" * 1000)
    for path in (tmp_path / "none.duckdb", broken):
        with pytest.raises(GateError) as caught:
            run(engine, path, "numbers", HOLDS[0])
        assert caught.value.code == "Z-GATE-010"
        assert str(path) in caught.value.message
    assert not (tmp_path / "none.duckdb").exists()


def test_a_file_that_is_being_written_is_not_read(engine: GateEngine, tmp_path: Path) -> None:
    path = tmp_path / "busy.duckdb"
    with duckdb.connect(str(path)) as writer:
        writer.execute("create table numbers as select 1 as id")
        with pytest.raises(GateError) as caught:
            run(engine, path, "numbers", HOLDS[0])
    assert caught.value.code == "Z-GATE-010"
    assert run(engine, path, "numbers", HOLDS[0]).passed


def test_a_path_may_hold_any_character(engine: GateEngine, tmp_path: Path) -> None:
    folder = tmp_path / "with space #y %41 $HOME é 'q'"
    folder.mkdir()
    path = folder / "data.duckdb"
    duckdb.connect(str(path)).execute("create table numbers as select 1 as id").close()
    assert run(engine, path, "numbers", HOLDS[0]).passed
    assert can_be_written(path)


def test_the_file_can_be_written_afterwards(engine: GateEngine, database: Path) -> None:
    run(engine, database, "numbers", *HOLDS, rows("selec"))
    assert can_be_written(database)
    with pytest.raises(ConfigurationError):
        run(engine, database, "numbers", native("expect_miracles"))
    assert can_be_written(database)


def test_the_data_cannot_be_changed_by_a_check(engine: GateEngine, database: Path) -> None:
    run(engine, database, "twice", rows("delete from twice returning *"))
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.execute("select count(*) from twice").fetchall() == [(3,)]


def test_engines_do_not_disturb_each_other(engine: GateEngine, database: Path) -> None:
    with GateEngine() as other:
        assert run(other, database, "numbers", HOLDS[0]).passed
        assert run(engine, database, "numbers", HOLDS[0]).passed
    assert run(engine, database, "numbers", HOLDS[0]).passed
    suite = Suite(3, "a suite", "numbers", (HOLDS[0],))
    assert run_suites(database, [suite], gate=3, subject="a run", checked_at=CHECKED_AT).passed


def test_many_runs_leave_nothing_behind(
    engine: GateEngine, tmp_path: Path, record_property: Any
) -> None:
    """200 files through one engine; the time is reported, not judged."""
    checks = (HOLDS[0], rows("select * from numbers where id < 0"))
    paths = [tmp_path / f"{number}.duckdb" for number in range(4)]
    for path in paths:
        duckdb.connect(str(path)).execute("create table numbers as select 1 as id").close()
    run(engine, paths[0], "numbers", *checks)
    descriptors = len(os.listdir("/proc/self/fd"))
    started = perf_counter()
    for number in range(200):
        assert run(engine, paths[number % 4], "numbers", *checks).passed
    per_run = (perf_counter() - started) / 200
    record_property("ms_per_run_of_2_checks", round(per_run * 1000, 1))
    print(f"{per_run * 1000:.1f} ms per run of 2 checks")
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert all(can_be_written(path) for path in paths)


def test_the_process_is_left_as_it_was(database: Path, tmp_path: Path) -> None:
    """As in an Airflow task: handlers, signals and warnings stay; no files, no network."""
    home = tmp_path / "home"
    home.mkdir()
    code = textwrap.dedent(
        f"""
        import logging, signal, socket, sys, warnings
        from datetime import UTC, datetime
        from pathlib import Path

        def no_network(*_):
            raise AssertionError("the network was used")

        socket.socket.connect = no_network
        socket.getaddrinfo = no_network
        handler = logging.StreamHandler(sys.stdout)
        logging.getLogger().addHandler(handler)

        def state():
            return (
                logging.getLogger().handlers[:], logging.getLogger().level, logging.root.disabled,
                [signal.getsignal(number) for number in signal.valid_signals()],
                warnings.showwarning, warnings.filters[:], sys.excepthook,
            )

        from zicht.gates.engine import GateEngine
        from zicht.gates.model import Check, Severity, Suite
        before = state()
        check = Check("c", "d", "expect_column_values_to_match_regex", Severity.FAIL, "r",
                      {{"column": "label", "regex": "x"}})
        with GateEngine() as engine:
            found = engine.run(Path({str(database)!r}), [Suite(1, "s", "numbers", (check,))],
                               gate=1, subject="x", checked_at=datetime.now(UTC))
        assert found.results[0].error
        after = state()
        assert before == after, [pair for pair in zip(before, after) if pair[0] != pair[1]]
        logging.getLogger("great_expectations").warning("still heard")
        logging.captureWarnings(True)
        assert warnings.showwarning is not before[4], "warnings can no longer be captured"
        """
    )
    environment = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "still heard\n"
    assert done.stderr == ""
    assert list(home.rglob("*")) == []
