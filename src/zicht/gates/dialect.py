"""DuckDB for SQLAlchemy in the way that Great Expectations needs it: read-only, no transactions.

Great Expectations reads a result after it has given its connection back to the pool. SQLAlchemy
rolls back on return, DuckDB drops the pending result on rollback, and reading fails with "list
index out of range". A reader needs no transactions, so here beginning and ending one does nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import duckdb
import duckdb_engine
from sqlalchemy import types
from sqlalchemy.dialects import registry
from sqlalchemy.exc import DBAPIError, NoSuchTableError

SCHEME = "zichtduckdb"
"""The scheme of the connection string."""

IN_MEMORY = ":memory:"
"""How the address of a database in memory begins."""

_SESSION = (
    # Nothing is fetched from the web, and no SQL reaches a variable of ours by its name.
    "set autoinstall_known_extensions = false",
    "set python_enable_replacements = false",
    # Moments in a result must not depend on where the process runs.
    "set TimeZone = 'UTC'",
)


class ReadOnlyDialect(duckdb_engine.Dialect):
    """``duckdb_engine`` that opens the file read-only and lets results outlive the connection."""

    supports_statement_cache = False

    def connect(self, *args: Any, **parameters: Any) -> Any:
        """Opens the file read-only, whatever else is asked.

        Raises:
            duckdb.Error: if the file is not there, is not DuckDB's, or is locked by a writer.
        """
        connection = open_database(unquote(str(parameters["database"])))
        for statement in _SESSION:
            connection.execute(statement)
        return duckdb_engine.ConnectionWrapper(connection)

    def do_begin(self, connection: Any) -> None:
        """Nothing to begin."""

    def do_commit(self, connection: Any) -> None:
        """Nothing to commit."""

    def do_rollback(self, connection: Any) -> None:
        """Nothing to roll back; a pending result stays readable."""

    def get_columns(
        self, connection: Any, table_name: str, schema: str | None = None, **_: Any
    ) -> Any:
        """Columns of a table or view, from ``describe``.

        Asking the PostgreSQL catalogue, as the parent does, takes 50 ms for each relation, warns
        on nested types and calls every ``DOUBLE`` a ``FLOAT``.

        Raises:
            NoSuchTableError: if there is no such relation.
        """
        names = [self.identifier_preparer.quote_identifier(n) for n in (schema, table_name) if n]
        try:
            rows = connection.exec_driver_sql(f"describe {'.'.join(names)}").fetchall()
        except DBAPIError as error:
            raise NoSuchTableError(table_name) from error
        return [
            {"name": row[0], "type": column_type(row[1]), "nullable": row[2] == "YES"}
            | {"default": None, "autoincrement": False, "comment": None}
            for row in rows
        ]

    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **_: Any
    ) -> Any:
        """No primary key: asking takes long, and no check depends on it."""
        return {"constrained_columns": [], "name": None, "comment": None}


def column_type(text: str) -> types.TypeEngine[Any]:
    """The SQLAlchemy type for what ``describe`` calls ``text``; nested types have none.

    The class is named as DuckDB names the type where SQLAlchemy has such a class, so that
    ``expect_column_values_to_be_of_type`` takes ``BIGINT``, ``VARCHAR`` or ``DOUBLE``.
    """
    match = re.fullmatch(r"(?P<name>[A-Z ]+?)(\((?P<digits>\d+),(?P<scale>\d+)\))?", text)
    if match is None:
        return types.NullType()
    if match["digits"]:
        return types.DECIMAL(int(match["digits"]), int(match["scale"]))
    if match["name"] == "TIMESTAMP WITH TIME ZONE":
        return types.TIMESTAMP(timezone=True)
    names = duckdb_engine.Dialect.ischema_names
    found = getattr(types, match["name"], None) or names.get(match["name"].lower())
    return types.NullType() if found is None else types.to_instance(found)


def open_database(database: Path | str) -> duckdb.DuckDBPyConnection:
    """Opens a file read-only, or joins a database in the memory of this process.

    Args:
        database: a path, or ``:memory:<name>`` for a database that another connection holds.
    """
    if str(database).startswith(IN_MEMORY):
        return duckdb.connect(str(database))
    return duckdb.connect(str(database), read_only=True)


def address(database: Path | str) -> str:
    """The connection string; quoted, so that a path may hold any character."""
    place = database.resolve() if isinstance(database, Path) else database
    return f"{SCHEME}:///{quote(str(place), safe='/')}"


def register() -> None:
    """Makes SQLAlchemy know :data:`SCHEME`; may be called again."""
    registry.register(SCHEME, __name__, ReadOnlyDialect.__name__)
