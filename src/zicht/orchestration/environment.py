"""Airflow's settings for one installation, as environment variables. Does not import Airflow.

Airflow reads its configuration while it is being imported, so the environment has to stand before
that. A variable ``AIRFLOW__…`` that the operator has set wins over the value given here, so that
``docker-compose.yml`` (PostgreSQL, real users) and a laptop share everything they do not differ in.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zicht.errors import ConfigurationError, ZichtError
from zicht.settings import Settings

WAREHOUSE_POOL = "warehouse"
"""Airflow pool with one slot: DuckDB has one writer."""

PRELOADED = (
    "airflow.executors.local_executor",
    "airflow.sdk.execution_time.supervisor",
    "great_expectations",
    "duckdb_engine",
    "open_data_contract_standard.model",
)
"""Imported once, in the process that task processes are forked from: a gate then takes one second
where importing Great Expectations for it took eight. Nothing of our own is in it, so that a change
of code works without a restart."""

DEFAULT_PORT = 8080
ADMIN = "admin"


class OrchestrationError(ZichtError):
    """Airflow could not be started, or a DAG did not end well."""

    default_code = "Z-ORC-001"
    exit_status = 11


@dataclass(frozen=True)
class Rhythm:
    """How often the bells are looked at, in seconds.

    Attributes:
        poll: between two looks at landing (``ZICHT_POLL_SECONDS``).
        repeat: before a ring is repeated for deliveries that still lie there; doubles up to ten
            times this while nothing changes (``ZICHT_REPEAT_SECONDS``).
        sweep: between two scheduled sweeps (``ZICHT_SWEEP_SECONDS``).
    """

    poll: float = 5.0
    repeat: float = 60.0
    sweep: float = 600.0

    @classmethod
    def from_environment(cls) -> Rhythm:
        """Reads the three variables named above.

        Raises:
            ConfigurationError: Z-ORC-002 if one of them is not a positive number.
        """
        return cls(
            poll=_seconds("ZICHT_POLL_SECONDS", cls.poll),
            repeat=_seconds("ZICHT_REPEAT_SECONDS", cls.repeat),
            sweep=_seconds("ZICHT_SWEEP_SECONDS", cls.sweep),
        )


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigurationError(
            f"{name} is {text!r}, not a number of seconds above zero.",
            code="Z-ORC-002",
            remedy=f"Unset it (then it is {default:g}), or set it to a number such as 30.",
        )
    return value


def airflow_home(settings: Settings) -> Path:
    """``AIRFLOW_HOME``: Airflow's database, logs and secrets, below the home of the platform."""
    return settings.home / "airflow"


def password_file(settings: Settings) -> Path:
    """JSON with the generated password of the user ``admin`` (readable by the owner only)."""
    return airflow_home(settings) / "passwords.json"


def airflow_environment(settings: Settings, *, port: int | None = None) -> dict[str, str]:
    """The variables under which every Airflow process of this installation runs.

    Generates the installation's secrets and the admin password on the first call and reuses them.

    Args:
        settings: where home and project lie.
        port: where the UI and the task API listen; 8080 when omitted.

    Returns:
        Variables to lay over ``os.environ``. ``AIRFLOW__…`` variables that are set already are
        repeated with the value they have.
    """
    home = airflow_home(settings)
    own_secrets = _keep_secret(
        home / "secrets.json",
        {
            "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii"),
            "jwt": secrets.token_urlsafe(48),
            "api": secrets.token_urlsafe(48),
        },
    )
    _keep_secret(password_file(settings), {ADMIN: secrets.token_urlsafe(18)})
    where = port or DEFAULT_PORT
    options = {
        "core": {
            "dags_folder": str(settings.project / "dags"),
            "load_examples": "False",
            "hostname_callable": "socket.gethostname",
            "executor": "LocalExecutor",
            "parallelism": "3",
            "mp_forkserver_preload": ",".join(PRELOADED),
            "fernet_key": own_secrets["fernet"],
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": str(password_file(settings)),
            "execution_api_server_url": f"http://127.0.0.1:{where}/execution/",
            # Two busy cores parse slowly; the defaults then report files that are only late.
            "dagbag_import_timeout": "120",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home / 'airflow.db'}"},
        "api": {
            "host": "127.0.0.1",
            "port": str(where),
            "base_url": f"http://127.0.0.1:{where}",
            "secret_key": own_secrets["api"],
            "workers": "1",
        },
        "api_auth": {"jwt_secret": own_secrets["jwt"]},
        "dag_processor": {
            "parsing_processes": "1",
            "refresh_interval": "60",
            "min_file_process_interval": "60",
            "stale_dag_threshold": "180",
            "dag_file_processor_timeout": "180",
        },
        "scheduler": {"mp_start_method": "forkserver", "parsing_cleanup_interval": "120"},
        "workers": {"execution_api_timeout": "30"},
        # Log lines of running tasks are read from the files; these servers are for other machines.
        "logging": {
            "base_log_folder": str(home / "logs"),
            "worker_log_server_port": str(where + 1),
            "trigger_log_server_port": str(where + 2),
            "dag_processor_child_process_log_directory": str(home / "logs" / "dag_processor"),
            "colored_console_log": "False",
        },
    }
    named = {
        f"AIRFLOW__{section.upper()}__{option.upper()}": value
        for section, values in options.items()
        for option, value in values.items()
    }
    chosen = {name: os.environ.get(name) or value for name, value in named.items()}
    return {
        **chosen,
        "AIRFLOW_HOME": str(home),
        "ZICHT_HOME": str(settings.home),
        "ZICHT_PROJECT": str(settings.project),
        "ZICHT_GEO_YEAR": str(settings.geo_year),
        "DO_NOT_TRACK": "1",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "GX_ANALYTICS_ENABLED": "false",
    }


def _keep_secret(path: Path, fresh: Mapping[str, str]) -> dict[str, str]:
    """Returns what ``path`` holds; writes ``fresh`` there first when it does not exist.

    Raises:
        OrchestrationError: Z-ORC-003 if the file is there and cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # mkstemp makes the file 0600. A link, unlike a rename, never replaces what another
        # process wrote in the meantime, and whoever reads it reads it whole.
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(dict(fresh), stream)
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(partial)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(kept[name]) for name in fresh}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OrchestrationError(
            f"{path} cannot be used: {type(error).__name__} {error}.",
            code="Z-ORC-003",
            remedy="Give yourself read access to it, or remove it: a new one is then generated, "
            "and everybody has to log in again.",
        ) from error
