"""The values that gates work with: verdicts, and JSON that can be stored and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zicht.gates.model import MAX_TEXT, CheckResult, GateResult, Severity, as_json

CHECKED_AT = datetime(2025, 4, 30, 9, 0, tzinfo=UTC)


def result(
    *, success: bool, severity: Severity = Severity.FAIL, error: str | None = None
) -> CheckResult:
    return CheckResult(
        suite="a suite",
        relation="a_relation",
        check="a_check",
        description="A rule.",
        severity=severity,
        success=success,
        remedy="Do something.",
        observed={"value": 3, "details": {"missing": ["x"]}},
        n_unexpected=2,
        rows=({"region_code": "GM0363", "value": None}, {"region_code": "GM0014", "value": -1.5}),
        error=error,
    )


def gate(*results: CheckResult) -> GateResult:
    return GateResult(gate=3, subject="run", checked_at=CHECKED_AT, results=results)


@pytest.mark.parametrize(
    ("one", "stops", "warns"),
    [
        (result(success=True), False, False),
        (result(success=True, severity=Severity.WARN), False, False),
        (result(success=False), True, False),
        (result(success=False, severity=Severity.WARN), False, True),
        (result(success=False, severity=Severity.WARN, error="no such column"), True, False),
    ],
)
def test_what_stops_the_flow(one: CheckResult, stops: bool, warns: bool) -> None:
    found = gate(one)
    assert (one.is_failure, one.is_warning) == (stops, warns)
    assert found.passed is not stops
    assert found.failures == ((one,) if stops else ())
    assert found.warnings == ((one,) if warns else ())


def test_json_comes_back_as_it_was() -> None:
    found = gate(
        result(success=True),
        result(success=False, severity=Severity.WARN),
        result(success=False, error="Binder Error"),
    )
    back = GateResult.loads(found.dumps())
    assert back == found
    assert back.dumps() == found.dumps()
    assert GateResult.from_json(found.to_json()) == found


def test_a_stored_verdict_is_not_believed() -> None:
    document = json.loads(gate(result(success=False)).dumps())
    document["passed"] = True
    assert not GateResult.from_json(document).passed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("12.50"), 12.5),
        (Decimal("12.00"), 12),
        (Decimal("NaN"), "NaN"),
        (float("inf"), "inf"),
        (date(2024, 1, 31), "2024-01-31"),
        (time(9, 30), "09:30:00"),
        (datetime(2024, 1, 31, tzinfo=UTC), "2024-01-31T00:00:00+00:00"),
        (timedelta(days=2), "2 days, 0:00:00"),
        (b"\x00\xff", "00ff"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"b": [Decimal(1)], 2: (None,)}, {"b": [1], "2": [None]}),
        ({"b", "a"}, ["a", "b"]),
        (pd.NaT, None),
        (pd.Series([7]).iloc[0], 7),
        (Severity.WARN, "warn"),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT + "…"),
    ],
)
def test_values_become_json(value: object, expected: object) -> None:
    assert as_json(value) == expected
    assert type(as_json(value)) is type(expected)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.decimals()
        | st.dates()
        | st.datetimes(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_anything_becomes_json(value: object) -> None:
    json.dumps(as_json(value), allow_nan=False)


def test_the_model_and_the_report_do_without_great_expectations() -> None:
    code = (
        "import sys, zicht.gates.model, zicht.gates.suites, zicht.gates.report, zicht.gates.engine;"
        "print('great_expectations' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
