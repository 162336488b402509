"""A real Airflow over its REST API, and what its tasks work on; `dev/test-airflow` starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from airflow_rest import AirflowRest

ROOT = Path(__file__).parent.parent.parent
SERVICES = str(ROOT / "dev" / "services")
DAGS = Path(os.environ["AIRFLOW_DAGS"])
BROKERS = f"localhost:{os.environ['KAFKA_PORT']}"
HOSTS = f"localhost:{os.environ['CASSANDRA_PORT']}"


def services(*words: str) -> str:
    """A tool of `dev/services`."""
    return subprocess.run([SERVICES, *words], check=True, capture_output=True, text=True).stdout


class Airflow(AirflowRest):
    """The one that `dev/test-airflow` has started."""

    def __init__(self) -> None:
        url = f"http://localhost:{os.environ['AIRFLOW_PORT']}"
        passwords = Path(os.environ["MILLSTREAM_SERVICES_DATA"], "airflow", "passwords.json")
        login = {"username": "admin", "password": json.loads(passwords.read_text())["admin"]}
        token = requests.post(f"{url}/auth/token", json=login, timeout=30)
        token.raise_for_status()
        super().__init__(url, token.json()["access_token"])

    def connect(self, **fields: str) -> None:
        """Sets the fields of the default connection."""
        name = "millstream_default"
        known = self.call("GET", "/connections", connection_id_pattern=name)["connections"]
        body = {"connection_id": name, "conn_type": "millstream", "extra": json.dumps(fields)}
        if known:
            self.call("PATCH", f"/connections/{name}", body)
        else:
            self.call("POST", "/connections", body)

    def unpause(self, dag: str, *, is_scheduled: bool = True) -> None:
        """Unpauses a DAG when Airflow has read its file; its schedule, if any, runs it then."""
        self.wait_for_dag(dag)
        self.call("PATCH", f"/dags/{dag}", {"is_paused": False})
        next_run = self.call("GET", f"/dags/{dag}")["next_dagrun_run_after"]
        assert bool(next_run) == is_scheduled, next_run


class Api:
    """The built-in Random User API, which a test may end and start again."""

    PORT = int(os.environ["AIRFLOW_PORT"]) + 1
    URL = f"http://localhost:{PORT}/api/"

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def start(self, latency: str = "0ms") -> None:
        """And waits until it answers."""
        words = ["random-user", "--port", str(self.PORT), "--limit", "1000000"]
        words += ["--latency", latency]
        binary = os.environ["MILLSTREAM_BINARY"]
        self.process = subprocess.Popen([binary, *words], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert str(self.PORT) in self.process.stderr.readline()

    def end(self) -> None:
        """As if it had died."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def users(self, seed: str) -> dict[str, str]:
        """The users of a seed: e-mail addresses by id."""
        answer = requests.get(self.URL, {"seed": seed, "results": "10"}, timeout=30).json()
        return {user["login"]["uuid"]: user["email"] for user in answer["results"]}


@pytest.fixture(scope="session")
def airflow() -> Airflow:
    """The Airflow that is running."""
    return Airflow()


@pytest.fixture
def api() -> Iterator[Api]:
    """The API, running."""
    api = Api()
    api.start()
    yield api
    api.end()


def rows() -> dict[str, str]:
    """What Cassandra has: e-mail addresses by id."""
    sql = "PAGING OFF; SELECT JSON id, email FROM spark_streams.created_users"
    found = re.findall(r"\{.*\}", services("cqlsh", "--no-color", "-e", sql))
    return {row["id"]: row["email"] for row in map(json.loads, found)}


def messages() -> dict[str, str]:
    """What the topic has, read by a foreign client: e-mail addresses by id."""
    ends = services("kafka-offsets", "--topic", "users_created").split()
    count = sum(int(end.rsplit(":", 1)[1]) for end in ends)
    words = ["--topic", "users_created", "--from-beginning", "--max-messages", str(count)]
    lines = services("kafka-consume", *words, "--timeout-ms", "60000").splitlines()
    return {row["id"]: row["email"] for row in map(json.loads, lines)}


def binary_at(flow: str) -> int | None:
    """The process of a binary that a task has started for a flow."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        mine = len(words) > 2 and words[2].startswith(str(DAGS))
        if mine and words[1] == "run" and flow in words:
            return int(entry.name)
    return None


def parent_of(process: int) -> int:
    """Who started it."""
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def kill(process: int) -> None:
    """At once."""
    os.kill(process, signal.SIGKILL)
