"""Makes Airflow's database, the warehouse pool and, with real users, the first one.

``python -m zicht.orchestration.prepare`` under Airflow's environment; can be repeated. With
``ZICHT_ADMIN_USER`` set (as in ``docker-compose.yml``) that user is made when it does not exist.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zicht.errors import ConfigurationError, ZichtError
from zicht.files import locked
from zicht.orchestration.environment import WAREHOUSE_POOL

_SHORTEST_PASSWORD = 12


def prepare(home: Path) -> None:
    """Makes or migrates Airflow's database and the pool of the warehouse. Can be repeated.

    Args:
        home: ``AIRFLOW_HOME``, under which Airflow's environment stands already.
    """
    with locked(home / "prepare.lock"):
        from airflow.models.pool import Pool
        from airflow.utils import db

        db.upgradedb()
        Pool.create_or_update_pool(WAREHOUSE_POOL, 1, "DuckDB has one writer.", False)


def ensure_admin(name: str, email: str, password: str) -> bool:
    """Makes a user with all rights in Airflow's FAB auth manager, unless the name is taken.

    The password goes through the environment and not through ``airflow users create``, whose
    arguments every process on the machine can read.

    Returns:
        Whether the user was made.

    Raises:
        ConfigurationError: Z-ORC-009 if the password is shorter than 12 signs, or Airflow did not
            accept the user.
    """
    if len(password) < _SHORTEST_PASSWORD:
        raise ConfigurationError(
            f"ZICHT_ADMIN_PASSWORD is shorter than {_SHORTEST_PASSWORD} signs.",
            code="Z-ORC-009",
            remedy="Choose a longer one; see .env.example.",
        )
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        users = builder.sm
        if users.find_user(username=name):
            return False
        if not users.add_user(name, name, "", email, users.find_role("Admin"), password):
            raise ConfigurationError(
                f"Airflow did not accept the user {name!r}.",
                code="Z-ORC-009",
                remedy="Look above for its reason; often the e-mail address is taken.",
            )
        return True


def main() -> int:
    """Prepares the installation that the environment names; returns the exit status."""
    try:
        prepare(Path(os.environ["AIRFLOW_HOME"]))
        if name := os.environ.get("ZICHT_ADMIN_USER", ""):
            email = os.environ.get("ZICHT_ADMIN_EMAIL", "")
            made = ensure_admin(name, email, os.environ.get("ZICHT_ADMIN_PASSWORD", ""))
            print(f"user {name}: {'made' if made else 'exists already, left as it is'}")
    except ZichtError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
