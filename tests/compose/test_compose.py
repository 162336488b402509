"""compose.yaml from the first `up` to the last `down`: a test goes on where the last one ended."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from typing import Any

import pytest
import requests
from airflow_rest import wait_for

from conftest import CLONE, FULL, TABLE, TOKEN, Airflow, System, docker

full = pytest.mark.skipif(not FULL, reason="only with --full")


def test_a_port_that_is_taken_is_named(system: System) -> None:
    with socket.create_server(("127.0.0.1", 29092)):
        failed = system.compose("up", "-d", "--pull", "never", "kafka", check=False)
    assert failed.returncode != 0
    assert "29092" in failed.stderr
    assert "address already in use" in failed.stderr


def test_kafka_cassandra_and_ours_become_healthy(system: System) -> None:
    system.up()
    ports = docker("ps", "--format", "{{.Ports}}").stdout.replace("\n", ", ").split(", ")
    assert {port.split("->")[0] for port in ports if "->" in port} == {
        "127.0.0.1:7070",
        "127.0.0.1:9042",
        "127.0.0.1:29092",
    }


def test_every_fetched_user_is_a_message_and_a_row(system: System) -> None:
    counts = system.fetched()
    assert counts["written"] == counts["read"] > 500
    assert system.stored() == counts["written"]
    system.measure()


def test_the_table_has_the_eleven_columns(system: System) -> None:
    described = system.cqlsh(f"DESCRIBE TABLE {TABLE}")
    columns = re.findall(r"^    (\w+) (uuid PRIMARY KEY|text)", described, re.MULTILINE)
    texts = (
        "first_name last_name gender address post_code email username registered_date phone picture"
    )
    assert dict(columns) == {"id": "uuid PRIMARY KEY", **dict.fromkeys(texts.split(), "text")}
    assert len(columns) == 11


def test_the_page_asks_for_its_token(system: System) -> None:
    assert system.ask("GET", "/", token="").headers["location"] == "/sign-in"
    assert system.ask("GET", "/metrics", token="wrong").status_code == 401
    browser = requests.Session()
    page = browser.post("http://localhost:7070/sign-in", data={"token": TOKEN}, timeout=30)
    assert page.status_code == 200
    assert "user_automation" in page.text
    assert "Sign in" not in page.text


def test_airflow_runs_its_dag(system: System) -> None:
    before = system.stored()
    system.up("airflow")
    again = system.fetched()["written"]
    airflow = Airflow()
    counts = airflow.run("user_automation")
    assert counts["written"] == counts["read"] > 500
    assert system.stored() == before + again + airflow.written("user_automation")
    system.measure()


@full
def test_spark_fills_an_empty_table(system: System) -> None:
    system.compose("stop", "millstream")
    system.cqlsh(f"TRUNCATE {TABLE}")
    assert system.rows() == []
    system.variables["STORE_RUNNER"] = "spark"
    system.up("airflow", "spark", "observability")
    system.fetched()
    before = system.stored()
    counts = Airflow().run("user_automation")
    assert system.stored() == before + counts["written"]
    # All of them by Spark's count, and not in its own process: the cluster's worker has done it.
    written = "millstream_records_written_total"
    wait_for("Spark's count", lambda: system.metric(written) == before + counts["written"])
    spark = "http://localhost:4040/api/v1/applications"
    [application] = requests.get(spark, timeout=30).json()
    executors = requests.get(f"{spark}/{application['id']}/executors", timeout=30).json()
    assert sum(found["completedTasks"] for found in executors if found["id"] != "driver") > 0
    assert all(found["completedTasks"] == 0 for found in executors if found["id"] == "driver")
    system.measure()


@full
def test_prometheus_knows_every_metric_of_the_dashboard(system: System) -> None:
    def ask(path: str) -> Any:
        url = f"http://localhost:9090/api/v1/{path}"
        answer = system.compose("exec", "-T", "prometheus", "wget", "-qO-", url).stdout
        return json.loads(answer)["data"]

    def up() -> list[tuple[str, str]]:
        found = ask("query?query=up")["result"]
        return [(target["metric"]["job"], target["value"][1]) for target in found]

    # On a busy machine one look may take too long.
    wait_for("Prometheus to know us", lambda: up() == [("millstream", "1")])
    dashboard = (CLONE / "docker/grafana/dashboards/millstream.json").read_text()
    shown = set(re.findall(r"\bmillstream_\w+", dashboard))
    known = set(ask("label/__name__/values")) | set(ask("metadata"))
    # In the metadata a counter and a histogram are without their endings.
    known |= {f"{name}{ending}" for name in known for ending in ("_total", "_bucket")}
    assert shown
    assert shown <= known


@full
def test_kafka_is_killed_under_a_run(system: System) -> None:
    system.variables.pop("STORE_RUNNER", None)
    system.up("airflow")
    system.fetched()
    before = system.stored()
    run = system.trigger()
    wait_for("its first users", lambda: len(system.messages()) > before + 50)
    # As if it had died: who uses `docker kill` does not want it back.
    os.kill(system.state("kafka")["Pid"], signal.SIGKILL)
    ended = wait_for("the run's end", lambda: (r := system.run(run))["ended"] and r)
    assert ended["state"] == "success", ended
    assert system.state("kafka")["RestartCount"] == 1
    assert system.stored() == before + ended["flows"]["fetch"]["written"]


@full
def test_what_is_stopped_ends_in_order_and_goes_on(system: System) -> None:
    before = system.stored()
    run = system.trigger()
    wait_for("its first users", lambda: len(system.messages()) > before + 50)
    runs = system.runs()
    system.compose("stop", "millstream")
    # By itself, within its grace period: killed after that, it would be 137.
    assert system.state("millstream")["ExitCode"] == 143
    # What is in the topic by now will be in the table.
    sent = system.messages()
    assert len(sent) > before

    # Containers of another day, on the volumes of this one.
    rows = set(system.rows())
    system.compose("stop")
    killed = [name for name in system.services() if system.state(name)["ExitCode"] == 137]
    assert not killed, "their grace period is too short"
    system.compose("down")
    system.up()
    assert rows <= set(system.rows())
    ended = wait_for("the run's end", lambda: (r := system.run(run))["ended"] and r)
    assert ended["state"] == "success", ended
    assert system.runs() == runs
    system.fetched()
    system.stored()
    assert set(sent) <= set(system.rows())


def test_no_container_was_short_of_memory_or_began_again(system: System) -> None:
    for service in system.services():
        state = system.state(service)
        assert not state["OOMKilled"], service
        assert state["RestartCount"] == 0, service
