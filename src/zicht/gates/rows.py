"""The expectation behind a check in SQL. Imports Great Expectations: only the engine imports this.

Great Expectations' own ``UnexpectedRowsExpectation`` runs the query twice, takes the first 200 rows
in whatever order they come, and reads every brace in the SQL as a placeholder. This one takes a
sample in a fixed order, counts only when the sample is full, and leaves the SQL as it is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import sqlalchemy
from great_expectations.compatibility import pydantic
from great_expectations.execution_engine.sqlalchemy_execution_engine import (
    SqlAlchemyExecutionEngine,
)
from great_expectations.expectations.core.unexpected_rows_expectation import (
    UnexpectedRowsExpectation,
)
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.query_metric_provider import (
    QueryMetricProvider,
    find_last_top_level_order_by,
)

from zicht.gates.model import MAX_SAMPLE_ROWS

METRIC = "zicht.offending_rows"


def sample_query(query: str) -> str:
    """The query that returns the first offending rows, at most :data:`MAX_SAMPLE_ROWS`.

    The order is the author's where there is one, else that of all columns, so that equal data
    gives an equal sample.
    """
    ordered = find_last_top_level_order_by(" ".join(query.split())) >= 0
    order = "" if ordered else " order by all"
    # The line break ends a comment that the query may close with.
    return f"select * from (\n{query}\n) as offending{order} limit {MAX_SAMPLE_ROWS}"


def count_query(query: str) -> str:
    """The query that counts the offending rows."""
    return f"select count(*) from (\n{query}\n) as offending"


def _statement(sql: str) -> sqlalchemy.TextClause:
    """The SQL as it stands: a colon is no placeholder of SQLAlchemy's."""
    return sqlalchemy.text(sql.replace(":", "\\:"))


class OffendingRows(QueryMetricProvider):
    """The metric: ``{"rows": [...], "count": n}``."""

    metric_name = METRIC
    value_keys = ("unexpected_rows_query",)
    query_param_name: ClassVar[str] = "unexpected_rows_query"

    @metric_value(engine=SqlAlchemyExecutionEngine)
    def _sqlalchemy(
        cls,
        execution_engine: SqlAlchemyExecutionEngine,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any],
    ) -> dict[str, Any]:
        query = cls._get_query_from_metric_value_kwargs(metric_value_kwargs)
        result = execution_engine.execute_query(_statement(sample_query(query)))
        rows = [dict(row) for row in result.mappings().fetchall()]
        count = len(rows)
        if count == MAX_SAMPLE_ROWS:
            count = execution_engine.execute_query(_statement(count_query(query))).scalar_one()
        return {"rows": rows, "count": count}


class ExpectNoOffendingRows(UnexpectedRowsExpectation):
    """Holds when the query returns no row."""

    metric_dependencies: ClassVar[tuple[str, ...]] = (METRIC,)

    @pydantic.validator("unexpected_rows_query")
    def _validate_query(cls, query: str) -> str:
        return query.rstrip("; \t\r\n\v\f")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        found = metrics[METRIC]
        return {
            "success": found["count"] == 0,
            "result": {
                "observed_value": found["count"],
                "details": {"unexpected_rows": found["rows"]},
            },
        }
