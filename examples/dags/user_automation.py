"""The pipeline user_automation, a task for each flow.

Make it anew when the pipeline changes:
    millstream airflow users.yaml --pipeline ../users.yaml
"""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset
from millstream_provider.operators import MillstreamOperator

PIPELINE = Path(__file__).parent / "../users.yaml"

with DAG(
    dag_id="user_automation",
    schedule="@daily",
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 5,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(hours=1),
    },
    tags=["millstream"],
):
    # http → topic users_created
    fetch = MillstreamOperator(
        task_id="fetch",
        pipeline=PIPELINE,
        flow="fetch",
    )

    # topic users_created → table spark_streams.created_users
    store = MillstreamOperator(
        task_id="store",
        pipeline=PIPELINE,
        flow="store",
        outlets=[
            Asset(
                "spark_streams.created_users",
                uri="cassandra://spark_streams/created_users",
            ),
        ],
    )

    fetch >> store
