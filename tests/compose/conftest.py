"""compose.yaml at work, as `dev/test-compose` starts it: from a clone, with nothing beside it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
from airflow_rest import AirflowRest, wait_for

CLONE = Path(os.environ["CLONE"])
FULL = os.environ["MILLSTREAM_COMPOSE"] == "--full"
BROKER = "localhost:29092"
RUNS = "/api/v1/pipelines/user_automation/runs"
TABLE = "spark_streams.created_users"
# As compose.yaml has it.
TOKEN = "only-for-loopback-change-it-elsewhere"


def docker(
    *words: str, check: bool = True, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Docker's client of Debian's package, which goes with the daemon."""
    ended = subprocess.run(
        ["/usr/bin/docker", *words],
        cwd=CLONE,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
    )
    assert not check or ended.returncode == 0, f"docker {' '.join(words)}: {ended.stderr[-2000:]}"
    return ended


class System:
    """What a person does at a terminal and in the browser."""

    # The most that each container was seen with, in MiB, and its limit.
    memory: ClassVar[dict[str, tuple[float, str]]] = {}

    def __init__(self) -> None:
        self.variables = {
            "RANDOM_USER_API": "http://api:7071/api/",
            "COMPOSE_FILE": "compose.yaml:tests/compose/without-grafana.yaml",
        }

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose`, on all that it knows."""
        return docker("compose", "--profile", "*", *words, check=check, variables=self.variables)

    def up(self, *profiles: str) -> None:
        """Starts what is not there yet, and waits until all of it is well."""
        chosen = [word for profile in ("offline", *profiles) for word in ("--profile", profile)]
        words = ["compose", *chosen, "up", "-d", "--wait", "--pull", "never"]
        started = docker(*words, check=False, variables=self.variables)
        # Where the first fetch ends before the last service is well, Compose waits no longer.
        if started.returncode != 0:
            assert "millstream-fetch-1 exited (0)" in started.stderr, started.stderr[-2000:]
            wait_for("every service to be well", lambda: all(map(self.is_well, self.services())))
        self.measure()

    def is_well(self, service: str) -> bool:
        """Whether it is healthy; without a health check, whether it runs or has done its work."""
        state = self.state(service)
        if "Health" in state:
            return bool(state["Health"]["Status"] == "healthy")
        return bool(state["Running"] or state["ExitCode"] == 0)

    def services(self) -> list[str]:
        """Those that have a container."""
        return self.compose("ps", "-a", "--services").stdout.split()

    def state(self, service: str) -> dict[str, Any]:
        """A service's container, as Docker knows it."""
        answer = docker("inspect", f"millstream-{service}-1").stdout
        found: dict[str, Any] = json.loads(answer)[0]
        return {**found["State"], "RestartCount": found["RestartCount"]}

    def fetched(self) -> dict[str, Any]:
        """What the service `fetch` says when it has ended."""
        ended = wait_for(
            "the end of fetch", lambda: not (s := self.state("fetch"))["Running"] and s
        )
        lines = self.compose("logs", "--no-log-prefix", "fetch").stdout.splitlines()
        assert ended["ExitCode"] == 0, lines
        # Docker keeps the two outputs, but not their order.
        summary: dict[str, Any] = json.loads([line for line in lines if line.startswith("{")][-1])
        return dict(summary["flows"]["fetch"])

    def messages(self) -> list[str]:
        """The keys in the topic, as a client of others reads them from outside."""
        kcat = ["kcat", "-C", "-b", BROKER, "-t", "users_created", "-e", "-q", "-f", "%k\n"]
        return subprocess.run(kcat, check=True, capture_output=True, text=True).stdout.split()

    def cqlsh(self, statement: str) -> str:
        """What cqlsh in Cassandra's container prints."""
        return self.compose("exec", "-T", "cassandra", "cqlsh", "-e", statement).stdout

    def rows(self) -> list[str]:
        """The ids in the table."""
        printed = self.cqlsh(f"PAGING OFF; SELECT id FROM {TABLE}")
        return re.findall(r"^ ([0-9a-f-]{36})$", printed, re.MULTILINE)

    def stored(self) -> int:
        """Waits until the table is what the topic says, no more, no less; how many rows it has."""
        wait_for("the last row", lambda: set(self.rows()) == set(self.messages()))
        rows, messages = self.rows(), self.messages()
        assert len(rows) == len(messages) == len(set(rows))
        return len(rows)

    def ask(self, method: str, path: str, token: str = TOKEN) -> requests.Response:
        """The page or the API, with its token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(
            method,
            f"http://localhost:7070{path}",
            headers=headers,
            timeout=30,
            allow_redirects=False,
        )

    def trigger(self) -> str:
        """Asks our own schedule for a run; its name."""
        run: str = self.ask("POST", RUNS).json()["id"]
        return run

    def run(self, name: str) -> dict[str, Any]:
        """How a run stands."""
        found: dict[str, Any] = self.ask("GET", f"{RUNS}/{name}").json()["run"]
        return found

    def runs(self) -> list[str]:
        """The names of all runs that are remembered."""
        return sorted(run["id"] for run in self.ask("GET", RUNS).json()["runs"])

    def metric(self, name: str) -> float:
        """A metric of the flow `store`."""
        lines = self.ask("GET", "/metrics").text.splitlines()
        wanted = [line for line in lines if line.startswith(f"{name}{{") and 'flow="store"' in line]
        return float(wanted[0].split()[-1])

    def measure(self) -> None:
        """Remembers the most memory that each container was seen with."""
        printed = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").stdout
        for name, used, _, limit in map(str.split, printed.splitlines()):
            mib = float(used[:-3]) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[used[-3:]]
            service = name.removeprefix("millstream-").removesuffix("-1")
            self.memory[service] = max(self.memory.get(service, (0.0, limit)), (mib, limit))


class Airflow(AirflowRest):
    """The one of compose.yaml, where everybody is the administrator."""

    def __init__(self) -> None:
        url = "http://localhost:8080"
        super().__init__(url, requests.get(f"{url}/auth/token", timeout=30).json()["access_token"])

    def run(self, dag: str) -> dict[str, Any]:
        """Triggers a run and waits until it has ended well; what `fetch` returned."""
        self.wait_for_dag(dag)
        assert not self.call("GET", f"/dags/{dag}")["is_paused"]
        run = self.trigger(dag)
        self.succeeds(dag, run)
        return self.fetched(dag, run)

    def fetched(self, dag: str, run: str) -> dict[str, Any]:
        """What `fetch` returned in a run."""
        found: dict[str, Any] = self.xcom(dag, run, "fetch")["flows"]["fetch"]
        return found

    def written(self, dag: str) -> int:
        """The messages of all runs, once they have ended.

        Airflow itself starts one where the last time of the schedule is no longer ago than a tenth
        of its interval, as midnight is until twenty past two.
        """

        def ended() -> Any:
            runs = self.call("GET", f"/dags/{dag}/dagRuns")["dag_runs"]
            return runs if all(run["state"] == "success" for run in runs) else None

        runs = wait_for("the end of all runs", ended)
        return sum(self.fetched(dag, run["dag_run_id"])["written"] for run in runs)


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """All of it, which goes on from test to test."""
    system = System()
    yield system
    system.compose("down", "-v", "--timeout", "5")


def pytest_exception_interact(
    node: pytest.Item, report: pytest.CollectReport | pytest.TestReport
) -> None:
    """Shows beside a failure what each container said last."""
    if system := getattr(node, "funcargs", {}).get("system"):
        logs = system.compose("logs", "--tail", "25", check=False).stdout
        report.sections.append(("what containers said last", logs))
        report.sections.append(("containers", system.compose("ps", "-a", check=False).stdout))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what containers need."""
    terminalreporter.section("most memory seen, and the limit")
    for service, (mib, limit) in sorted(System.memory.items()):
        terminalreporter.write_line(f"{service}: {mib:.0f} MiB of {limit}")
