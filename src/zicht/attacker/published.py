"""Published tables as anyone can read them: CSV, Parquet, and the tables of a release file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from zicht.attacker.complaints import bad_number, missing_column, unreadable
from zicht.attacker.spec import ROUNDINGS, Dimension, Spec, parse_spec
from zicht.errors import AttackError

SHOWN, HIDDEN, UNKNOWN = 0, 1, 2
"""Status of a cell: its value is there, was hidden on purpose, or is simply not there."""

_UNTRUE = frozenset({"E", "F", "M", "O"})
"""SDMX statuses of values that are estimated, forecast or missing: they say nothing certain."""

MOST_CELLS = 10_000_000
"""More cells than this, in all combinations of codes, are refused."""

_READ = frozenset({"value", "obs_status", "conf_status", "rounding_base", "rounding_mode"})

Texts = npt.NDArray[np.object_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Structure:
    """Which code lies in which, for one dimension.

    Attributes:
        levels: per level its codes, in a fixed order.
        parents: per pair (level, level above) the parent of each code.
    """

    levels: Mapping[str, tuple[str, ...]]
    parents: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PublishedTable:
    """One published table; its rows are cells, totals of all levels included.

    Attributes:
        name: file or table that it came from, as reports name it.
        spec: dimensions and rules.
        structure: per dimension which code lies in which.
        codes: per dimension the code of each row.
        value: the values; nan where there is none.
        status: ``SHOWN``, ``HIDDEN`` or ``UNKNOWN`` per row.
        subject: what is counted; only tables of one subject and period are laid together.
        period: which period it describes.
        vintage: tables of one vintage hold the same facts; empty: every table its own vintage.
        ignored: columns of the file that say nothing to the attacker.
        n_unused: cells with a value that is not used, because their status says it is not true.
    """

    name: str
    spec: Spec
    structure: Mapping[str, Structure]
    codes: Mapping[str, Texts]
    value: Floats
    status: npt.NDArray[np.int8]
    subject: str = ""
    period: str = ""
    vintage: str = ""
    ignored: tuple[str, ...] = ()
    n_unused: int = 0

    @property
    def n_cells(self) -> int:
        """Rows of the table."""
        return len(self.value)

    def key(self, row: int) -> dict[str, str]:
        """The codes of one row by dimension."""
        return {name: str(codes[row]) for name, codes in self.codes.items()}


def no_pattern(path: Path) -> str:
    """The path for DuckDB, which takes ``*``, ``?`` and ``[`` in a name for a pattern of files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _no_table(path: Path, why: str) -> AttackError:
    return unreadable(
        f"{path}: cannot be read as a table: {why}",
        "Give a CSV in UTF-8 with commas and a header, or a Parquet file.",
    )


def _read_parquet(path: Path) -> tuple[list[str], list[tuple[Any, ...]]]:
    try:
        with duckdb.connect() as connection:
            connection.execute("set threads = 1")
            # A bound parameter would make DuckDB import pandas, which takes longer than the attack.
            quoted = no_pattern(path).replace("'", "''")
            answer = connection.execute(
                "select columns(*)::varchar "
                f"from read_parquet('{quoted}', hive_partitioning = false)"
            )
            names = [str(column[0]) for column in answer.description or ()]
            return names, answer.fetchall()
    except duckdb.Error as error:
        raise _no_table(path, str(error).splitlines()[0]) from error


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, strict=True) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise _no_table(path, f"{error}.") from error
    if not rows:
        raise _no_table(path, "it is empty.")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise _no_table(
                path,
                f"row {number} below the header has {len(row)} fields, the header {len(rows[0])}.",
            )
    return rows[0], rows[1:]


def read_texts(path: Path) -> dict[str, Texts]:
    """Reads all columns of a CSV or Parquet file as text; empty is None.

    Raises:
        AttackError: Z-ATT-001 if it cannot be read, or a column stands there twice.
    """
    if not path.is_file():
        raise unreadable(
            f"{path}: there is no such file.", "Give the path of a published CSV or Parquet file."
        )
    read = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
    names, rows = read(path)
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise _no_table(path, f"the column {twice[0]!r} stands there twice.")
    columns = {}
    for i, name in enumerate(names):
        column = np.empty(len(rows), dtype=object)
        column[:] = [row[i] if row[i] != "" else None for row in rows]
        columns[name] = column
    return columns


def _require(name: str, columns: Mapping[str, Any], wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise missing_column(name, missing[0], wanted)


def _rows_text(rows: npt.NDArray[Any]) -> str:
    shown = ", ".join(str(int(row) + 1) for row in rows[:5])
    return f"row {shown}" + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")


def _values(name: str, texts: Texts) -> Floats:
    values = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text is None:
            continue
        try:
            # Python also reads 1_3, which no table of figures means.
            values[i] = np.inf if "_" in str(text) else float(text)
        except (TypeError, ValueError):
            values[i] = np.inf
    filled = np.array([text is not None for text in texts], dtype=bool)
    wrong = np.flatnonzero(filled & ~np.isfinite(values))
    if len(wrong):
        raise bad_number(
            f"{name}: value holds {str(texts[wrong[0]])!r}, which is no number "
            f"({_rows_text(wrong)} below the header).",
            "A value is a number with a decimal point, or empty when it is hidden.",
        )
    return values


def _check_shown(name: str, values: Floats, texts: Texts, *, whole: bool) -> None:
    impossible = (values < 0) | (whole & (values != np.floor(values)))
    bad = np.flatnonzero(~np.isnan(values) & impossible)
    if len(bad):
        raise bad_number(
            f"{name}: value holds {str(texts[bad[0]])!r} ({_rows_text(bad)} below the header).",
            "Counts are whole and not negative; for amounts the spec has magnitude.",
        )


def _statuses(name: str, values: Floats, texts: Texts) -> npt.NDArray[np.int8]:
    marks = np.array(["" if text is None else str(text) for text in texts], dtype=object)
    hidden = marks == "Q"
    untrue = np.isin(marks.astype(str), sorted(_UNTRUE))
    filled = ~np.isnan(values)
    both = np.flatnonzero(hidden & filled)
    if len(both):
        raise AttackError(
            f"{name}: a cell is hidden (obs_status Q) and has a value "
            f"({_rows_text(both)} below the header).",
            code="Z-ATT-007",
            remedy="This file leaks as it is: leave value empty where obs_status is Q.",
        )
    empty = np.flatnonzero(~hidden & ~untrue & ~filled)
    if len(empty):
        raise AttackError(
            f"{name}: a cell with obs_status {marks[empty[0]]!r} has no value "
            f"({_rows_text(empty)} below the header).",
            code="Z-ATT-007",
            remedy="Fill value, or say Q for a hidden cell and O for a missing one.",
        )
    return np.where(hidden, HIDDEN, np.where(untrue, UNKNOWN, SHOWN)).astype(np.int8)


def _flat_structure(dimension: Dimension, codes: Texts) -> Structure:
    listed = sorted({str(code) for code in codes} - {dimension.total})
    return Structure(levels={dimension.name: tuple(listed)})


def _unknown_codes(name: str, dimension: Dimension, structure: Structure, codes: Texts) -> None:
    known = {code for level in structure.levels.values() for code in level}
    if dimension.total is not None:
        known.add(dimension.total)
    strange = sorted({str(code) for code in codes} - known)
    if strange:
        raise AttackError(
            f"{name}: {dimension.name} has the code {strange[0]!r}, which is not in the structure"
            + (f" ({len(strange)} such codes)." if len(strange) > 1 else "."),
            code="Z-ATT-005",
            remedy="Give the structure that belongs to this table with --structure.",
        )


def _with_rounding(
    name: str, columns: Mapping[str, Sequence[Any] | Texts], values: Floats, spec: Spec
) -> Spec:
    """The spec with the rounding that the table itself declares, if it does.

    Raises:
        AttackError: Z-ATT-006 if that is no rounding.
    """
    if "rounding_base" not in columns or not len(columns["rounding_base"]):
        multiples = values[~np.isnan(values)] % max(1, spec.rounding_base) == 0
        # A value that is no multiple shows that this table was not rounded.
        return spec if multiples.all() else replace(spec, rounding_base=0)
    base = columns["rounding_base"][0]
    mode = columns["rounding_mode"][0] if "rounding_mode" in columns else "conventional"
    if not str(base).isdigit() or mode not in ROUNDINGS:
        raise bad_number(
            f"{name}: rounding_base is {base!r} and rounding_mode {mode!r}.",
            f"The base is a whole number, the mode one of: {', '.join(ROUNDINGS)}.",
        )
    return replace(spec, rounding_base=int(base), rounding_mode=str(mode))


def _n_codes(spec: Spec, structures: Mapping[str, Structure], name: str) -> int:
    dimension = next(one for one in spec.dimensions if one.name == name)
    codes = sum(len(own) for own in structures[name].levels.values())
    return codes + (dimension.total is not None)


def check_size(name: str, sizes: Sequence[int]) -> None:
    """Whether a table with so many codes per dimension can be attacked at all.

    Raises:
        AttackError: Z-ATT-001 if it has too many cells.
    """
    cells = math.prod(sizes)
    if cells > MOST_CELLS:
        raise unreadable(
            f"{name}: has {cells:,} cells with totals, more than {MOST_CELLS:,}.",
            "Split it into tables that are published on their own.",
        )


def make_table(
    columns: Mapping[str, Sequence[Any] | Texts],
    spec: Spec,
    structure: Mapping[str, Structure] | None = None,
    *,
    name: str = "table",
    subject: str = "",
    period: str = "",
    vintage: str = "",
) -> PublishedTable:
    """Makes a table of columns in memory: the dimensions, ``value`` and ``obs_status``.

    Args:
        columns: per column its values, row by row; None for empty. ``rounding_base`` and
            ``rounding_mode`` say how a table is rounded that the spec says is not.
        spec: dimensions and rules.
        structure: needed for every dimension with a hierarchy.
        name: what reports call it.
        subject: what is counted.
        period: which period it describes.
        vintage: which state of knowledge it shows.

    Raises:
        AttackError: Z-ATT-003 a column is missing, Z-ATT-004 no structure for a hierarchy,
            Z-ATT-005 an unknown code, Z-ATT-006 a value that cannot be, Z-ATT-007 status and value
            contradict each other, Z-ATT-008 a cell that stands there twice, Z-ATT-001 no cells
            or too many.
    """
    names = [dimension.name for dimension in spec.dimensions]
    _require(name, columns, [*names, "value", "obs_status"])
    if not len(columns["value"]):
        raise unreadable(f"{name}: holds no cells.", "Give a table with one row per cell.")
    read = {*names, *_READ, spec.magnitude}
    read |= {level for one in spec.dimensions for chain in one.hierarchies for level in chain}
    objects = {}
    for column in [*names, "value", "obs_status"]:
        objects[column] = np.empty(len(columns[column]), dtype=object)
        objects[column][:] = list(columns[column])
    values = _values(name, objects["value"])
    status = _statuses(name, values, objects["obs_status"])
    n_unused = int(np.sum(~np.isnan(values) & (status == UNKNOWN)))
    values[status != SHOWN] = np.nan
    spec = _with_rounding(name, columns, values, spec)
    _check_shown(name, values, objects["value"], whole=spec.is_whole)
    structures = {}
    for dimension in spec.dimensions:
        codes = objects[dimension.name]
        gaps = np.flatnonzero([code is None for code in codes])
        if len(gaps):
            raise AttackError(
                f"{name}: {dimension.name} is empty ({_rows_text(gaps)} below the header).",
                code="Z-ATT-005",
                remedy="Every cell has a code in every dimension, also a total.",
            )
        given = (structure or {}).get(dimension.name)
        if given is None and dimension.steps:
            raise AttackError(
                f"{name}: nothing says which {dimension.name} lies in which "
                f"{dimension.steps[0][1]}.",
                code="Z-ATT-004",
                remedy="Put <name>.structure.csv beside the table, or name it with --structure.",
            )
        structures[dimension.name] = given or _flat_structure(dimension, codes)
        _unknown_codes(name, dimension, structures[dimension.name], codes)
    check_size(name, [_n_codes(spec, structures, one) for one in names])
    seen: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(zip(*(objects[one] for one in names), strict=True)):
        if seen.setdefault(key, row) != row:
            raise AttackError(
                f"{name}: the cell {', '.join(map(str, key))} stands there twice "
                f"(row {seen[key] + 1} and {row + 1} below the header).",
                code="Z-ATT-008",
                remedy="Give every cell one row.",
            )
    return PublishedTable(
        name=name,
        spec=spec,
        structure=structures,
        codes={one: objects[one] for one in names},
        value=values,
        status=status,
        subject=subject,
        period=period,
        vintage=vintage,
        ignored=tuple(column for column in columns if column not in read),
        n_unused=n_unused,
    )


def _pairs_of_sidecar(
    columns: Mapping[str, Texts], dimension: Dimension
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {step: [] for step in dimension.steps}
    fields = ("dimension", "level", "code", "parent_level", "parent")
    for row in zip(*(columns[one] for one in fields), strict=True):
        step = (str(row[1]), str(row[3]))
        if row[0] == dimension.name and step in found and row[2] is not None:
            found[step].append((str(row[2]), "" if row[4] is None else str(row[4])))
    return found


def _pairs_of_cells(
    columns: Mapping[str, Texts], dimension: Dimension
) -> dict[tuple[str, str], list[tuple[str, str]]]:
    return {
        (low, high): sorted(
            {
                (str(a), "" if b is None else str(b))
                for a, b in zip(columns[low], columns[high], strict=True)
                if a is not None
            }
        )
        for low, high in dimension.steps
    }


def _structure_of_pairs(
    name: str, dimension: Dimension, found: Mapping[tuple[str, str], Sequence[tuple[str, str]]]
) -> Structure:
    levels: dict[str, dict[str, None]] = {}
    parents: dict[tuple[str, str], dict[str, str]] = {}
    for (low, high), pairs in found.items():
        if not pairs:
            raise AttackError(
                f"{name}: does not say which {low} lies in which {high}.",
                code="Z-ATT-004",
                remedy=f"Give a structure with the levels {low} and {high} of {dimension.name}.",
            )
        own = parents.setdefault((low, high), {})
        for code, parent in sorted(pairs):
            if not parent:
                raise AttackError(
                    f"{name}: {low} {code!r} lies in no {high}.",
                    code="Z-ATT-009",
                    remedy=f"Give every {low} a {high}.",
                )
            if own.setdefault(code, parent) != parent:
                raise AttackError(
                    f"{name}: {low} {code!r} lies in {own[code]!r} and in {parent!r}.",
                    code="Z-ATT-009",
                    remedy=f"Give every {low} one {high}.",
                )
            levels.setdefault(low, {})[code] = None
            levels.setdefault(high, {})[parent] = None
    for (low, high), own in parents.items():
        orphans = sorted(set(levels[low]) - set(own))
        if orphans:
            raise AttackError(
                f"{name}: {low} {orphans[0]!r} lies in no {high}.",
                code="Z-ATT-009",
                remedy=f"Give every {low} a {high}.",
            )
    home: dict[str, str] = {} if dimension.total is None else {dimension.total: "total"}
    for level, codes in levels.items():
        for code in codes:
            if home.setdefault(code, level) != level:
                raise AttackError(
                    f"{name}: the code {code!r} of {dimension.name} is used as {home[code]} "
                    f"and as {level}.",
                    code="Z-ATT-009",
                    remedy="Give codes of different levels different names.",
                )
    return Structure(
        levels={level: tuple(sorted(codes)) for level, codes in levels.items()}, parents=parents
    )


def read_structure(path: Path, spec: Spec) -> dict[str, Structure]:
    """Reads which code lies in which: a structure sidecar, or any table with the level columns.

    Raises:
        AttackError: Z-ATT-001 it cannot be read, Z-ATT-004 it does not hold a level that is needed,
            Z-ATT-009 a code with two parents, with none, or used at two levels.
    """
    columns = read_texts(path)
    is_sidecar = {"dimension", "level", "code", "parent_level", "parent"} <= set(columns)
    structures = {}
    for dimension in spec.dimensions:
        if not dimension.steps:
            continue
        if is_sidecar:
            pairs = _pairs_of_sidecar(columns, dimension)
        else:
            needed = {level for step in dimension.steps for level in step}
            missing = sorted(needed - set(columns))
            if missing:
                raise AttackError(
                    f"{path}: holds no column {missing[0]}.",
                    code="Z-ATT-004",
                    remedy="Give a structure file, or a table with a column for every level.",
                )
            pairs = _pairs_of_cells(columns, dimension)
        structures[dimension.name] = _structure_of_pairs(str(path), dimension, pairs)
    return structures


def structure_path(path: Path) -> Path:
    """Where the structure of a published table lies: ``<stem>.structure.csv`` beside it."""
    return path.with_name(f"{path.stem}.structure.csv")


def read_table(
    path: Path, spec: Spec, *, structure: Path | None = None, vintage: str = ""
) -> PublishedTable:
    """Reads a published table (CSV, or Parquet with the same columns).

    Args:
        path: the file.
        spec: dimensions and rules.
        structure: file that says which code lies in which; the sidecar when omitted.
        vintage: which state of knowledge it shows.

    Raises:
        AttackError: as :func:`make_table` and :func:`read_structure`, and Z-ATT-001 if the file
            cannot be read.
    """
    columns = read_texts(path)
    given = structure or structure_path(path)
    needs = any(dimension.steps for dimension in spec.dimensions)
    structures = read_structure(given, spec) if needs and (structure or given.is_file()) else None
    return make_table(columns, spec, structures, name=str(path), vintage=vintage)


def read_tables(
    path: Path, spec: Spec, *, structure: Path | None = None, vintage: str = ""
) -> list[PublishedTable]:
    """Reads all tables of one file: the counts, and the amounts in a column of their own.

    Without a column named as ``magnitude.total`` the file is one table, see :func:`read_table`.

    Raises:
        AttackError: as :func:`read_table`.
    """
    columns = read_texts(path)
    whole = read_table(path, spec, structure=structure, vintage=vintage)
    if not spec.magnitude or spec.magnitude not in columns:
        return [whole]
    amounts = {key: own for key, own in columns.items() if not key.startswith("rounding_")}
    return [
        replace(whole, spec=replace(whole.spec, is_whole=True)),
        make_table(
            {**amounts, "value": columns[spec.magnitude]},
            replace(spec, rounding_base=0),
            whole.structure,
            name=str(path),
            subject=spec.magnitude,
            vintage=vintage,
        ),
    ]


_REGION_LEVELS = ("municipality", "corop", "safety_region", "province")
_COUNTRY = "country"


def _region_dimension(
    rows: Sequence[Mapping[str, Any]], regions: Sequence[Mapping[str, Any]]
) -> tuple[Dimension, Structure]:
    """The dimension region_code with the levels and regions that the table shows.

    A municipality that is in no row is not covered, and counts in no total.
    """
    shown: dict[str, set[str]] = {}
    for row in rows:
        shown.setdefault(row["region_level"], set()).add(row["region_code"])
    total = next(iter(shown.pop(_COUNTRY, set())), None)
    bottom = next((level for level in _REGION_LEVELS if level in shown), "municipality")
    chains = [
        tuple(level for level in chain if level in shown and level != bottom)
        for chain in (("corop", "province"), ("safety_region",))
        if bottom == "municipality"
    ]
    hierarchies = tuple(("region_code", *chain) for chain in chains if chain)
    dimension = Dimension("region_code", hierarchies or (("region_code",),), total)
    codes = {
        "region_code" if level == bottom else level: tuple(sorted(own))
        for level, own in shown.items()
    }
    parents = {}
    for low, high in dimension.steps:
        level = bottom if low == "region_code" else low
        parents[(low, high)] = {
            region["region_code"]: str(region[f"{high}_code"])
            for region in regions
            if region["region_level"] == level and region["region_code"] in codes[low]
        }
    return dimension, Structure(levels=codes, parents=parents)


def _breakdown(text: str | None) -> dict[str, str]:
    """``legal_form=stichting;n_directors=one`` as a mapping; ``total`` is empty."""
    if not text or text == "total":
        return {}
    return dict(part.split("=", 1) for part in text.split(";"))


def tables_of_release(
    path: Path,
    policies: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    kinds: Sequence[str] = ("counts",),
    indicators: Sequence[str] | None = None,
    relation: str = "additions",
    successors: Sequence[tuple[str, str]] = (),
) -> list[PublishedTable]:
    """Reads the tables that a release file holds, one per indicator and reference period.

    Regions add up by the table ``regions`` of the release itself; breakdowns (column ``breakdown``:
    ``total`` or ``dimension=category;…``) are dimensions with a total. Rates do not add up and are
    left to :func:`zicht.attacker.rates.rate_findings`.

    Args:
        path: the DuckDB file of a release or candidate; opened read-only.
        policies: per policy id the ``policy`` block of a spec (minimum_frequency, protection, …).
        kinds: kinds of indicator to read; they must be counts that add up.
        indicators: only these; all of those kinds when omitted.
        relation: how an earlier release relates to a later one.
        successors: pairs (old, new) of municipality codes between the geography years.

    Returns:
        Tables with the indicator as subject and the release as vintage, in order.

    Raises:
        AttackError: Z-ATT-010 if the file is no release; otherwise as :func:`make_table`.
    """
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            regions = _dicts(connection, "select * from regions order by region_code")
            definitions = _dicts(connection, "select * from indicators order by indicator_id")
            rows = _dicts(
                connection,
                "select * from observations order by indicator_id, reference_period, region_code",
            )
    except duckdb.Error as error:
        raise AttackError(
            f"{path}: is not a release: {str(error).splitlines()[0]}",
            code="Z-ATT-010",
            remedy="Give marts.duckdb of a release or candidate.",
        ) from error
    wanted = {
        one["indicator_id"]: one
        for one in definitions
        if one["kind"] in kinds and (indicators is None or one["indicator_id"] in indicators)
    }
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["indicator_id"] in wanted:
            groups.setdefault((row["indicator_id"], row["reference_period"]), []).append(row)
    tables = []
    for (indicator, period), own in groups.items():
        region, structure = _region_dimension(own, regions)
        parts = [_breakdown(row.get("breakdown")) for row in own]
        extra = sorted({name for part in parts for name in part})
        policy = dict((policies or {}).get(wanted[indicator]["policy"], {}))
        spec = replace(
            parse_spec(
                {
                    "dimensions": {
                        "region_code": {"total": region.total},
                        **{name: {"total": "total"} for name in extra},
                    },
                    "policy": policy,
                    "history": {"relation": relation},
                },
                name=f"{path}: policy {wanted[indicator]['policy']}",
            ),
            successors=tuple(successors),
        )
        spec = replace(spec, dimensions=(region, *spec.dimensions[1:]))
        columns: dict[str, list[Any]] = {
            "region_code": [row["region_code"] for row in own],
            **{name: [part.get(name, "total") for part in parts] for name in extra},
            "value": [row["value"] for row in own],
            "obs_status": [row["obs_status"] for row in own],
        }
        tables.append(
            make_table(
                columns,
                spec,
                {"region_code": structure},
                name=f"{path} {indicator} {period}",
                subject=indicator,
                period=period,
                vintage=str(own[0]["release_id"]),
            )
        )
    return tables


def _dicts(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    answer = connection.execute(query)
    names = [column[0] for column in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
