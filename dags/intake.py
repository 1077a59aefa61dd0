"""Intake: landing → gate 1 → raw, or quarantine.

One DAG per contract in `expectations/contracts/`. It starts within seconds after a complete
delivery (a folder with `datapackage.json`) appears in `landing/<source>/`, and takes in everything
that lies there.

**Green with refused deliveries** is normal: a refused delivery is a result. Its reasons are in the
task log, in `quarantine/<source>/<delivery>/` and in `zicht status`; ask the provider for a new
one.

**Red**: the intake itself could not work (disk, memory, a broken contract). Nothing is lost: what
was not taken in still lies in landing. Read the last lines of the task log, cure that, clear the
task.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zicht.contracts import load_contracts
from zicht.orchestration.assets import watched_landing_asset
from zicht.orchestration.environment import Rhythm
from zicht.orchestration.tasks import Intake
from zicht.settings import Settings

for source in load_contracts(Settings.from_environment().contracts):
    with DAG(
        dag_id=f"intake_{source}",
        description=f"Takes in the deliveries of {source}.",
        doc_md=__doc__,
        schedule=watched_landing_asset(source, Rhythm.from_environment()),
        max_active_runs=1,
        is_paused_upon_creation=False,
        default_args={
            "owner": "platform",
            "retries": 3,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": True,
            "execution_timeout": timedelta(hours=6),
        },
        tags={"intake", source},
    ):
        Intake(source=source)
