"""A running Airflow over its REST API: what tests on it share."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import requests

# The slowest machine has the time for it.
PATIENCE_SECONDS = 300


def wait_for(what: str, look: Callable[[], Any]) -> Any:
    """Looks until there is something."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < until, f"{what} does not come"
        time.sleep(0.2)
    return found


class AirflowRest:
    """What a person does in the browser who has signed in."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        """One request; its answer."""
        url = f"{self.url}/api/v2{path}"
        answer = self.session.request(method, url, json=body, params=parameters, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def wait_for_dag(self, dag: str) -> None:
        """Waits until Airflow has read the DAG's file."""

        def known() -> Any:
            errors = self.call("GET", "/importErrors")["import_errors"]
            assert not errors, errors
            return any(found["dag_id"] == dag for found in self.call("GET", "/dags")["dags"])

        wait_for(f"DAG {dag}", known)

    def trigger(self, dag: str) -> str:
        """Starts a run."""
        started = self.call("POST", f"/dags/{dag}/dagRuns", {"logical_date": None})
        run: str = started["dag_run_id"]
        return run

    def task(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """A task of a run."""
        found: dict[str, Any] = self.call("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}")
        return found

    def wait_for_task(self, dag: str, run: str, task: str, *states: str) -> dict[str, Any]:
        """The task when it is in one of these states."""

        def look() -> Any:
            now = self.task(dag, run, task)
            return now if now["state"] in states else None

        found: dict[str, Any] = wait_for(f"{task} of {run} in state {states}", look)
        return found

    def succeeds(self, dag: str, run: str) -> None:
        """Waits until a run has ended well."""

        def look() -> Any:
            state = self.call("GET", f"/dags/{dag}/dagRuns/{run}")["state"]
            assert state != "failed", [self.log(dag, run, task) for task in ("fetch", "store")]
            return state == "success"

        wait_for(f"the end of {run}", look)

    def xcom(self, dag: str, run: str, task: str) -> Any:
        """What a task returned."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value"
        value = self.call("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> list[tuple[str, str]]:
        """The lines of an attempt's log, each with its level."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        lines = self.call("GET", path, full_content="true")["content"]
        found = [line for line in lines if isinstance(line, dict)]
        return [(line.get("level") or "", line.get("event") or "") for line in found]
