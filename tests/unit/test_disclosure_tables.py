"""Cells: how they are read, what is computed from them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas
import pytest

from zicht.disclosure.reading import read_columns
from zicht.disclosure.spec import Spec, spec_of
from zicht.disclosure.tables import Table, build_table, equations, merge_codes
from zicht.errors import DisclosureError

GEOGRAPHY = {"A1": ("PA", "V1"), "A2": ("PA", "V2"), "B1": ("PB", "V1"), "B2": ("PB", "V2")}


def spec(**changed: Any) -> Spec:
    dimensions = {
        "mun": {"hierarchies": [["mun", "prov"], ["mun", "vr"]], "total": "Total"},
        "cat": {"total": "Total"},
    }
    return spec_of({"dimensions": dimensions, "count": "freq", **changed})


def rows() -> list[dict[str, Any]]:
    return [
        {"mun": mun, "prov": prov, "vr": vr, "period": "2024", "cat": cat, "freq": str(freq)}
        for number, (mun, (prov, vr)) in enumerate(GEOGRAPHY.items())
        for cat, freq in (("C1", number), ("C2", 10 * number))
    ]


def frame(made: list[dict[str, Any]]) -> pandas.DataFrame:
    return pandas.DataFrame(made)


def build(made: list[dict[str, Any]], own: Spec | None = None) -> Table:
    return build_table(read_columns(frame(made)), own or spec(), "cells.csv")


def refusal(made: list[dict[str, Any]], own: Spec | None = None) -> DisclosureError:
    with pytest.raises(DisclosureError) as caught:
        build(made, own)
    assert caught.value.message.startswith("cells.csv: "), caught.value
    assert caught.value.remedy
    return caught.value


def value(table: Table, *codes: str) -> int:
    index = tuple(axis.position[code] for axis, code in zip(table.axes, codes, strict=True))
    return int(table.count[index])


def test_every_level_and_total_is_computed() -> None:
    table = build(rows())
    assert table.axes[0].codes == ("A1", "A2", "B1", "B2", "PA", "PB", "Total", "V1", "V2")
    assert value(table, "PB", "C1") == 2 + 3
    assert value(table, "V1", "C2") == 0 + 20
    assert value(table, "Total", "Total") == 66
    assert table.n_nonzero[table.axes[0].position["PA"]].tolist() == [1, 1, 2]
    assert np.all(equations(table.axes) @ table.count.ravel() == 0)


def test_cells_are_in_the_order_of_their_codes() -> None:
    keys = build(rows()).key_columns()
    cells = list(zip(*keys.values(), strict=True))
    assert list(keys) == ["mun", "cat"]
    assert cells == sorted(cells)


def test_the_same_table_comes_out_of_every_format(tmp_path: Path) -> None:
    made = frame(rows())
    made.to_csv(tmp_path / "cells.csv", index=False)
    made.to_csv(tmp_path / "semicolon.csv", index=False, sep=";", encoding="utf-8-sig")
    made["freq"] = made["freq"].astype(int)
    duckdb.sql("select * from made").write_parquet(str(tmp_path / "cells.parquet"))
    for source in (made, *sorted(tmp_path.iterdir())):
        assert np.array_equal(build_table(read_columns(source), spec()).count, build(rows()).count)


def test_numeric_codes_are_text_without_a_point() -> None:
    own = spec_of({"dimensions": {"year": None}, "count": "freq"})
    table = build_table(read_columns({"year": [2023.0, 2024.0], "freq": [1, 2]}), own)
    assert table.axes[0].codes == ("2023", "2024", "Total")


def test_a_missing_total_leaves_the_dimension_without_one() -> None:
    own = spec_of({"dimensions": {"cat": {"total": None}, "sex": None}, "count": "n"})
    cells = {"cat": ["a", "a", "b", "b"], "sex": ["f", "m"] * 2, "n": [1, 2, 3, 4]}
    table = build_table(read_columns(cells), own)
    assert table.axes[0].codes == ("a", "b")
    assert equations(table.axes).shape == (2, 6)


def test_a_dimension_that_is_not_additive_takes_its_totals_from_the_rows() -> None:
    own = spec_of({"dimensions": {"offence": {"additive": False}}, "count": "n"})
    table = build_table(read_columns({"offence": ["a", "b", "Total"], "n": [5, 6, 8]}), own)
    assert table.count.tolist() == [8, 5, 6]
    assert equations(table.axes).shape[0] == 0
    with pytest.raises(DisclosureError, match="Z-DIS-024"):
        build_table(read_columns({"offence": ["a", "b"], "n": [5, 6]}), own)


def test_totals_among_the_rows_are_compared_with_the_sums() -> None:
    total = {"mun": "Total", "prov": "", "vr": "", "period": "2024", "cat": "C1", "freq": "6"}
    assert np.array_equal(build([*rows(), total]).count, build(rows()).count)
    error = refusal([*rows(), {**total, "freq": "7"}])
    assert error.code == "Z-DIS-025"
    assert "Total/C1 is 7, its parts sum to 6" in error.message


def test_a_missing_combination_is_an_error_unless_policy_says_zero() -> None:
    error = refusal(rows()[:-1])
    assert (error.code, "1 of 8" in error.message, "B2/C2" in error.message) == (
        "Z-DIS-024",
        True,
        True,
    )
    table = build(rows()[:-1], spec(policy={"missing_cells": "zero"}))
    assert value(table, "B2", "Total") == 3


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ({"freq": "-1"}, "Z-DIS-022", "'-1' in row 2"),
        ({"freq": "2.5"}, "Z-DIS-022", "'2.5' in row 2"),
        ({"freq": ""}, "Z-DIS-022", "'' in row 2"),
        ({"freq": "many"}, "Z-DIS-022", "'many' in row 2"),
        ({"freq": "nan"}, "Z-DIS-022", "'nan' in row 2"),
        ({"freq": "inf"}, "Z-DIS-022", "'inf' in row 2"),
        ({"freq": "1_000"}, "Z-DIS-022", "'1_000' in row 2"),
        ({"freq": "1e30"}, "Z-DIS-030", "1e+30"),
        ({"cat": "C1"}, "Z-DIS-023", "A1/C1"),
        ({"prov": ""}, "Z-DIS-026", "an orphan"),
        ({"prov": "PB"}, "Z-DIS-026", "A1 lies in two of prov: PA and PB"),
        ({"cat": ""}, "Z-DIS-029", "cat is empty"),
        ({"cat": "=C2"}, "Z-DIS-029", "'=C2'"),
        ({"cat": "@C2"}, "Z-DIS-029", "'@C2'"),
        ({"cat": "C\x072"}, "Z-DIS-029", "spreadsheet"),
    ],
)
def test_a_row_that_cannot_be_is_named(changed: dict[str, str], code: str, says: str) -> None:
    made = rows()
    made[1] |= changed
    error = refusal(made)
    assert (error.code, says in error.message) == (code, True), error


def renamed(column: str, **codes: str) -> list[dict[str, Any]]:
    return [{**row, column: codes.get(row[column], row[column])} for row in rows()]


def test_a_code_stands_at_one_level_and_is_not_the_total() -> None:
    assert refusal(renamed("vr", V1="PA")).code == "Z-DIS-027"
    assert refusal(renamed("prov", PA="Total")).code == "Z-DIS-028"
    error = refusal(renamed("mun", A1="Total"))
    assert (error.code, "below" in error.message) == ("Z-DIS-028", True)


def test_a_municipality_named_as_its_own_province_is_a_cycle() -> None:
    made = renamed("prov", PA="A1")
    assert refusal(made).code == "Z-DIS-027"
    assert "cycle" in refusal(made).message


def test_a_missing_column_is_named() -> None:
    for column in ("prov", "cat", "freq"):
        made = [{key: own for key, own in row.items() if key != column} for row in rows()]
        error = refusal(made)
        assert (error.code, f"no column {column}" in error.message) == ("Z-DIS-021", True)


def test_a_table_that_nobody_could_review_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zicht.disclosure.tables.MOST_CELLS", 26)
    assert refusal(rows()).code == "Z-DIS-030"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "Z-DIS-020"),
        (b"mun,prov,vr,cat,freq\n", "Z-DIS-020"),
        (b"mun,prov,vr,cat,freq\nA,B,C\n", "Z-DIS-020"),
        (b"mun,prov,vr,cat,freq\nFrysl\xe2n,PA,V1,C1,1\n", "Z-DIS-020"),
        (b"PAR1 but no more", "Z-DIS-020"),
        (b"mun,mun,vr,cat,freq\nA,B,C,D,1\n", "Z-DIS-021"),
        (b"mun,,vr,cat,freq\nA,B,C,D,1\n", "Z-DIS-021"),
        (None, "Z-DIS-020"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, content: bytes | None, code: str
) -> None:
    path = tmp_path / "cells.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DisclosureError) as caught:
        read_columns(path)
    assert (caught.value.code, "cells.csv" in caught.value.message) == (code, True)


def test_merging_categories_keeps_the_sums() -> None:
    own = spec_of({"dimensions": {"mun": None, "cat": None}, "count": "n"})
    cells = {"mun": ["x"] * 3 + ["y"] * 3, "cat": ["a", "b", "c"] * 2, "n": [1, 2, 3, 4, 5, 6]}
    table = build_table(read_columns(cells), own)
    merged = merge_codes(table, "cat", ["a", "c"])
    assert merged.axes[1].codes == ("Total", "a+c", "b")
    assert value(merged, "y", "a+c") == 10
    assert value(merged, "Total", "Total") == 21
    again = merge_codes(merged, "cat", ["a+c", "b"])
    assert again.axes[1].codes == ("Total", "a+b+c")
