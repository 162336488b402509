"""Waits until the workers of a flow, which run elsewhere, have caught up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from os import PathLike, fspath
from typing import Any

from airflow.sdk import BaseSensorOperator, Context

from millstream_provider.binary import Call, Ending
from millstream_provider.hooks import MillstreamHook
from millstream_provider.operators import conclude
from millstream_provider.triggers import MillstreamTrigger


class MillstreamSensor(BaseSensorOperator):
    """Waits until a flow's workers (`millstream up --flow`) have done what is in its topic now.

    It waits in the triggerer and takes no worker's place meanwhile. It fails at once where
    something is left and nobody is there to do it. Its counts are those of all time, since many
    runs share the workers. The triggerer needs this package and the pipeline file too.

    :param pipeline: the pipeline file.
    :param flow: the flow, which reads a topic.
    :param env: environment variables for the binary, beside the triggerer's and the connection's.
    :param millstream_conn_id: the connection; the default one need not exist.
    """

    template_fields: Sequence[str] = ("pipeline", "flow", "env")
    template_fields_renderers = {"env": "json"}  # noqa: RUF012 - as Airflow has it
    ui_color = "#dcebe4"

    def __init__(
        self,
        *,
        pipeline: str | PathLike[str],
        flow: str,
        env: Mapping[str, str] | None = None,
        millstream_conn_id: str = MillstreamHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = fspath(pipeline)
        self.flow = flow
        self.env = env
        self.millstream_conn_id = millstream_conn_id

    def execute(self, context: Context) -> None:
        """Hands over to the triggerer."""
        call = Call.on_flow("wait", self.pipeline, self.flow)
        # Airflow itself limits only what runs, not what is deferred.
        limits = [timedelta(seconds=self.timeout), self.execution_timeout]
        self.defer(
            trigger=MillstreamTrigger(list(call.words), self.millstream_conn_id, self.env),
            method_name="execute_complete",
            timeout=min(limit for limit in limits if limit is not None),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any] | None:
        """Goes on when the binary has ended."""
        return conclude(Ending(**event), self.outlets, context)
