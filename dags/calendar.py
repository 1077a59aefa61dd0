"""Calendar: what is due, late or missing, and which agreement ends; told once per change.

Every morning it compares the contracts' calendar and the agreements with the ledger. The log
always says how it stands; people are told what changed, by mail (`ZICHT_ALERT_TO`) and webhook (the
Airflow connection `zicht_webhook`).

**Green with overdue deliveries** is normal: being late is a state, not an error. See the runbook "a
source is overdue".

**Red**: mail or webhook did not work, or an agreement's file is wrong. What was not told is told by
the next attempt. Read the last lines of the task log, cure that, clear the task.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zicht.orchestration.upkeep import TellChanges

with DAG(
    dag_id="calendar",
    description="Tells what is due, late or missing, and which agreement ends.",
    doc_md=__doc__,
    schedule="0 6 * * *",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args={
        "owner": "platform",
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(minutes=30),
    },
    tags={"calendar"},
):
    TellChanges()
