"""Upkeep: destroys what may no longer be held.

Every night: deliveries whose agreement ended or whose retention passed, what was computed from
them, and refused deliveries older than `ZICHT_QUARANTINE_DAYS`. What, when and why is kept in
`destroyed/`. Releases stay. `zicht upkeep --dry-run` says beforehand what would go.

**Red**: nothing, or only a part, was destroyed. Read the last lines of the task log, cure that,
clear the task; it goes on where it stopped.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zicht.orchestration.environment import WAREHOUSE_POOL
from zicht.orchestration.upkeep import Upkeep

with DAG(
    dag_id="upkeep",
    description="Destroys what may no longer be held.",
    doc_md=__doc__,
    schedule="30 2 * * *",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={
        "owner": "platform",
        "pool": WAREHOUSE_POOL,
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=6),
    },
    tags={"upkeep"},
):
    Upkeep()
