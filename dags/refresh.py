"""Refresh: raw → staging → marts → protected → release.

Starts when a delivery of any source was accepted; one run at a time. `plan` works out which figures
are missing and skips the rest of the run when there are none. Each gate stops the flow when it
fails; the last release stays in place.

**A gate is red**: the data is not plausible or not publishable. The task log names the expectation
and the rows; the report is in `runs/<run>/`. Correct the cause (usually a new delivery, which
starts a new run by itself), or the suite when the rule is wrong. Marking the task as success does
not help: `publish` reads the recorded answers of the gates, not the colours here.

**Another task is red**: read the last lines of its log, cure that and clear the task; it goes on
where it stopped.

**By hand**: trigger the DAG; `as_of` (`2025-04-30` or `2025-04-30T09:00:00Z`) computes the figures
as they were known then.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param, chain

from zicht.contracts import load_contracts
from zicht.orchestration.assets import any_accepted
from zicht.orchestration.environment import WAREHOUSE_POOL
from zicht.orchestration.tasks import HOPS, Hop, Plan
from zicht.settings import Settings

with DAG(
    dag_id="refresh",
    description="From accepted deliveries to a release.",
    doc_md=__doc__,
    schedule=any_accepted(load_contracts(Settings.from_environment().contracts)),
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "as_of": Param(
            None,
            type=["null", "string"],
            description="Compute as known at this moment; empty for now.",
        )
    },
    default_args={
        "owner": "platform",
        "pool": WAREHOUSE_POOL,
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "execution_timeout": timedelta(hours=6),
    },
    tags={"refresh"},
):
    chain(Plan(), *(Hop(hop=hop) for hop in HOPS))
