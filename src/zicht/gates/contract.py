"""Gate 1: is this delivery what was agreed? The suite follows from the contract and nothing else.

The delivered file stands in a scratch database twice: ``text_<table>`` as written (all text, with
the row number ``_row``, the first data row being 1) and ``<table>`` with the types of the contract.
Every rule is a query for the offending rows, so that a refusal can name row, column and value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zicht.contracts import Column, Contract, Rule, Table
from zicht.gates.model import ROWS, Check, Severity, Suite
from zicht.periods import Cadence, Period

CODES = {
    "columns": "Z-DEL-101",
    "has_rows": "Z-DEL-102",
    "types": "Z-DEL-103",
    "required": "Z-DEL-104",
    "unique_key": "Z-DEL-105",
    "reference_period": "Z-DEL-106",
    "known_region": "Z-DEL-107",
    "no_neighbourhood": "Z-DEL-108",
    "region_existed": "Z-DEL-109",
    "range": "Z-DEL-110",
    "rounding_base": "Z-DEL-111",
    "code_list": "Z-DEL-112",
    "pattern": "Z-DEL-113",
}
"""Error code per rule of gate 1; a contract's own quality rules have Z-DEL-120."""

OWN_RULE_CODE = "Z-DEL-120"

_BELOW_MUNICIPALITY = r"(?is)(BU|WK)\s*[0-9]{4,}.*"
# DuckDB's cast takes more than a number: it rounds 1.5 to 2, and reads 1_000, 0x10, nan and inf.
_FORMS = {
    "BIGINT": r"[+-]?[0-9]+(\.0+)?",
    "DOUBLE": r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?",
}
_STATLINE_PERIOD = {Cadence.YEARLY: "JJ", Cadence.QUARTERLY: "KW", Cadence.MONTHLY: "MM"}


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def statline_period(period: Period) -> str:
    """The code that Statistics Netherlands gives a period: ``2024JJ00``."""
    number = 0 if period.cadence is Cadence.YEARLY else period.number
    return f"{period.year}{_STATLINE_PERIOD[period.cadence]}{number:02d}"


def _offending(
    table: str, columns: Iterable[Column], condition: Callable[[Column], str | None]
) -> str | None:
    """One query over several columns; None when no column has such a condition."""
    parts = [
        f'select _row, {_text(column.name)} as "column", '
        f"cast({_name(column.name)} as varchar) as value from {table} where {where}"
        for column in columns
        if (where := condition(column)) is not None
    ]
    return " union all ".join(parts) + " order by 1, 2" if parts else None


def _range(column: Column) -> str | None:
    limits = [
        f"{_name(column.name)} {sign} {limit!r}"
        for sign, limit in (("<", column.minimum), (">", column.maximum))
        if limit is not None
    ]
    return " or ".join(limits) or None


def _types(column: Column) -> str | None:
    if column.sql_type == "VARCHAR":
        return None
    value = f"nullif(trim({_name(column.name)}), '')"
    wrong = f"try_cast({value} as {column.sql_type}) is null"
    if form := _FORMS.get(column.sql_type):
        wrong += f" or not regexp_full_match({value}, {_text(form)})"
    return f"{value} is not null and ({wrong})"


def _required(column: Column) -> str | None:
    if not (column.required or column.is_key):
        return None
    return f"coalesce(trim(cast({_name(column.name)} as varchar)), '') = ''"


def _pattern(column: Column) -> str | None:
    if column.pattern is None:
        return None
    value = f"trim({_name(column.name)})"
    return f"{value} <> '' and not regexp_full_match({value}, {_text(column.pattern)})"


def _code_list(column: Column) -> str | None:
    if not column.values:
        return None
    values = ", ".join(_text(value) for value in column.values)
    return f"trim({_name(column.name)}) not in ({values})"


def _rounding_base(column: Column) -> str | None:
    return f"{_name(column.name)} % {column.multiple_of!r} <> 0" if column.multiple_of else None


def _no_neighbourhood(column: Column) -> str | None:
    if column.sql_type != "VARCHAR":
        return None
    return f"regexp_full_match(trim({_name(column.name)}), {_text(_BELOW_MUNICIPALITY)})"


def _known_region(column: Column) -> str | None:
    if not column.region_levels:
        return None
    value = f"trim({_name(column.name)})"
    levels = ", ".join(_text(level) for level in column.region_levels)
    # A neighbourhood is refused under its own rule, with its own reason.
    return (
        f"{value} <> '' and {value} not in "
        f"(select region_code from codes where region_level in ({levels})) "
        f"and not regexp_full_match({value}, {_text(_BELOW_MUNICIPALITY)})"
    )


def _unique_key(table: Table) -> str:
    # Padding is no difference: staging trims, and two such rows would be one there.
    keys = ", ".join(f"trim(cast({_name(key)} as varchar))" for key in table.keys)
    shown = " || ' / ' || ".join(f"trim(cast({_name(key)} as varchar))" for key in table.keys)
    return (
        f'select _row, {_text(" + ".join(table.keys))} as "column", {shown} as value '
        f"from {table.name} qualify count(*) over (partition by {keys}) > 1 order by 1"
    )


def _region_existed(table: Table, period: Period) -> str | None:
    regions = [column for column in table.columns if column.region_levels]
    measures = [column for column in table.columns if column.sql_type in ("BIGINT", "DOUBLE")]
    if not regions or not measures:
        return None
    column = regions[0].name
    filled = " or ".join(f"{_name(measure.name)} is not null" for measure in measures)
    return (
        f'select _row, {_text(column)} as "column", trim({_name(column)}) as value '
        f"from {table.name} join codes on codes.region_code = trim({_name(column)}) "
        f"where ({filled}) and (codes.valid_from > date '{period.end}' "
        f"or codes.valid_to <= date '{period.start}') order by 1"
    )


def _reference_period(table: Table, column: str, period: Period) -> str:
    return (
        f'select _row, {_text(column)} as "column", {_name(column)} as value from {table.name} '
        f"where trim({_name(column)}) is distinct from {_text(statline_period(period))} order by 1"
    )


def _own(rule: Rule, table: Table) -> Check:
    return Check(
        name=rule.name,
        description=rule.description,
        expectation=ROWS,
        severity=Severity.FAIL if rule.severity == "error" else Severity.WARN,
        remedy=rule.remedy or "Correct the rows and deliver again.",
        sql=rule.sql.replace("{{ relation }}", table.name),
    )


def contract_suite(contract: Contract, table: Table, period: Period) -> tuple[Suite, Suite, Suite]:
    """The suites of gate 1 for one table of one delivery.

    Args:
        contract: the contract of the source.
        table: the table in it.
        period: the reference period that the descriptor states.

    Returns:
        The suite on the shape of the file, which comes first: without the right columns the others
        cannot be evaluated; the suite on the values as written; the suite on the typed values.
    """

    def rows(name: str, description: str, sql: str | None, remedy: str) -> list[Check]:
        if sql is None:
            return []
        return [Check(name, description, ROWS, Severity.FAIL, remedy, sql=sql)]

    text = f"text_{table.name}"
    shape = [
        Check(
            "columns",
            "The file has the columns of the contract, no more and no fewer.",
            "expect_table_columns_to_match_set",
            Severity.FAIL,
            f"Deliver the columns that {contract.path.name} lists, spelled as there and separated "
            f"by {contract.delimiter!r}.",
            kwargs={
                "column_set": ["_row", *(column.name for column in table.columns)],
                "exact_match": True,
            },
        ),
        Check(
            "has_rows",
            f"The file has at least {table.minimum_rows} row(s).",
            "expect_table_row_count_to_be_between",
            Severity.FAIL,
            "An empty delivery says nothing; deliver the rows or leave the delivery out.",
            kwargs={"min_value": table.minimum_rows},
        ),
    ]
    as_written = rows(
        "types",
        "Every value has the type of its column.",
        _offending(text, table.columns, _types),
        "Write numbers with digits and a decimal point, and nothing else in the field.",
    )
    over = table.columns
    typed = [
        *rows(
            "required",
            "Keys and required columns are filled.",
            _offending(table.name, over, _required),
            "Fill the field or leave the row out.",
        ),
        *rows(
            "unique_key",
            "No two rows have the same key.",
            _unique_key(table),
            "Deliver each key once; a correction is a new delivery that supersedes.",
        ),
        *rows(
            "no_neighbourhood",
            "No code of a neighbourhood or district (BU…, WK…) in any column.",
            _offending(table.name, over, _no_neighbourhood),
            "The municipality is the finest geography: aggregate before delivering.",
        ),
        *rows(
            "known_region",
            "Every region code is in the code list of Statistics Netherlands.",
            _offending(table.name, over, _known_region),
            "Correct the code. Is the municipality new? Then add it to the geography seeds first.",
        ),
        *rows(
            "region_existed",
            "No figures for a municipality that did not exist in the reference period.",
            _region_existed(table, period),
            "Deliver on the division of the reference period.",
        ),
        *rows(
            "range",
            "Numbers are within the limits of the contract; a count is never negative.",
            _offending(table.name, over, _range),
            "Correct the number; leave the field empty when it is not known.",
        ),
        *rows(
            "rounding_base",
            "Counts of a source that rounds are multiples of its base.",
            _offending(table.name, over, _rounding_base),
            "Deliver the figures as published; unrounded counts may disclose persons.",
        ),
        *rows(
            "code_list",
            "Coded columns hold values from the contract's list.",
            _offending(table.name, over, _code_list),
            "Use a listed code, or agree on a new version of the contract.",
        ),
        *rows(
            "pattern",
            "Text has the form that the contract gives.",
            _offending(table.name, over, _pattern),
            "Write the value in the agreed form.",
        ),
        *(_own(rule, table) for rule in table.rules),
    ]
    if contract.statline is not None:
        typed += rows(
            "reference_period",
            "All rows describe the period that the descriptor states.",
            _reference_period(table, contract.statline.period_column, period),
            "Make one delivery per period, and state that period in the descriptor.",
        )
    return (
        Suite(1, f"{contract.source}.{table.name}: shape", text, tuple(shape)),
        Suite(1, f"{contract.source}.{table.name}: as written", text, tuple(as_written)),
        Suite(1, f"{contract.source}.{table.name}: values", table.name, tuple(typed)),
    )
