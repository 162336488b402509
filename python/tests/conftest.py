"""A binary that does what a test wants, and an Airflow of its own."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Before anything imports Airflow.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="millstream-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

Binary = Callable[[str], Path]


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Binary:
    """Makes a binary out of the lines of a Python program."""

    def make(program: str) -> Path:
        path = tmp_path / "millstream"
        path.write_text(f"#!{sys.executable}\nimport json, os, signal, sys, time\n{program}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr("millstream_provider.hooks.find", lambda: str(path))
        return path

    return make


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("AIRFLOW_CONN_"):
            monkeypatch.delenv(name)
