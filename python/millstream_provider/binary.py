"""One run of the binary: where it is, what it is asked, how it ended. Knows nothing of Airflow."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAME = "millstream"
# The binary's exit code for what no retry can mend: a wrong path, a mistake in the file.
ASKED_WRONGLY = 2


def find() -> str:
    """The binary of this package, which need not be on PATH, or else the one that is.

    :raises FileNotFoundError: where there is none.
    """
    own = Path(sysconfig.get_path("scripts")) / NAME
    found = str(own) if own.is_file() else shutil.which(NAME)
    if found is None:
        raise FileNotFoundError(
            f"there is no binary {NAME}, neither at {own} nor on PATH: "
            "install this package's wheel for this platform on every machine that runs tasks"
        )
    return found


@dataclass(frozen=True)
class Call:
    """What the binary is asked. Secrets go through the environment, never through the words."""

    words: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def on_flow(cls, command: str, pipeline: str, flow: str | None, *more: str) -> Call:
        """A call about a flow, or about all of them, that ends with a summary.

        The binary stops when its standard input ends, so that a task that is killed outright does
        not leave it behind.
        """
        one = ["--flow", flow] if flow else []
        return cls([command, pipeline, *one, *more, "--format", "json", "--stop-at-eof"])

    def with_env(self, *parts: Mapping[str, str] | None) -> Call:
        """The same in an environment; later parts win. What is embedded is refused unless one says
        otherwise: it would be gone with the worker's disk."""
        env = {**os.environ, "MILLSTREAM_EMBEDDED": "deny"}
        for part in parts:
            env.update(part or {})
        return Call(self.words, env)

    def __str__(self) -> str:
        return shlex.join([NAME, *self.words])


def level(line: str) -> int:
    """How loudly a line of the binary is to be logged."""
    if line.startswith(("error:", "  help:")):
        return logging.ERROR
    return logging.WARNING if line.startswith("warning:") else logging.INFO


@dataclass
class Ending:
    """How a run of the binary ended."""

    call: str
    code: int = 0
    # Its errors, each with the next step.
    errors: list[str] = field(default_factory=list)
    # What it did; none where it did not come so far.
    summary: dict[str, Any] | None = None

    def note(self, line: str) -> None:
        """Keeps a line that it logged, where that is an error."""
        if level(line) == logging.ERROR:
            self.errors.append(line.strip())

    def end(self, code: int, stdout: bytes) -> None:
        """Takes its exit code and what it printed; the summary is the last line."""
        self.code = code
        lines = stdout.decode(errors="replace").strip().splitlines()
        try:
            summary = json.loads(lines[-1]) if lines else None
        except ValueError:
            summary = None
        self.summary = summary if isinstance(summary, dict) else None

    @property
    def is_asked_wrongly(self) -> bool:
        """Whether a retry cannot help."""
        return self.code == ASKED_WRONGLY

    def __str__(self) -> str:
        return "; ".join([f"`{self.call}` {self._how()}", *self.errors])

    def _how(self) -> str:
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        return f"was ended by {signal.Signals(-self.code).name}"
