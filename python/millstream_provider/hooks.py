"""The connection type `millstream`, and running the binary with it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from millstream_provider.binary import Call, Ending, find, level

# A line of the binary's log is no longer than this.
LINE_BYTES_MAX = 1 << 20


class MillstreamHook(BaseHook):
    """Runs the binary, its log into the task's, line by line.

    Each field of the connection becomes an environment variable, its name in upper case:
    `kafka_brokers` is what a pipeline calls `${KAFKA_BROKERS}`. So no secret stands on a command
    line or in a DAG.

    :param millstream_conn_id: the connection; the default one need not exist.
    :param env: more variables, which win over the connection's.
    """

    conn_name_attr = "millstream_conn_id"
    default_conn_name = "millstream_default"
    conn_type = "millstream"
    hook_name = "Millstream"

    def __init__(
        self,
        millstream_conn_id: str = default_conn_name,
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.millstream_conn_id = millstream_conn_id
        self.env = env
        self._process: subprocess.Popen[str] | None = None
        self._is_stopping = False

    def variables(self) -> dict[str, str]:
        """The connection's fields as environment variables."""
        try:
            connection = self.get_connection(self.millstream_conn_id)
        except AirflowNotFoundException:
            if self.millstream_conn_id != self.default_conn_name:
                raise
            return {}
        fields = connection.extra_dejson.items()
        return {
            self._name(name): self._text(name, value)
            for name, value in fields
            if value not in (None, "")
        }

    def _name(self, field: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", field):
            raise AirflowFailException(
                f"connection {self.millstream_conn_id}: `{field}` is no name of a variable: "
                "use letters, digits and _"
            )
        return field.upper()

    def _text(self, field: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise AirflowFailException(
                f"connection {self.millstream_conn_id}: `{field}` is no text or number, "
                "which a variable has to be"
            )
        return str(value)

    def run(self, call: Call) -> Ending:
        """Runs the binary to its end."""
        call, ending = self._prepare(call)
        # Not through a pipe: while its log is read, nobody would empty that.
        with tempfile.TemporaryFile() as stdout:
            with subprocess.Popen(
                [find(), *call.words],
                env=call.env,
                stdin=subprocess.PIPE,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                # Airflow signals a task's whole process group, and a second signal would end the
                # binary at once.
                start_new_session=True,
            ) as process:
                self._process = process
                try:
                    for line in process.stderr or ():
                        self._note(ending, line)
                    code = process.wait()
                finally:
                    self.stop()
            stdout.seek(0)
            ending.end(code, stdout.read())
        return ending

    def stop(self) -> None:
        """Lets the binary finish the batch in hand; `run` waits for its end. It may be called in a
        signal's handler, and again: a second signal would end the binary at once."""
        if self._process is not None and self._process.poll() is None and not self._is_stopping:
            self._is_stopping = True
            self._process.terminate()

    async def run_async(self, call: Call) -> Ending:
        """The same without blocking anybody, for a trigger. Cancelled, it stops the binary."""
        call, ending = await asyncio.to_thread(self._prepare, call)
        process = await asyncio.create_subprocess_exec(
            find(),
            *call.words,
            env=call.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("a process that was started with pipes has them")
        printed = asyncio.create_task(process.stdout.read())
        try:
            async for line in process.stderr:
                self._note(ending, line.decode(errors="replace"))
            ending.end(await process.wait(), await printed)
        finally:
            printed.cancel()
            if process.returncode is None:
                process.terminate()
                await asyncio.shield(process.wait())
        return ending

    def _prepare(self, call: Call) -> tuple[Call, Ending]:
        call = call.with_env(self.variables(), self.env)
        self.log.info("%s", call)
        return call, Ending(str(call))

    def _note(self, ending: Ending, line: str) -> None:
        line = line.rstrip("\r\n")
        ending.note(line)
        self.log.log(level(line), "%s", line)
