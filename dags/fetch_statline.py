"""Fetch: StatLine → landing.

One DAG per contract that names a StatLine table of Statistics Netherlands. It asks for the table
every morning and drops a delivery into landing for each period that is new or was revised; nothing
when nothing changed. Paused until you switch it on, because it uses the internet.

**Red**: the service did not answer after several attempts, or answered in another shape than it
publishes. Nothing was dropped half. If it stays red: read the message, and see whether the service
itself is up.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zicht.contracts import load_contracts
from zicht.orchestration.tasks import FetchStatline
from zicht.settings import Settings

for source, contract in load_contracts(Settings.from_environment().contracts).items():
    if contract.statline is None:
        continue
    with DAG(
        dag_id=f"fetch_{source}",
        description=f"Fetches {source} from StatLine.",
        doc_md=__doc__,
        schedule="30 5 * * *",
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        default_args={
            "owner": "platform",
            "retries": 4,
            "retry_delay": timedelta(minutes=5),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(hours=1),
        },
        tags={"fetch", source},
    ):
        FetchStatline(source=source)
