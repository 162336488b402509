"""Runs a pipeline, or one flow of it, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from os import PathLike, fspath
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from millstream_provider.binary import Call, Ending
from millstream_provider.hooks import MillstreamHook


class MillstreamOperator(BaseOperator):
    """Runs a flow until its source has ended, or its topic is drained; without `flow` all of them.

    The summary with its counts is the XCom, and it goes with the event of every outlet. A cancelled
    task lets the binary finish the batch in hand. A failure is tried again as the task's `retries`
    say, except where a retry cannot help: a wrong path, a mistake in the file, a variable that is
    not set.

    :param pipeline: the pipeline file.
    :param flow: the flow; all of the file without it.
    :param env: environment variables for the binary, beside those of the worker and the connection.
    :param env_file: a file with variables, NAME=value line by line.
    :param since: what an incremental source begins from this once.
    :param patience: how long a service may not answer, like `30s` or `5m`.
    :param millstream_conn_id: the connection; the default one need not exist.
    """

    template_fields: Sequence[str] = ("pipeline", "flow", "env", "env_file", "since")
    template_fields_renderers = {"env": "json"}  # noqa: RUF012 - as Airflow has it
    ui_color = "#dcebe4"

    def __init__(
        self,
        *,
        pipeline: str | PathLike[str],
        flow: str | None = None,
        env: Mapping[str, str] | None = None,
        env_file: str | PathLike[str] | None = None,
        since: str | None = None,
        patience: str | None = None,
        millstream_conn_id: str = MillstreamHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = fspath(pipeline)
        self.flow = flow
        self.env = env
        self.env_file = None if env_file is None else fspath(env_file)
        self.since = since
        self.patience = patience
        self.millstream_conn_id = millstream_conn_id
        self._hook: MillstreamHook | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Runs the binary."""
        options = {
            "--env-file": self.env_file,
            "--since": self.since,
            "--patience": self.patience,
            "--interval": interval(context),
        }
        given = [word for name, value in options.items() if value for word in (name, value)]
        self._hook = MillstreamHook(self.millstream_conn_id, self.env)
        try:
            ending = self._hook.run(Call.on_flow("run", self.pipeline, self.flow, *given))
        except FileNotFoundError as missing:
            raise AirflowFailException(str(missing)) from missing
        return conclude(ending, self.outlets, context)

    def on_kill(self) -> None:
        """Stops the binary in order; `execute` waits for it."""
        if self._hook is not None:
            self._hook.stop()


def interval(context: Context) -> str | None:
    """The data interval of a run, as the binary takes it. A manual run without a logical date has
    none; one of no length, as Airflow 3's plain schedules give, is none either."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start == end:
        return None
    return f"{moment(start)}/{moment(end)}"


def moment(time: datetime) -> str:
    """RFC 3339, in UTC."""
    return time.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def conclude(ending: Ending, outlets: Sequence[Any], context: Context) -> dict[str, Any] | None:
    """Ends the task as the binary ended; the counts go to the assets that it wrote."""
    if ending.is_asked_wrongly:
        raise AirflowFailException(str(ending))
    if ending.code != 0:
        raise AirflowException(str(ending))
    if ending.summary is not None:
        for outlet in outlets:
            if isinstance(outlet, Asset):
                counts = {name: ending.summary[name] for name in ("pipeline", "flows")}
                context["outlet_events"][outlet].extra.update(counts)
    return ending.summary
