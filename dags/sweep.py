"""Sweep: the second bell.

Every ten minutes (`ZICHT_SWEEP_SECONDS`) it looks whether deliveries lie in landing, or accepted
ones wait for a refresh, and rings for them. The watcher normally was there first; the sweep makes
up for a ring that got lost.

**Red**: landing or the ledger could not be read. Read the task log; the next sweep tries again.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zicht.orchestration.environment import Rhythm
from zicht.orchestration.tasks import Sweep

with DAG(
    dag_id="sweep",
    description="Rings for work that lies there.",
    doc_md=__doc__,
    schedule=timedelta(seconds=Rhythm.from_environment().sweep),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={"owner": "platform", "execution_timeout": timedelta(minutes=10)},
    tags={"intake", "refresh"},
):
    Sweep()
