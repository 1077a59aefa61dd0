"""Runs suites with Great Expectations inside DuckDB.

Great Expectations takes seconds to import, so it is imported when the first engine is made and the
engine is kept: a gate is one :class:`GateEngine` for many suites, deliveries and files.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from zicht.errors import ConfigurationError, GateError
from zicht.gates import dialect
from zicht.gates.model import (
    JSON,
    MAX_SAMPLE_ROWS,
    ROWS,
    Check,
    CheckResult,
    GateResult,
    Severity,
    Suite,
    as_json,
)

_SOURCE = "gate"
_INDEX = "zicht_check"
_GX_SEVERITY = {Severity.FAIL: "critical", Severity.WARN: "warning"}
_GLANCE = {"result_format": "BASIC", "partial_unexpected_count": MAX_SAMPLE_ROWS}
_CLOSE_LOOK = _GLANCE | {"include_unexpected_rows": True}
_MAX_ERROR = 600


@dataclass(frozen=True)
class _Library:
    """The parts of Great Expectations that are used, so that it is imported in one place."""

    new_context: Callable[[], Any]
    core: Any
    rows_expectation: Any
    suite: Any


@lru_cache(maxsize=1)
def _library() -> _Library:
    """Imports Great Expectations (seconds), leaving logging and warnings as they were."""
    shown_by = warnings.showwarning
    with warnings.catch_warnings():
        import great_expectations
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )
        from great_expectations.expectations import core

        from zicht.gates.rows import ExpectNoOffendingRows

        # It redirects all warnings of the process to logging when it is imported.
        if warnings.showwarning is not shown_by:
            logging.captureWarnings(False)

    def new_context() -> Any:
        # Without the defaults of its own it would make a folder for a site that nobody asks for.
        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        )
        context: Any = great_expectations.get_context(mode="ephemeral", project_config=config)
        # The context lives in memory only; writing it out as YAML took a quarter of every run.
        context._save_project_config = lambda: None
        return context

    dialect.register()
    return _Library(
        new_context=new_context,
        core=core,
        rows_expectation=ExpectNoOffendingRows,
        suite=great_expectations.ExpectationSuite,
    )


class GateEngine:
    """Runs suites on DuckDB files, read-only; use it as a context manager.

    The first engine of a process costs the import of Great Expectations. After that a run costs
    some milliseconds per check. Between runs no file is open.
    """

    def __init__(self) -> None:
        self._library = _library()
        self._context = self._library.new_context()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._context = None

    def run(
        self,
        database: Path | str,
        suites: Sequence[Suite],
        *,
        gate: int,
        subject: str,
        checked_at: datetime,
    ) -> GateResult:
        """Runs the suites; afterwards the file is closed and can be opened for writing.

        Args:
            database: a DuckDB file that no other connection has open for writing, or the address
                of a database in the memory of this process, ``:memory:<name>``.
            suites: at least one check in all; a gate that looks at nothing would always pass.
            gate: 1 to 4.
            subject: what is looked at, as it should read in the result.
            checked_at: the moment to note.

        Returns:
            One result per check, in the order of the suites. A check that could not be evaluated
            is a result with ``error``.

        Raises:
            ConfigurationError: Z-CFG-020 for an expectation that does not exist, Z-CFG-022 for
                arguments that it does not take, Z-CFG-023 when there is nothing to check. Nothing
                has been run then.
            GateError: Z-GATE-010 if the file cannot be opened.
        """
        if not any(suite.checks for suite in suites):
            raise ConfigurationError(
                f"Gate {gate} has no checks for {subject}, so it would pass anything.",
                code="Z-CFG-023",
                remedy="See that the suites of this gate match the relations that are there.",
            )
        planned = [(suite, self._expectations(suite)) for suite in suites]
        with _quiet(), self._opened(database) as source:
            results = [
                result
                for suite, expectations in planned
                for result in self._run_suite(source, suite, expectations)
            ]
        return GateResult(gate=gate, subject=subject, checked_at=checked_at, results=tuple(results))

    def _expectations(self, suite: Suite) -> list[Any]:
        return [self._expectation(suite, check, i) for i, check in enumerate(suite.checks)]

    def _expectation(self, suite: Suite, check: Check, index: int) -> Any:
        """Builds the expectation; its place in the suite travels in ``meta``."""
        where = f"suite {suite.name!r}, check {check.name!r}"
        if check.expectation == ROWS:
            if not (check.sql or "").strip():
                raise ConfigurationError(
                    f"{where}: a check on rows needs SQL, and has none.",
                    code="Z-CFG-022",
                    remedy="Write the query that returns the rows that should not be there.",
                )
            kind, kwargs = self._library.rows_expectation, {"unexpected_rows_query": check.sql}
        else:
            kind, kwargs = self._native(check.expectation, where), dict(check.kwargs)
        try:
            return kind(**kwargs, severity=_GX_SEVERITY[check.severity], meta={_INDEX: index})
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{where}: {check.expectation} does not take these arguments: "
                f"{_one_line(str(error))}",
                code="Z-CFG-022",
                remedy="Compare them with the documentation of Great Expectations.",
            ) from error

    def _native(self, name: str, where: str) -> Any:
        kind = None
        if re.fullmatch(r"expect(_[a-z0-9]+)+", name):
            wanted = name.replace("_", "")
            kind = next(
                (
                    getattr(self._library.core, item)
                    for item in dir(self._library.core)
                    if item.startswith("Expect") and item.lower() == wanted
                ),
                None,
            )
        if kind is None:
            raise ConfigurationError(
                f"{where}: there is no expectation {name!r}.",
                code="Z-CFG-020",
                remedy=f"Use a Great Expectations type in snake case, or {ROWS!r} with SQL.",
            )
        return kind

    @contextmanager
    def _opened(self, database: Path | str) -> Iterator[Any]:
        """A data source on the file; closes every connection to it."""
        # Opened here first: DuckDB's own words on a file that cannot be opened are better than
        # those around it, and while one connection stands the others cost nothing.
        try:
            standing = dialect.open_database(database)
        except duckdb.Error as error:
            raise GateError(
                f"{database} cannot be read: {_one_line(str(error))}",
                code="Z-GATE-010",
                remedy="See that the step before wrote it and that nothing still writes to it.",
            ) from error
        try:
            source = self._context.data_sources.add_sql(
                name=_SOURCE, connection_string=dialect.address(database)
            )
            try:
                yield source
            finally:
                source.get_execution_engine().close()
                source.get_engine().dispose()
                self._context.data_sources.delete(_SOURCE)
        finally:
            standing.close()

    def _run_suite(
        self, source: Any, suite: Suite, expectations: Sequence[Any]
    ) -> list[CheckResult]:
        if not expectations:
            return []
        try:
            # Two suites may look at one relation; an asset's name may be used once.
            # Two suites may look at one relation, and an asset's name may be used once. The
            # quotes around the relation make Great Expectations quote it in every query.
            asset = source.add_table_asset(
                name=f"{len(source.assets)}:{suite.relation}", table_name=f'"{suite.relation}"'
            )
            batch = asset.get_batch(asset.build_batch_request())
        except Exception as error:
            why = _one_line(str(error))
            return [_result(suite, check, error=why) for check in suite.checks]
        found = self._validate(batch, expectations, _GLANCE)
        for index in [i for i, one in found.items() if _deserves_close_look(one)]:
            closer = self._validate(batch, [expectations[index]], _CLOSE_LOOK)[index]
            if _error_of(found[index]) or not _error_of(closer):
                found[index] = closer
        return [_interpret(suite, check, found.get(i)) for i, check in enumerate(suite.checks)]

    def _validate(
        self, batch: Any, expectations: Sequence[Any], result_format: Mapping[str, Any]
    ) -> dict[int, Any]:
        """Results by the place of the check in its suite: they come back in another order."""
        suite = self._library.suite(name=_SOURCE, expectations=list(expectations))
        outcome = batch.validate(suite, result_format=dict(result_format))
        return {result.expectation_config.meta[_INDEX]: result for result in outcome.results}


def run_suites(
    database: Path,
    suites: Sequence[Suite],
    *,
    gate: int,
    subject: str,
    checked_at: datetime,
) -> GateResult:
    """Runs the suites of one gate on one file; see :meth:`GateEngine.run`."""
    with GateEngine() as engine:
        return engine.run(database, suites, gate=gate, subject=subject, checked_at=checked_at)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Great Expectations from logging what is in the results anyway.

    Its own logger only: handlers and levels of the process stay as they are.
    """
    logger, handler = logging.getLogger("great_expectations"), logging.NullHandler()
    propagated = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagated
        logger.removeHandler(handler)


def _result(
    suite: Suite,
    check: Check,
    *,
    success: bool = False,
    observed: JSON = None,
    n_unexpected: int | None = None,
    rows: tuple[Mapping[str, JSON], ...] = (),
    error: str | None = None,
) -> CheckResult:
    return CheckResult(
        suite=suite.name,
        relation=suite.relation,
        check=check.name,
        description=check.description,
        severity=check.severity,
        success=success,
        remedy=check.remedy,
        observed=observed,
        n_unexpected=n_unexpected,
        rows=rows,
        error=error,
    )


def _interpret(suite: Suite, check: Check, found: Any) -> CheckResult:
    """Puts a result of Great Expectations in our own words."""
    if found is None:
        return _result(suite, check, error="Great Expectations gave no result for this check.")
    if error := _error_of(found):
        return _result(suite, check, error=error)
    detail: Mapping[str, Any] = found.result or {}
    success = bool(found.success)
    if check.expectation == ROWS:
        count = int(detail["observed_value"])
        rows = [
            {str(key): as_json(value) for key, value in row.items()}
            for row in detail["details"]["unexpected_rows"]
        ]
        return _result(
            suite, check, success=success, observed=count, n_unexpected=count, rows=tuple(rows)
        )
    n_unexpected = detail.get("unexpected_count")
    return _result(
        suite,
        check,
        success=success,
        observed=_observed(detail, success),
        n_unexpected=None if n_unexpected is None else int(n_unexpected),
        rows=() if success else _sample(check, detail),
    )


def _deserves_close_look(found: Any) -> bool:
    """Whether to run a check again on its own, with whole rows in the result.

    Great Expectations bundles queries, and one that fails takes others with it: alone, a check
    holds or fails for its own reasons. Rows are read only where there is something to show.
    """
    return bool(_error_of(found)) or (
        not found.success and bool((found.result or {}).get("partial_unexpected_list"))
    )


def _observed(detail: Mapping[str, Any], success: bool) -> JSON:
    """The observed value, with the details beside it when the check does not hold."""
    value, details = as_json(detail.get("observed_value")), detail.get("details")
    return {"value": value, "details": as_json(details)} if details and not success else value


def _sample(check: Check, detail: Mapping[str, Any]) -> tuple[Mapping[str, JSON], ...]:
    """The offending rows, or values where the expectation has no more, in a fixed order."""
    values = detail.get("unexpected_rows") or detail.get("partial_unexpected_list") or []
    column = str(check.kwargs.get("column", "value"))
    pair = [str(check.kwargs.get(key, key)) for key in ("column_A", "column_B")]
    rows: list[dict[str, JSON]] = []
    for value in values:
        if isinstance(value, Mapping):
            rows.append({str(key): as_json(item) for key, item in value.items()})
        elif isinstance(value, tuple | list) and "column_A" in check.kwargs:
            rows.append({key: as_json(item) for key, item in zip(pair, value, strict=False)})
        else:
            rows.append({column: as_json(value)})
    return tuple(sorted(rows, key=repr))[:MAX_SAMPLE_ROWS]


def _error_of(found: Any) -> str | None:
    """Why Great Expectations could not evaluate the check, or nothing.

    It keeps either one exception or one per metric.
    """
    info: Mapping[str, Any] = found.exception_info or {}
    entries = [info] if "raised_exception" in info else [v for v in info.values() if v]
    raised = [entry for entry in entries if entry.get("raised_exception")]
    if not raised:
        return None
    messages = sorted({_one_line(str(entry.get("exception_message"))) for entry in raised})
    return "; ".join(messages)


def _one_line(text: str) -> str:
    """A message without line breaks and without what the libraries wrap around DuckDB's words."""
    bare = re.sub(
        r"\(Background on this error at: \S+\)|\[SQL: .*\]|\(_duckdb\.\w+\)", "", text, flags=re.S
    )
    line = " ".join(bare.split())
    return line if len(line) <= _MAX_ERROR else line[:_MAX_ERROR] + "…"
