"""The tutorial's DAG `user_automation`, as a person uses it: unpause, trigger, look at the table.

The tests build on each other, in this order: they share the topic and the table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from airflow_rest import wait_for

from conftest import (
    BROKERS,
    DAGS,
    HOSTS,
    ROOT,
    Airflow,
    Api,
    binary_at,
    kill,
    messages,
    parent_of,
    rows,
)

DAG = "user_automation"
TABLE = "spark_streams.created_users"
# Ten users each.
REQUESTS = 30


@pytest.fixture(scope="session", autouse=True)
def example() -> None:
    """The example as it is, faster: three seconds of requests instead of a minute."""
    text = (ROOT / "examples" / "users.yaml").read_text()
    fast = text.replace("every: 1s", "every: 100ms").replace("for: 60s", f"times: {REQUESTS}")
    assert fast != text
    fast = fast.replace("records: $.results", "records: $.results\n      retries: 1")
    (DAGS.parent / "users.yaml").write_text(fast)
    shutil.copy(ROOT / "examples" / "dags" / f"{DAG}.py", DAGS)


def connect(airflow: Airflow, seed: str | None = None) -> None:
    """Says where everything is; with a seed the API gives the same ten users again and again."""
    api = f"{Api.URL}?seed={seed}" if seed else Api.URL
    airflow.connect(kafka_brokers=BROKERS, cassandra_hosts=HOSTS, random_user_api=api)


def counts(airflow: Airflow, run: str, task: str) -> dict[str, int]:
    """What a task's summary says of its flow; nothing was dead or filtered."""
    summary = airflow.xcom(DAG, run, task)
    assert summary["status"] == "success"
    assert summary["backends"] == {"kafka": BROKERS, "cassandra": HOSTS}
    found: dict[str, int] = summary["flows"][task]
    assert found["read"] == found["passed"] == found["written"]
    return found


def test_an_embedded_service_is_refused_and_the_variable_is_named(
    airflow: Airflow, api: Api
) -> None:
    # No connection yet, and nothing in the environment.
    airflow.unpause(DAG)
    run = airflow.trigger(DAG)
    task = airflow.wait_for_task(DAG, run, "fetch", "failed")
    assert task["try_number"] == 1, "no retry can help"
    log = airflow.log(DAG, run, "fetch")
    assert ("error", "error: kafka would be embedded, which this start forbids") in log
    help_line = "  help: give the variable KAFKA_BROKERS the address of a real service"
    assert ("error", help_line) in log


def test_exactly_the_fetched_users_are_in_the_table(airflow: Airflow, api: Api) -> None:
    connect(airflow, seed="tutorial")
    run = airflow.trigger(DAG)
    airflow.succeeds(DAG, run)
    assert rows() == api.users("tutorial")
    fetched, stored = (counts(airflow, run, task) for task in ("fetch", "store"))
    assert fetched["written"] == stored["written"] == 10 * REQUESTS
    (event,) = airflow.call("GET", "/assets/events", source_run_id=run)["asset_events"]
    assert (event["name"], event["uri"]) == (TABLE, "cassandra://spark_streams/created_users")
    assert event["extra"] == {"pipeline": DAG, "flows": {"store": stored}}
    said = [line for _, line in airflow.log(DAG, run, "store")]
    assert any(line.startswith("store ") and line.endswith("300") for line in said), said
    password = Path(os.environ["MILLSTREAM_SERVICES_DATA"], "airflow", "passwords.json")
    assert password.stat().st_mode & 0o077 == 0


def test_the_same_users_again_leave_the_same_rows(airflow: Airflow, api: Api) -> None:
    before = rows()
    run = airflow.trigger(DAG)
    airflow.succeeds(DAG, run)
    assert rows() == before
    assert counts(airflow, run, "store")["written"] == 10 * REQUESTS


def test_a_dead_api_fails_the_attempt_and_the_next_one_succeeds(airflow: Airflow, api: Api) -> None:
    api.end()
    run = airflow.trigger(DAG)
    airflow.wait_for_task(DAG, run, "fetch", "up_for_retry")
    log = airflow.log(DAG, run, "fetch")
    errors = [line for level, line in log if level == "error"]
    assert any("error: flow fetch: " in line and Api.URL in line for line in errors), log
    api.start()
    airflow.succeeds(DAG, run)
    assert airflow.task(DAG, run, "fetch")["try_number"] == 2


@pytest.mark.parametrize("flow", ["fetch", "store"])
def test_after_a_kill_the_retry_completes_and_no_acknowledged_user_is_missing(
    airflow: Airflow, api: Api, flow: str
) -> None:
    connect(airflow)
    run = airflow.trigger(DAG)
    binary = wait_for(f"the binary of {flow}", lambda: binary_at(flow))
    kill(parent_of(binary))
    # It notices that its task has gone, and ends by itself.
    wait_for("the binary's end", lambda: not Path(f"/proc/{binary}").exists())
    airflow.succeeds(DAG, run)
    assert airflow.task(DAG, run, flow)["try_number"] == 2
    sent = messages()
    assert len(sent) > 10 * REQUESTS
    assert rows() == sent


def test_a_cancelled_task_lets_the_binary_finish(airflow: Airflow, api: Api) -> None:
    api.end()
    # Airflow takes its time to tell a task that it is no longer wanted.
    api.start(latency="1s")
    run = airflow.trigger(DAG)
    binary = wait_for("the binary", lambda: binary_at("fetch"))
    path = f"/dags/{DAG}/dagRuns/{run}"
    airflow.call("PATCH", path, {"state": "failed"})
    wait_for("the binary's end", lambda: not Path(f"/proc/{binary}").exists())

    def said() -> bool:
        lines = [line for _, line in airflow.log(DAG, run, "fetch")]
        return any("stopping: the batch in hand is finished" in line for line in lines)

    wait_for("its last words", said)


def test_with_streaming_a_worker_is_waited_for(airflow: Airflow, api: Api) -> None:
    name = "streaming"
    connect(airflow)
    file = DAGS.parent / "streaming.yaml"
    # Without a schedule: in the first hours of a day Airflow also starts the run that was due at
    # midnight, which waits for the same worker, and this one would wait for that.
    text = (DAGS.parent / "users.yaml").read_text().replace(DAG, name)
    file.write_text(text.replace('schedule: "@daily"\n', ""))
    binary = os.environ["MILLSTREAM_BINARY"]
    words = ["airflow", str(file), "--pipeline", "../streaming.yaml", "--streaming"]
    made = subprocess.run([binary, *words], check=True, capture_output=True, text=True).stdout
    (DAGS / "streaming.py").write_text(made)
    airflow.unpause(name, is_scheduled=False)
    run = airflow.trigger(name)
    airflow.wait_for_task(name, run, "store", "up_for_retry")
    log = airflow.log(name, run, "store")
    assert any("nobody reads as group streaming.store" in line for _, line in log), log
    environment = {**os.environ, "KAFKA_BROKERS": BROKERS, "CASSANDRA_HOSTS": HOSTS}
    worker = subprocess.Popen([binary, "up", str(file), "--flow", "store"], env=environment)
    try:
        airflow.succeeds(name, run)
    finally:
        worker.terminate()
        worker.wait()
    assert airflow.xcom(name, run, "store")["flows"]["store"]["read"] >= 10 * REQUESTS
    assert rows() == messages()


@pytest.mark.parametrize(
    ("path", "said"), [("nowhere.yaml", "cannot read"), ("broken.yaml", "unknown key `shedule`")]
)
def test_a_wrong_file_is_said_and_not_tried_again(airflow: Airflow, path: str, said: str) -> None:
    name = path.removesuffix(".yaml")
    (DAGS.parent / "broken.yaml").write_text("name: broken\nshedule: never\nflows: {}\n")
    text = (DAGS / f"{DAG}.py").read_text().replace(DAG, name).replace("users.yaml", path)
    (DAGS / f"{name}.py").write_text(text)
    airflow.unpause(name)
    run = airflow.trigger(name)
    task = airflow.wait_for_task(name, run, "fetch", "failed")
    assert task["try_number"] == 1
    assert any(said in line for _, line in airflow.log(name, run, "fetch"))
