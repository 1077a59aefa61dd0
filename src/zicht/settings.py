"""Where things are. Everything that changes lies under ``ZICHT_HOME``; the project is read-only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zicht.errors import ConfigurationError

GEO_YEAR = 2025
"""The geography year that all marts are recast to."""


@dataclass(frozen=True)
class Settings:
    """Paths of one installation.

    Attributes:
        home: all state (``ZICHT_HOME``).
        project: the checkout with ``dags/``, ``dbt_project/`` and ``expectations/``.
        geo_year: the geography year of the marts (``ZICHT_GEO_YEAR``).
    """

    home: Path
    project: Path
    geo_year: int = GEO_YEAR

    @property
    def landing(self) -> Path:
        """What providers dropped, untouched: ``landing/<source>/<anything>/``."""
        return self.home / "landing"

    @property
    def quarantine(self) -> Path:
        """Refused deliveries, whole, with the reasons."""
        return self.home / "quarantine"

    @property
    def raw(self) -> Path:
        """Accepted deliveries: the ledger."""
        return self.home / "raw"

    @property
    def warehouse(self) -> Path:
        """The confidential DuckDB file with staging, cubes and marts."""
        return self.home / "warehouse.duckdb"

    @property
    def candidates(self) -> Path:
        """What would be published, for the reviewers."""
        return self.home / "candidates"

    @property
    def releases(self) -> Path:
        """What was published, with the pointer ``current``."""
        return self.home / "releases"

    @property
    def register(self) -> Path:
        """What was ever published from confidential data; kept when releases are cleaned up."""
        return self.home / "register"

    @property
    def runs(self) -> Path:
        """Per run: plan, gate results, report."""
        return self.home / "runs"

    @property
    def locks(self) -> Path:
        """Lock files, held only while a process lives."""
        return self.home / "locks"

    @property
    def scratch(self) -> Path:
        """Working files of a process; may be deleted at any time."""
        return self.home / "scratch"

    @property
    def dbt_target(self) -> Path:
        """What dbt writes: manifest, run results, compiled SQL, logs."""
        return self.home / "dbt"

    @property
    def contracts(self) -> Path:
        """One ODCS file per source."""
        return self.project / "expectations" / "contracts"

    @property
    def agreements(self) -> Path:
        """One file per agreement between the parties."""
        return self.project / "expectations" / "agreements"

    @property
    def suites(self) -> Path:
        """One file per gate."""
        return self.project / "expectations" / "suites"

    @property
    def policies(self) -> Path:
        """Disclosure policies."""
        return self.project / "expectations" / "policies"

    @property
    def dbt_project(self) -> Path:
        """What the numbers mean."""
        return self.project / "dbt_project"

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads ``ZICHT_HOME``, ``ZICHT_PROJECT`` and ``ZICHT_GEO_YEAR``.

        Raises:
            ConfigurationError: if the project folder cannot be found or a value cannot be used.
        """
        project = Path(os.environ.get("ZICHT_PROJECT") or Path(__file__).resolve().parents[2])
        if not (project / "expectations" / "contracts").is_dir():
            raise ConfigurationError(
                f"{project} does not look like the project: it has no expectations/contracts.",
                code="Z-CFG-003",
                remedy="Set ZICHT_PROJECT to the folder that holds dags/ and expectations/.",
            )
        home = Path(os.environ.get("ZICHT_HOME") or project / "var")
        year = os.environ.get("ZICHT_GEO_YEAR") or str(GEO_YEAR)
        if not (year.isascii() and year.isdigit()):
            raise ConfigurationError(
                f"ZICHT_GEO_YEAR is {year!r}, not a year.",
                code="Z-CFG-004",
                remedy="Unset it, or set it to a year such as 2025.",
            )
        return cls(home=home.resolve(), project=project.resolve(), geo_year=int(year))
