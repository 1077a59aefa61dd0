"""Runs dbt on Spark in a process of its own: ``python spark_child.py <request>``.

A Spark session lives as long as its process, and can be started once in it. The request is a JSON
file: ``options`` of dbt, ``commands`` (each the ``arguments`` and the ``vars`` of one invocation),
``relations``, and ``dump``, the folder in which each of these is written as Parquet, as Spark sees
it. Prints a JSON line with the CPU seconds of Python and of Java.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run(options: Sequence[str], commands: Sequence[Mapping[str, Any]]) -> None:
    """Parses the project once and runs dbt per command; ends the process when one fails."""
    from dbt.cli.main import dbtRunner

    parsed = dbtRunner().invoke(["parse", *options])
    if not parsed.success:
        sys.exit(f"dbt cannot parse the project: {parsed.exception}")
    for command in commands:
        # What is compiled stays in the manifest, with the variables of then.
        runner = dbtRunner(parsed.result.deepcopy())  # type: ignore[union-attr]
        arguments = list(command["arguments"])
        result = runner.invoke([*arguments, *options, "--vars", json.dumps(command["vars"])])
        if not result.success:
            for item in getattr(result.result, "results", None) or ():
                if str(item.status) == "error":
                    print(f"{item.node.unique_id}: {item.message[:2000]}", file=sys.stderr)
            sys.exit(f"dbt {arguments[0]} failed on Spark: {result.exception or 'see above'}")


def session() -> Any:
    """The session that dbt started."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    assert found is not None, "dbt started no Spark session"
    return found


def stop(spark: Any) -> None:
    """Ends Spark and waits for Java, so that its time is known."""
    gateway = spark.sparkContext._gateway
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60)


def cpu(who: int) -> float:
    """User and system seconds of this process, or of its children that have ended."""
    used = resource.getrusage(who)
    return round(used.ru_utime + used.ru_stime, 1)


def main(path: Path) -> None:
    """Does what the request asks."""
    request = json.loads(path.read_text(encoding="utf-8"))
    started = time.monotonic()
    run(request["options"], request["commands"])
    spark = session()
    for name in request["relations"]:
        spark.table(f"zicht.{name}").write.parquet(f"{request['dump']}/{name}")
    stop(spark)
    spent = {
        "python_cpu_seconds": cpu(resource.RUSAGE_SELF),
        "java_cpu_seconds": cpu(resource.RUSAGE_CHILDREN),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(spent))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
