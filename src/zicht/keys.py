"""Keys: the secret with which the direct identifiers of one agreement are hashed on intake.

A key is held by an Airflow connection or by the environment, never beside the data. Airflow is
asked only from within a running task; elsewhere it is not even imported.
"""

from __future__ import annotations

import json
import os
import sys
from urllib.parse import unquote, urlsplit

from zicht.errors import ConfigurationError

SHORTEST = 32
"""Characters that a key has at least."""


def connection_id(agreement_id: str) -> str:
    """The Airflow connection whose password is the key of an agreement."""
    return f"zicht_key_{agreement_id}"


def _password_in(text: str) -> str | None:
    """The password in a connection as Airflow writes it in the environment: JSON or a URI."""
    try:
        if text.lstrip().startswith("{"):
            password = json.loads(text).get("password")
            return password if isinstance(password, str) else None
        password = urlsplit(text).password
    except ValueError:
        return None
    return unquote(password) if password else None


def _from_airflow(name: str) -> str | None:
    """The password of a connection, if this runs in an Airflow task and it exists."""
    if "airflow.sdk" not in sys.modules:
        return None
    from airflow.sdk import BaseHook, get_current_context
    from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

    try:
        get_current_context()
    except RuntimeError:
        return None
    try:
        return BaseHook.get_connection(name).password or None
    except (AirflowException, AirflowRuntimeError):
        return None


def key_of(agreement_id: str) -> bytes:
    """The key of an agreement.

    The environment (``AIRFLOW_CONN_ZICHT_KEY_<ID>``, then ``ZICHT_KEY_<ID>``) comes before a
    connection that is kept in Airflow itself, so that a task and a command agree.

    Raises:
        ConfigurationError: Z-CFG-051 if there is none, or it is shorter than 32 characters.
    """
    name = connection_id(agreement_id)
    in_airflow, plain = f"AIRFLOW_CONN_{name.upper()}", f"ZICHT_KEY_{agreement_id.upper()}"
    connection = os.environ.get(in_airflow)
    key = _password_in(connection) if connection else None
    key = key or os.environ.get(plain) or _from_airflow(name)
    if not key or len(key) < SHORTEST:
        what = f"has fewer than {SHORTEST} characters" if key else "is not set"
        raise ConfigurationError(
            f"the key of the agreement {agreement_id} {what}.",
            code="Z-CFG-051",
            remedy=(
                'Make one with python -c "import secrets; print(secrets.token_urlsafe(48))" and '
                f"set it as the password of the Airflow connection {name}, or as {plain}. "
                "Keep it: with another key the same identifier gets another pseudonym."
            ),
        )
    return key.encode("utf-8")
