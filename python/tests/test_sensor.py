"""The sensor and its trigger: waiting in the triggerer."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from conftest import Binary
from millstream_provider.sensors import MillstreamSensor
from millstream_provider.triggers import MillstreamTrigger

SUMMARY = {"pipeline": "p", "flows": {"store": {"read": 3}}}


def sensor(**more: Any) -> MillstreamSensor:
    return MillstreamSensor(task_id="store", pipeline=Path("p.yaml"), flow="store", **more)


async def first(trigger: MillstreamTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("it fires")


def fired(trigger: MillstreamTrigger) -> dict[str, Any]:
    return asyncio.run(first(trigger))


def test_it_waits_in_the_triggerer_and_ends_as_the_binary_does(binary: Binary) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        sensor(env={"A": "b"}, timeout=60).execute({})
    assert deferred.value.timeout == timedelta(seconds=60)
    with pytest.raises(TaskDeferred) as limited:
        sensor(execution_timeout=timedelta(seconds=5)).execute({})
    assert limited.value.timeout == timedelta(seconds=5)
    trigger = deferred.value.trigger
    assert isinstance(trigger, MillstreamTrigger)
    _, arguments = trigger.serialize()
    assert json.loads(json.dumps(arguments)) == arguments
    wanted = "wait p.yaml --flow store --format json --stop-at-eof"
    assert arguments["words"] == wanted.split()
    binary(f"assert os.environ['A'] == 'b'; print({json.dumps(SUMMARY)!r})")
    event = fired(MillstreamTrigger(**arguments))
    assert sensor().execute_complete({}, event) == SUMMARY


def test_nobody_in_the_group_is_a_failure(binary: Binary) -> None:
    binary("sys.stderr.write('error: nobody reads\\n'); sys.exit(1)")
    event = fired(MillstreamTrigger(["wait", "p.yaml"]))
    with pytest.raises(AirflowException, match="error: nobody reads"):
        sensor().execute_complete({}, event)


def test_without_the_binary_no_retry_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    event = fired(MillstreamTrigger(["wait", "p.yaml"]))
    with pytest.raises(AirflowFailException, match="there is no binary millstream"):
        sensor().execute_complete({}, event)


def test_a_cancelled_trigger_stops_the_binary(
    binary: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = "def stop(*_):\n    open('stopped', 'w').close(); sys.exit(143)\n"
    program += "signal.signal(signal.SIGTERM, stop); open('ready', 'w').close(); time.sleep(60)"
    binary(program)

    async def cancel() -> None:
        running = asyncio.create_task(first(MillstreamTrigger(["wait"])))
        while not Path("ready").exists():
            await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(cancel(), 30))
    assert Path("stopped").exists()
