"""The operator: what the binary is asked, and how a task ends as it ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from conftest import Binary
from millstream_provider.operators import MillstreamOperator, interval

COUNTS = {"read": 30, "passed": 30, "filtered": 0, "dead": 0, "written": 30}
SUMMARY = {"pipeline": "p", "status": "success", "flows": {"store": COUNTS}}
TABLE = Asset("k.t", uri="cassandra://k/t")


def context(**more: Any) -> Any:
    return {"outlet_events": {TABLE: SimpleNamespace(extra={})}, **more}


def operator(**more: Any) -> MillstreamOperator:
    return MillstreamOperator(task_id="store", pipeline=Path("p.yaml"), flow="store", **more)


def test_the_summary_is_the_result_and_goes_with_the_event(binary: Binary) -> None:
    binary(f"print('a row'); print({json.dumps(SUMMARY)!r})")
    around = context()
    assert operator(outlets=[TABLE]).execute(around) == SUMMARY
    extra = around["outlet_events"][TABLE].extra
    assert extra == {"pipeline": "p", "flows": {"store": COUNTS}}


def test_what_is_asked_and_in_which_environment(
    binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MILLSTREAM_DEFAULT", connection(kafka_brokers="k:1", n=1))
    names = ["MILLSTREAM_EMBEDDED", "KAFKA_BROKERS", "N", "MORE", "FROM_WORKER"]
    monkeypatch.setenv("FROM_WORKER", "w")
    binary(
        "print(json.dumps({'words': sys.argv[1:], "
        f"'env': [os.environ.get(name) for name in {names}]}}))"
    )
    start = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    around = context(data_interval_start=start, data_interval_end=start + timedelta(days=1))
    done = operator(env={"MORE": "m"}, env_file="e", since="7", patience="30s").execute(around)
    assert done is not None
    assert done["env"] == ["deny", "k:1", "1", "m", "w"]
    options = "--env-file e --since 7 --patience 30s"
    options += " --interval 2025-12-31T23:00:00Z/2026-01-01T23:00:00Z"
    wanted = f"run p.yaml --flow store {options} --format json --stop-at-eof"
    assert done["words"] == wanted.split()


def connection(**fields: Any) -> str:
    return json.dumps({"conn_type": "millstream", "extra": fields})


@pytest.mark.parametrize(
    ("fields", "said"), [({"a-b": "c"}, "`a-b` is no name"), ({"a": ["b"]}, "`a` is no text")]
)
def test_a_field_that_can_be_no_variable_is_named(
    fields: dict[str, Any], said: str, binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", connection(**fields))
    binary("")
    with pytest.raises(AirflowFailException, match=f"connection mine: {said}"):
        operator(millstream_conn_id="mine").execute(context())


def test_a_connection_that_was_asked_for_must_exist(binary: Binary) -> None:
    binary("")
    with pytest.raises(AirflowException, match="mine"):
        operator(millstream_conn_id="mine").execute(context())


@pytest.mark.parametrize(("code", "error"), [(1, AirflowException), (2, AirflowFailException)])
def test_a_failure_says_what_the_binary_said(
    code: int, error: type[Exception], binary: Binary, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "error: flow fetch: no answer\\n  help: is it running?\\n"
    binary(f"sys.stderr.write('waiting: fetch\\n{said}'); sys.exit({code})")
    wanted = f"exit code {code}; error: flow fetch: no answer; help: is it running\\?"
    with pytest.raises(AirflowException, match=wanted) as raised:
        operator(outlets=[TABLE]).execute(context())
    assert type(raised.value) is error
    logged = capsys.readouterr().out
    assert "[info     ] waiting: fetch" in logged
    assert "[error    ] error: flow fetch: no answer" in logged


def test_without_the_binary_no_retry_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AirflowFailException, match="there is no binary millstream"):
        operator().execute(context())


def test_a_binary_that_is_killed_is_said(binary: Binary) -> None:
    binary("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(AirflowException, match="was ended by SIGKILL"):
        operator().execute(context())


PATIENT = """
def stop(*_):
    with open("stopped", "a") as file: file.write("x")
    time.sleep(0.2)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
sys.stderr.write("ready\\n"); sys.stderr.flush()
time.sleep(60)
"""


def test_a_cancelled_task_stops_the_binary_once_and_waits(
    binary: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    binary(PATIENT)
    task = operator()

    def cancel(*_: Any) -> None:
        task.on_kill()
        task.on_kill()

    # As Airflow does it: in a signal's handler, while the task is at work.
    before = signal.signal(signal.SIGUSR1, cancel)
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    began = time.monotonic()
    with pytest.raises(AirflowException, match="exit code 143"):
        task.execute(context())
    signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - began < 30
    assert Path("stopped").read_text() == "x"


def test_the_binarys_input_ends_with_the_task(binary: Binary) -> None:
    binary("print(json.dumps({'input': os.fstat(0).st_mode}))")
    done = operator().execute(context())
    assert done is not None
    assert stat.S_ISFIFO(done["input"]), "a pipe, which the kernel closes when the task dies"


def test_an_interval_of_no_length_is_none() -> None:
    now: Any = datetime.now(timezone.utc)
    assert interval(context(data_interval_start=now, data_interval_end=now)) is None
    assert interval(context()) is None
