"""Gate 1: is this delivery what was agreed? The suite follows from the contract and nothing else.

The delivery stands in an engine (see :mod:`zicht.deliveries.reading`), each row with a mark whether
any rule about a single row is broken. So a sound delivery costs one pass, and each rule is still a
query for its own offending rows, so that a refusal can name row, column and value. What identifies
a person is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from zicht.contracts import Column, Contract, Rule, Table, Usual
from zicht.gates.model import ROWS, Check, Severity, Suite
from zicht.periods import Cadence, Period
from zicht.sql import literal, quoted

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
    "foreign_key": "Z-DEL-114",
    "reference_time": "Z-DEL-115",
    "usual_rows": "Z-DEL-116",
    "usual_regions": "Z-DEL-117",
    "settled": "Z-DEL-130",
    "no_service_numbers": "Z-DEL-131",
}
"""Error code per rule of gate 1; a contract's own quality rules have Z-DEL-120."""

OWN_RULE_CODE = "Z-DEL-120"

MAY_NOT_BE_HERE = frozenset({CODES["settled"], CODES["no_service_numbers"]})
"""Codes of faults for which the content itself may not be kept."""

_BELOW_MUNICIPALITY = r"(?is)(BU|WK)\s*[0-9]{4,}.*"
_STATLINE_PERIOD = {Cadence.YEARLY: "JJ", Cadence.QUARTERLY: "KW", Cadence.MONTHLY: "MM"}


def statline_period(period: Period) -> str:
    """The code that Statistics Netherlands gives a period: ``2024JJ00``."""
    number = 0 if period.cadence is Cadence.YEARLY else period.number
    return f"{period.year}{_STATLINE_PERIOD[period.cadence]}{number:02d}"


_LONG_NUMBER = r"[0-9]([^0-9A-Za-z]?[0-9]){8,}"
"""Nine digits or more, also with marks between: may be a person's, whatever the column."""


def _shown(column: Column) -> str:
    """The value as a report may show it: enough to find it by, not enough to know somebody by."""
    value = f"cast({quoted(column.name)} as varchar)"
    if column.is_pseudonymised or column.classification == "sensitive":
        return f"left({value}, 0) || '…'"
    if column.classification == "identifier":
        return f"left({value}, 1) || '…'"
    return f"regexp_replace({value}, {literal(_LONG_NUMBER)}, '…', 'g')"


def _offending(
    table: str, columns: Iterable[Column], condition: Callable[[Column], str | None]
) -> str | None:
    """One query over several columns; None when no column has such a condition."""
    parts = [
        f'select _row, {literal(column.name)} as "column", {_shown(column)} as value '
        f"from faulty where {where}"
        for column in columns
        if (where := condition(column)) is not None
    ]
    if not parts:
        return None
    # Set apart first: of a sound delivery nothing is left to look at.
    faulty = f"with faulty as materialized (select * from {table} where _is_faulty) "
    return faulty + " union all ".join(parts) + " order by 1, 2"


def _range(column: Column) -> str | None:
    limits = [
        f"{quoted(column.name)} {sign} {limit!r}"
        for sign, limit in (("<", column.minimum), (">", column.maximum))
        if limit is not None
    ]
    return " or ".join(limits) or None


def _required(column: Column) -> str | None:
    if not (column.required or column.is_key):
        return None
    if column.sql_type != "VARCHAR":
        return f"{quoted(column.name)} is null"
    return f"coalesce(trim({quoted(column.name)}), '') = ''"


def _unfilled(table: Table) -> Callable[[Column], str | None]:
    """Required and empty, but for what was filled with something of another type: see ``types``."""

    def condition(column: Column) -> str | None:
        empty = _required(column)
        if empty is None or (column.sql_type == "VARCHAR" and not column.is_pseudonymised):
            return empty
        filled = f"trim({quoted(column.name)}) <> ''"
        return (
            f"({empty}) and _row not in (select _row from as_written_{table.name} where {filled})"
        )

    return condition


def _pattern(column: Column) -> str | None:
    # A keyed hash has another form than what it replaced, which was checked as written.
    if column.pattern is None or column.is_pseudonymised:
        return None
    value = f"trim({quoted(column.name)})"
    return f"{value} <> '' and not regexp_full_match({value}, {literal(column.pattern)})"


def _code_list(column: Column) -> str | None:
    if not column.values:
        return None
    values = ", ".join(literal(value) for value in column.values)
    return f"trim(cast({quoted(column.name)} as varchar)) not in ({values})"


def _rounding_base(column: Column) -> str | None:
    return f"{quoted(column.name)} % {column.multiple_of!r} <> 0" if column.multiple_of else None


def _no_neighbourhood(column: Column) -> str | None:
    if column.stored_type != "VARCHAR" or column.is_pseudonymised:
        return None
    return f"regexp_full_match(trim({quoted(column.name)}), {literal(_BELOW_MUNICIPALITY)})"


def _known_region(column: Column) -> str | None:
    if not column.region_levels:
        return None
    value = f"trim({quoted(column.name)})"
    levels = ", ".join(literal(level) for level in column.region_levels)
    # A neighbourhood is refused under its own rule, with its own reason.
    return (
        f"{value} <> '' and {value} not in "
        f"(select region_code from codes where region_level in ({levels})) "
        f"and not regexp_full_match({value}, {literal(_BELOW_MUNICIPALITY)})"
    )


def _region_existed(contract: Contract, table: Table) -> Callable[[Column], str | None]:
    """A public table lists every code in every year, empty where there was no such region."""
    measures = [c for c in table.columns if c.sql_type in ("BIGINT", "DOUBLE")]
    filled = " or ".join(f"{quoted(c.name)} is not null" for c in measures) or "true"

    def condition(column: Column) -> str | None:
        if not column.region_levels:
            return None
        gone = f"trim({quoted(column.name)}) in (select region_code from codes where not existed)"
        return gone if contract.needs_agreement else f"{gone} and ({filled})"

    return condition


def _reference_time(contract: Contract, period: Period) -> Callable[[Column], str | None]:
    last = contract.reference_day(period)

    def condition(column: Column) -> str | None:
        name = quoted(column.name)
        match column.time:
            case "within_period":
                return f"{name} < date '{period.start}' or {name} > date '{period.end}'"
            case "not_after_period":
                return f"{name} > date '{last}'"
            case "is_period":
                return f"trim({name}) <> {literal(str(period))}"
        return None

    return condition


def _settled(table: Table) -> Callable[[Column], str | None]:
    def condition(column: Column) -> str | None:
        if table.settled is None or column.name != table.settled.column:
            return None
        values = ", ".join(literal(value) for value in table.settled.values)
        return f"coalesce(trim({quoted(column.name)}), '') not in ({values})"

    return condition


def _foreign_key(table: Table) -> str | None:
    parts = [
        f'select _row, {literal(column.name)} as "column", {_shown(column)} as value '
        f"from {table.name} where coalesce(trim(cast({quoted(column.name)} as varchar)), '') <> '' "
        f"and {quoted(column.name)} not in (select {quoted(column.references[1])} "
        f"from {column.references[0]} where {quoted(column.references[1])} is not null)"
        for column in table.columns
        if column.references is not None
    ]
    return " union all ".join(parts) + " order by 1, 2" if parts else None


def _unique_key(table: Table) -> str:
    columns = [column for column in table.columns if column.is_key]
    # Padding is no difference: staging trims, and two such rows would be one there.
    keys = ", ".join(
        f"trim({quoted(c.name)})" if c.stored_type == "VARCHAR" else quoted(c.name) for c in columns
    )
    shown = " || ' / ' || ".join(f"trim({_shown(column)})" for column in columns)
    # Hashes are cheap to compare; only keys of equal hash are compared as they are.
    return (
        f"with suspects as materialized (select * from {table.name} where hash({keys}) in "
        f"(select hash({keys}) from {table.name} group by 1 having count(*) > 1)) "
        f'select _row, {literal(" + ".join(table.keys))} as "column", {shown} as value '
        f"from suspects qualify count(*) over (partition by {keys}) > 1 order by 1"
    )


def _usual_rows(table: Table, usual: Usual) -> str:
    return (
        "select cast(null as bigint) as _row, 'number of rows' as \"column\", "
        "now_n || ' where the last delivery had ' || n as value "
        f"from (select count(*) as now_n from {table.name}) as found "
        "inner join usual on usual.column_name is null "
        f"and usual.table_name = {literal(table.name)} "
        f"where now_n < {usual.least!r} * n or now_n > {usual.most!r} * n"
    )


def _usual_regions(table: Table, usual: Usual) -> str:
    """A municipality that took part in a re-division since then is passed over."""
    column = quoted(usual.column or "")
    return (
        f'select cast(null as bigint) as _row, {literal(usual.column or "")} as "column", '
        "usual.region_code || ': ' || coalesce(now_n, 0) || ' rows where the last delivery had ' "
        "|| n as value from usual "
        f"left join (select trim(code) as region_code, cast(sum(n) as bigint) as now_n from "
        f"(select {column} as code, count(*) as n from {table.name} group by 1) "
        "group by 1) as found on found.region_code = usual.region_code "
        f"where usual.table_name = {literal(table.name)} "
        f"and usual.column_name = {literal(usual.column or '')} "
        "and usual.region_code not in (select region_code from redivided) "
        "and usual.region_code not in (select region_code from codes where not existed) "
        f"and n >= {usual.at_least} and (now_n is null "
        f"or now_n < {usual.least!r} * n or now_n > {usual.most!r} * n) order by 3"
    )


_SAMPLE = 20_000
_LIKELY = 13.8
"""Natural logarithm of a million: less likely than one in that many is not chance."""


def _service_numbers(table: Table, *, sound: bool) -> str | None:
    """Columns in which too many nine-digit values pass the eleven-test of service numbers.

    Of arbitrary numbers one in eleven passes. The bound is Chernoff's for a binomial count: of n
    values k pass by chance with a probability below exp(-n·D(k/n ‖ 1/11)). Looks at some 100,000
    rows, at each value once; a letter before the digits and marks between them do not hide one.
    Source: Rijksdienst voor Identiteitsgegevens, elfproef: 9a+8b+7c+6d+5e+4f+3g+2h-i mod 11 = 0.
    """
    parts = []
    for column in table.columns:
        name = quoted(column.name)
        if column.is_pseudonymised:
            continue
        if column.values or column.region_levels:
            # What is listed is no number; only what is not has to be looked at.
            parts.append((column.name, _digits(name), "_is_faulty"))
        elif column.stored_type == "VARCHAR":
            parts.append((column.name, _digits(name), "true"))
        elif column.stored_type in ("BIGINT", "DOUBLE"):
            padded = f"lpad(cast(cast({name} as bigint) as varchar), 9, '0')"
            digits = f"case when {name} = floor({name}) then {padded} else '' end"
            # Alone, so that the statistics of a file can tell that there are none.
            large = f"{name} between 10000000 and 999999999"
            # What is never as large as a service number is looked at where it breaks its limits.
            small = column.maximum is not None and column.maximum < 10_000_000
            parts.append((column.name, digits, f"_is_faulty and {large}" if small else large))
    if sound and parts:
        parts = [part for part in parts if not part[2].startswith("_is_faulty")]
        return _eleven_test(table.name, parts) or _sound_rows(f"{table.name} where _is_faulty")
    return _eleven_test(table.name, parts)


def _digits(name: str) -> str:
    bare = f"regexp_replace({name}, '[^0-9A-Za-z]', '', 'g')"
    return f"regexp_extract({bare}, '^[A-Za-z]{{0,2}}([0-9]{{9}})$', 1)"


def _eleven_test(relation: str, parts: Sequence[tuple[str, str, str]]) -> str | None:
    """The query over columns of a relation: name, SQL of its nine digits, in which rows."""
    if not parts:
        return None
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    total = " + ".join(
        f"{weight} * (number // {10 ** (9 - place)} % 10)"
        for place, weight in enumerate(weights, start=1)
    )
    every = f"1 + (select count(*) from {relation}) // {_SAMPLE}"
    # Sampled first: of the other rows nothing is worked out.
    samples = ", ".join(
        f"sample_{number} as materialized (select {quoted(name)} from {relation} "
        f"where _row % ({every}) = 0 and {where})"
        for number, (name, _, where) in enumerate(parts)
    )
    candidates = " union ".join(
        f"select {literal(name)} as column_name, {digits} as digits from sample_{number}"
        for number, (name, digits, _) in enumerate(parts)
    )
    return (
        f"with {samples}, candidates as ({candidates}), "
        "numbers as (select column_name, cast(nullif(digits, '') as integer) as number "
        "from candidates), "
        "tested as (select column_name, count(number) as n, "
        f"count(*) filter (({total}) % 11 = 0) as k from numbers group by column_name) "
        'select cast(null as bigint) as _row, column_name as "column", '
        "k || ' of ' || n || ' different values pass the eleven-test' as value from tested "
        "where 11 * k > n and k * ln(11.0 * k / n) + (n - k) * "
        f"case when k < n then ln(11.0 * (n - k) / (10.0 * n)) else 0 end > {_LIKELY} "
        "order by 2"
    )


def row_marks(contract: Contract, table: Table, period: Period) -> dict[str, list[str]]:
    """Per column the conditions of which one holds for every row that breaks some rule there.

    They are on the typed columns of a table, each as simple as can be: an engine answers most of
    them from the statistics and dictionaries of a Parquet file. One holds for a few other rows
    too, where that is cheaper to find out (a code with a blank behind it): the rules themselves
    look at the marked rows only, and decide. Where it is null, it does not hold.
    """
    rules = _row_rules(contract, table, period)
    marks: dict[str, list[str]] = {}
    for column in table.columns:
        covered = _closed_form(contract, column)
        skipped = _SAID_BY_FORM if covered else frozenset()
        if covered and contract.needs_agreement:
            skipped |= {"region_existed"}
        others = [c(column) for name, c, *_ in rules if name not in skipped]
        marks[column.name] = [*covered, *(found for found in others if found is not None)]
    return marks


_SAID_BY_FORM = frozenset({"required", "no_neighbourhood", "known_region", "pattern", "code_list"})
_OTHER_BEGINNING = re.compile(r"[AC-VX-Z](?![*?{|])[^|]*")
"""A pattern whose text begins with another letter than that of a neighbourhood code."""
_LETTER_AND_DIGITS = re.compile(r"([A-Za-z])\[0-9\]\{([0-9]+)\}")


def _closed_form(contract: Contract, column: Column) -> list[str]:
    """Conditions that no sound value meets, of a column with an agreed list or form."""
    name = quoted(column.name)
    if column.stored_type != "VARCHAR" or column.is_pseudonymised:
        return []
    if column.region_levels:
        levels = ", ".join(literal(level) for level in column.region_levels)
        # Public tables may list a region that is no more, without figures.
        existed = " and existed" if contract.needs_agreement else ""
        known = f"select region_code from codes where region_level in ({levels}){existed}"
        unsound = f"{name} not in ({known})"
    elif column.values:
        unsound = f"{name} not in ({', '.join(literal(value) for value in column.values)})"
    elif column.pattern is not None and _OTHER_BEGINNING.fullmatch(column.pattern):
        unsound = f"not {_has_form(name, column.pattern)}"
    else:
        return []
    return [unsound, f"{name} is null"] if column.required or column.is_key else [unsound]


def _has_form(name: str, pattern: str) -> str:
    """Whether a value matches a pattern; a glob, which is cheaper, where it says the same."""
    if found := _LETTER_AND_DIGITS.fullmatch(pattern):
        return f"({name} glob '{found[1]}{int(found[2]) * '[0-9]'}')"
    return f"regexp_full_match({name}, {literal(pattern)})"


_RowRule = tuple[str, Callable[[Column], str | None], str, str]


def _row_rules(contract: Contract, table: Table, period: Period) -> list[_RowRule]:
    """Name, condition on a column, description and remedy of the rules about single rows."""
    return [
        (
            "settled",
            _settled(table),
            "Only settled cases are delivered.",
            "Leave open cases out. The file was destroyed here: deliver again under a new name.",
        ),
        (
            "required",
            _required,
            "Keys and required columns are filled.",
            "Fill the field or leave the row out.",
        ),
        (
            "no_neighbourhood",
            _no_neighbourhood,
            "No code of a neighbourhood or district (BU…, WK…) in any column.",
            "The municipality is the finest geography: aggregate before delivering.",
        ),
        (
            "known_region",
            _known_region,
            "Every region code is in the code list of Statistics Netherlands.",
            "Correct the code. Is the municipality new? Then add it to the geography seeds first.",
        ),
        (
            "region_existed",
            _region_existed(contract, table),
            "No figures for a municipality that did not exist in the reference period.",
            "Deliver on the division of the reference period.",
        ),
        (
            "range",
            _range,
            "Numbers are within the limits of the contract; a count is never negative.",
            "Correct the number; leave the field empty when it is not known.",
        ),
        (
            "rounding_base",
            _rounding_base,
            "Counts of a source that rounds are multiples of its base.",
            "Deliver the figures as published; unrounded counts may disclose persons.",
        ),
        (
            "code_list",
            _code_list,
            "Coded columns hold values from the contract's list.",
            "Use a listed code, or agree on a new version of the contract.",
        ),
        (
            "pattern",
            _pattern,
            "Text has the form that the contract gives.",
            "Write the value in the agreed form.",
        ),
        (
            "reference_time",
            _reference_time(contract, period),
            "Dates belong to the period that the descriptor states.",
            "Deliver each period's own rows, and state that period in the descriptor.",
        ),
    ]


def _statline_rows(table: Table, column: str, period: Period) -> str:
    return (
        f'select _row, {literal(column)} as "column", {quoted(column)} as value from {table.name} '
        f"where trim({quoted(column)}) is distinct from {literal(statline_period(period))} "
        "order by 1"
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


def _sound_rows(relation: str) -> str:
    """The query for rules about single rows of a table that was found without a faulty row."""
    return (
        'select _row, cast(null as varchar) as "column", cast(null as varchar) as value '
        f"from {relation}"
    )


def _row_query(
    table: Table, name: str, condition: Callable[[Column], str | None], *, sound: bool
) -> str | None:
    found = _unfilled(table) if name == "required" else condition
    if not sound:
        return _offending(table.name, table.columns, found)
    asks = any(found(column) is not None for column in table.columns)
    return _sound_rows(f"{table.name} where _is_faulty") if asks else None


def contract_suite(
    contract: Contract, table: Table, period: Period, *, sound: bool = False
) -> tuple[Suite, Suite]:
    """The suites of gate 1 for one table of one delivery.

    Args:
        contract: the contract of the source.
        table: the table in it.
        period: the reference period that the descriptor states.
        sound: no row was marked while the table was read, and no two had the same key; the checks
            then ask less, and fail without naming what a closer look shows.

    Returns:
        The suite on the shape of the file, which comes first: without the right columns the others
        cannot be evaluated; and the suite on its rows.
    """

    def rows(name: str, description: str, sql: str | None, remedy: str) -> list[Check]:
        if sql is None:
            return []
        return [Check(name, description, ROWS, Severity.FAIL, remedy, sql=sql)]

    layout, over = contract.format, table.columns
    separated = f" and separated by {layout.delimiter!r}" if layout.kind == "csv" else ""
    shape = Check(
        "columns",
        "The file has the columns of the contract, no more and no fewer.",
        "expect_table_columns_to_match_set",
        Severity.FAIL,
        f"Deliver the columns that {contract.path.name} lists, spelled as there{separated}.",
        kwargs={"column_set": [column.name for column in over], "exact_match": True},
    )
    mark = "point" if layout.decimal_mark == "." else "comma"
    checks = [
        Check(
            "has_rows",
            f"The file has at least {table.minimum_rows} row(s).",
            "expect_table_row_count_to_be_between",
            Severity.FAIL,
            "An empty delivery says nothing; deliver the rows or leave the delivery out.",
            kwargs={"min_value": table.minimum_rows},
        ),
        *rows(
            "types",
            "Every value has the type of its column.",
            _sound_rows(f"as_written_{table.name}") if sound else _types(table),
            f"Write numbers with digits and a decimal {mark}, dates and booleans in the form of "
            "the contract, and nothing else in the field.",
        ),
        *(
            check
            for name, condition, description, remedy in _row_rules(contract, table, period)
            for check in rows(
                name,
                description,
                _row_query(table, name, condition, sound=sound),
                remedy,
            )
        ),
        *rows(
            "unique_key",
            "No two rows have the same key.",
            _sound_rows(f"{table.name} where _is_faulty") if sound else _unique_key(table),
            "Deliver each key once; a correction is a new delivery that supersedes.",
        ),
        *rows(
            "foreign_key",
            "What refers to another table of the delivery is in it.",
            _foreign_key(table),
            "Deliver both tables from one moment, whole.",
        ),
        *rows(
            "no_service_numbers",
            "No column holds citizen service numbers.",
            _service_numbers(table, sound=sound) if contract.needs_agreement else None,
            "Replace them by pseudonyms at the source. The file was destroyed here.",
        ),
        *(_own(rule, table) for rule in table.rules),
    ]
    for usual in table.usual:
        name, sql = (
            ("usual_rows", _usual_rows(table, usual))
            if usual.column is None
            else ("usual_regions", _usual_regions(table, usual))
        )
        what = "the table" if usual.column is None else "each municipality"
        checks += rows(
            name,
            f"{what.capitalize()} has about as many rows as in the last delivery "
            f"({usual.least:g} to {usual.most:g} times).",
            sql,
            "Is the file complete, and nothing in it twice? If the numbers are right, say so to "
            "the platform team: the contract's range has to change.",
        )
    if contract.statline is not None:
        checks += rows(
            "reference_period",
            "All rows describe the period that the descriptor states.",
            _statline_rows(table, contract.statline.period_column, period),
            "Make one delivery per period, and state that period in the descriptor.",
        )
    return (
        Suite(1, f"{contract.source}.{table.name}: shape", f"delivered_{table.name}", (shape,)),
        Suite(1, f"{contract.source}.{table.name}: rows", table.name, tuple(checks)),
    )


def content_suite(
    contract: Contract, table: Table, period: Period, delivered: Sequence[str]
) -> Suite:
    """What still has to be known of a table with other columns than agreed: may it be kept?

    Args:
        delivered: the columns that are there.
    """
    there = replace(table, columns=tuple(c for c in table.columns if c.name in delivered))
    known = {column.name for column in table.columns}
    odd = [(name, _digits(quoted(name)), "true") for name in delivered if name not in known]
    queries = [_service_numbers(there, sound=False), _eleven_test(f"odd_{table.name}", odd)]
    _, rows = contract_suite(contract, there, period)
    checks = [check for check in rows.checks if check.name == "settled"]
    for check in (check for check in rows.checks if check.name == "no_service_numbers"):
        checks += [replace(check, sql=sql) for sql in queries if sql is not None]
    return replace(rows, name=f"{contract.source}.{table.name}: content", checks=tuple(checks))


def _types(table: Table) -> str:
    """Every value, as text, that stands in a row with some value that is not of its type.

    The typed table has null there; only such a value is filled as written and empty as typed.
    """
    parts = [
        f'select written._row, {literal(column.name)} as "column", '
        f"{_shown(column).replace(quoted(column.name), 'written.' + quoted(column.name))} as value "
        f"from as_written_{table.name} as written "
        f"inner join {table.name} as typed on typed._row = written._row "
        f"where trim(written.{quoted(column.name)}) <> '' and typed.{quoted(column.name)} is null"
        for column in table.columns
    ]
    return " union all ".join(parts) + " order by 1, 2"
