"""Runs the binary in the triggerer, so that waiting takes no worker's place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millstream_provider.binary import ASKED_WRONGLY, Call, Ending
from millstream_provider.hooks import MillstreamHook


class MillstreamTrigger(BaseTrigger):
    """Fires with how the binary ended. Cancelled, it stops it.

    The connection is read here, not handed over: so its secrets are in no trigger's arguments.
    """

    def __init__(
        self,
        words: Sequence[str],
        millstream_conn_id: str = MillstreamHook.default_conn_name,
        env: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.words = words
        self.millstream_conn_id = millstream_conn_id
        self.env = env

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its arguments, as Airflow keeps them."""
        arguments = {
            "words": list(self.words),
            "millstream_conn_id": self.millstream_conn_id,
            "env": None if self.env is None else dict(self.env),
        }
        return "millstream_provider.triggers.MillstreamTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits for the binary's end."""
        call = Call(self.words)
        try:
            ending = await MillstreamHook(self.millstream_conn_id, self.env).run_async(call)
        except FileNotFoundError as missing:
            ending = Ending(str(call), ASKED_WRONGLY, [str(missing)])
        yield TriggerEvent(asdict(ending))
